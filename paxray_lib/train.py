"""Train a network: `fit(TrainConfig(...))` leaves checkpoints, `metrics.csv` and logs in a run's folder.

The loop is here to be read. Devices, precision and several processes come from lightning-fabric. Order and augmentation
depend on (seed, epoch, position) alone, and a checkpoint holds the position, so that a resumed run goes on exactly.
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from paxray_lib.augment import AugmentConfig
from paxray_lib.common import atomic_write, did_you_mean, say
from paxray_lib.dataset import SPLITS, PaxrayDataset
from paxray_lib.devices import PRECISIONS, make_fabric
from paxray_lib.evaluate import check_targets, count_dataset
from paxray_lib.images import Preprocessing
from paxray_lib.labels import LabelSet
from paxray_lib.loader import TrainingBatches, normalize
from paxray_lib.losses import KINDS, dice_bce
from paxray_lib.metrics import CONVENTIONS, Counts, dice, iou, mean_score
from paxray_lib.model import PUBLISHED, AnatomySegmenter, build_model, load_model, read_extra, save_model

SCHEDULES = ("multistep", "onecycle")
BEST = tuple(f"{score}_{convention}" for score in ("iou", "dice") for convention in CONVENTIONS)
MAY_CHANGE = ("data_root", "run_dir", "epochs", "device", "workers", "log_every")


class NotFinite(RuntimeError):
    """The loss became infinite or not a number; the message names step, files and the last good checkpoint."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are the published recipe (see the profile paxray_full.yaml).

    Attributes
    ----------
    data_root, datafile : the data set, as for `PaxrayDataset`
    run_dir : folder that receives checkpoints/, metrics.csv and logs/
    architecture, encoder, encoder_weights : as for `build_model`
    image_size : pixels; images are resized to a square of this size, which is also the network's input afterwards
    crop_size : pixels; side of the random crops that it is trained with
    resize_prob, resize_scale : probability of a random resize, and how far it goes up from the crop's size
    flip_prob, rotate_degrees, zoom, brightness, contrast, gamma, noise : as in `AugmentConfig`, off as published
    batch_size, epochs : batch size of one process, and passes over the training split
    learning_rate, weight_decay : AdamW; parameters named "bias" take twice the rate and no decay, as published
    schedule : "multistep" (times lr_gamma at the epochs lr_milestones) or "onecycle" (up, then down to nothing)
    loss : "published" or "present", see `losses.dice_bce`
    threshold : a pixel has a label where its sigmoid is greater
    best : validation score that chooses best.ckpt: iou_present, iou_published, dice_present or dice_published
    val_every, save_every, log_every : epochs; steps between extra checkpoints (0: none); steps between log entries
    gradient_clip : largest norm of the gradient, 0 for no limit
    seed : of weights, order and augmentation
    device : "auto", "cpu", "cuda", "cuda:1", "mps"
    precision : "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16"
    workers : processes that prepare samples beside the training
    """

    data_root: str = "data/sample"
    datafile: str = "paxray.json"
    run_dir: str = "runs/train"
    architecture: str = PUBLISHED
    encoder: str = "resnet50"
    encoder_weights: str | None = None
    image_size: int = 512
    crop_size: int = 480
    resize_prob: float = 0.6
    resize_scale: float = 1.2
    flip_prob: float = 0.0
    rotate_degrees: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    batch_size: int = 3
    epochs: int = 110
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "multistep"
    lr_milestones: tuple[int, ...] = (60, 90, 100)
    lr_gamma: float = 0.1
    loss: str = "published"
    threshold: float = 0.5
    best: str = "dice_published"
    val_every: int = 10
    save_every: int = 0
    log_every: int = 20
    gradient_clip: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    workers: int = 0

    def __post_init__(self):
        object.__setattr__(self, "lr_milestones", tuple(self.lr_milestones))
        choices = {"schedule": SCHEDULES, "loss": KINDS, "best": BEST, "precision": tuple(PRECISIONS)}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} is {value!r}{did_you_mean(str(value), known)} (one of {', '.join(known)})")
        for name in ("image_size", "crop_size", "batch_size", "epochs", "val_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("weight_decay", "gradient_clip", "save_every", "seed", "workers"):
            if not getattr(self, name) >= 0:  # written so that NaN fails too
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, top in (("learning_rate", math.inf), ("lr_gamma", math.inf), ("threshold", 1)):
            if not 0 < getattr(self, name) < top:
                limit = "" if top == math.inf else f" and less than {top}"
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0{limit}")
        augmentation(self)  # checks its own fields


def augmentation(config: TrainConfig) -> AugmentConfig:
    """Return the augmentation that a config describes; raises ValueError if one of its fields is out of range."""
    return AugmentConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(AugmentConfig)})


def fit(config: TrainConfig, resume: bool = False) -> Path:
    """Train a network and return the run's folder.

    Parameters
    ----------
    config : TrainConfig
    resume : bool
        Go on from `checkpoints/last.ckpt` if there is one. Settings that matter must be the same; `epochs` may grow.

    Raises
    ------
    FileExistsError
        If the folder holds a training already and `resume` is not set.
    FileNotFoundError, ValueError
        If the data or a setting is wrong.
    NotFinite
        If the loss is not finite.
    """
    return _Training(config, resume).run()


def parameter_groups(model: torch.nn.Module, config: TrainConfig) -> list[dict]:
    """Return AdamW's groups as published: parameters whose name contains "bias" at twice the rate without decay."""
    named = list(model.named_parameters())
    bias = [parameter for name, parameter in named if "bias" in name]
    other = [parameter for name, parameter in named if "bias" not in name]
    return [
        {"params": other, "base_lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": bias, "base_lr": 2 * config.learning_rate, "weight_decay": 0.0},
    ]


def lr_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the factor on the base learning rate at a global step (counted from 0).

    >>> [lr_factor(TrainConfig(lr_milestones=(1,)), step, 10) for step in (9, 10)]
    [1.0, 0.1]
    """
    if config.schedule == "multistep":
        return config.lr_gamma ** sum(step // steps_per_epoch >= milestone for milestone in config.lr_milestones)
    total = config.epochs * steps_per_epoch
    rising = max(1, round(0.2 * total))
    if step < rising:
        return 0.04 + 0.96 * step / rising
    return max(1e-3, 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, total - rising)))


@dataclass
class _State:
    """Where a training stands: what a resumed one needs beside weights and optimizer."""

    epoch: int = 0
    step: int = 0  # within the epoch
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    rows: list[dict] = dataclasses.field(default_factory=list)


class _ModelWithLoss(torch.nn.Module):
    """Pixels and packed targets to the loss in one module: Fabric would cast logits that leave it to float32."""

    def __init__(self, model: AnatomySegmenter, kind: str):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inputs = normalize(images, self.model.preprocessing)  # (N, 3, h, w)
        logits = self.model(inputs.contiguous(memory_format=torch.channels_last))  # (N, L, h, w)
        return dice_bce(logits, targets, self.kind)


class _Training:
    def __init__(self, config: TrainConfig, resume: bool):
        self.config, self.folder = config, Path(config.run_dir)
        self.last, self.best = (self.folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
        self.train_set = PaxrayDataset(config.data_root, config.datafile, SPLITS[0])
        self.val_set = PaxrayDataset(config.data_root, config.datafile, SPLITS[1])
        for dataset in (self.train_set, self.val_set):  # now, not at the first validation, which may be hours away
            check_targets(dataset)
        saved = self._saved(resume)
        self.fabric = make_fabric(config.device, config.precision)
        self.state = _State(**saved["state"]) if saved else _State()
        self._set_up(saved)

    def _saved(self, resume: bool) -> dict | None:
        if not self.last.is_file():
            return None
        if not resume:
            raise FileExistsError(f"{self.folder} holds a training already; resume it, or choose another run_dir")
        saved = read_extra(self.last)
        _check_same(saved["config"], dataclasses.asdict(self.config), self.last)
        return saved

    def _set_up(self, saved: dict | None) -> None:
        config = self.config
        model = load_model(self.last) if saved else _new_model(config, self.train_set.labels)
        if model.padded(config.crop_size, config.crop_size) != (config.crop_size, config.crop_size):
            # the padded border would be at a place where the whole image later has pixels, and was never trained there
            raise ValueError(f"crop_size {config.crop_size}: {model.name} needs a multiple of {model.padded(1, 1)[0]}")
        self.model = model.to(memory_format=torch.channels_last)
        groups = parameter_groups(model, config)
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
        if saved:
            optimizer.load_state_dict(saved["optimizer"])
        self.network, self.optimizer = self.fabric.setup(_ModelWithLoss(model, config.loss), optimizer)
        self.batches = TrainingBatches(
            self.train_set,
            model.preprocessing,
            augmentation(config),
            batch_size=config.batch_size,
            seed=config.seed,
            workers=config.workers,
            device=self.fabric.device,
        )

    def run(self) -> Path:
        config, state = self.config, self.state
        self._announce()
        with SummaryWriter(self.folder / "logs", purge_step=self._global_step) as self.writer:
            while state.epoch < config.epochs:
                self._train_epoch()
                due = state.epoch % config.val_every == 0 or state.epoch == config.epochs
                self._finish_epoch(self._validate() if due else {})
        return self.folder

    @property
    def _global_step(self) -> int:
        return self.state.epoch * len(self.batches) + self.state.step

    def _announce(self) -> None:
        config, parameters = self.config, sum(p.numel() for p in self.model.parameters())
        say(
            f"{self.model.name}, {parameters / 1e6:.1f} M parameters, {len(self.train_set.labels)} labels, "
            f"{config.image_size} px (crops of {config.crop_size}); "
            f"{len(self.train_set)} training and {len(self.val_set)} validation images; "
            f"{config.epochs} epochs of {len(self.batches)} steps, batch {config.batch_size}; "
            f"{self.fabric.device}, {self.fabric._precision.precision}"
        )
        if self.state.epoch or self.state.step:
            say(f"resumed at epoch {self.state.epoch + 1}, step {self.state.step}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "config.yaml").is_file():
            with atomic_write(self.folder / "config.yaml") as path:
                path.write_text(yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False), encoding="utf-8")

    def _train_epoch(self) -> None:
        config, state = self.config, self.state
        self.network.train()
        started, before = time.perf_counter(), state.seconds
        for batch in self.batches.epoch(state.epoch, state.step):
            loss = self._step(batch)
            state.step += 1
            state.loss_sum += loss
            state.loss_steps += 1
            state.seconds = before + time.perf_counter() - started
            if self._global_step % config.log_every == 0:
                self.writer.add_scalar("loss/train", loss, self._global_step)
            if config.save_every and state.step % config.save_every == 0 and state.step < len(self.batches):
                self._save(self.last)
        state.epoch, state.step = state.epoch + 1, 0

    def _step(self, batch) -> float:
        config = self.config
        torch.manual_seed(hash((config.seed, self._global_step)) % 2**31)  # dropout too depends on the position alone
        rate = lr_factor(config, self._global_step, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate
        loss = self.network(batch.images, batch.targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NotFinite(self._not_finite(value, batch.names))
        self.fabric.backward(loss)
        if config.gradient_clip:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _not_finite(self, value: float, names: list[str]) -> str:
        good = f"the last good checkpoint is {self.last}" if self.last.is_file() else "no checkpoint was written yet"
        return f"the loss is {value} at step {self._global_step} (images {', '.join(names)}); {good}"

    def _validate(self) -> dict[str, float]:
        found = count_dataset(self.model, self.val_set, self.config.threshold, quiet=True)
        scores = validation_scores(found)
        if scores[self.config.best] > self.state.best:
            self.state.best = scores[self.config.best]
            self._save(self.best)
        return scores

    def _finish_epoch(self, scores: dict[str, float]) -> None:
        state = self.state
        row = {
            "epoch": state.epoch,
            "train_loss": state.loss_sum / state.loss_steps,
            **{f"val_{name}": scores.get(name) for name in BEST},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(state.seconds, 3),
        }
        state.rows.append(row)
        for name, value in row.items():
            if value is not None and name != "epoch":
                self.writer.add_scalar(f"epoch/{name}", value, state.epoch)
        self._report(row)
        state.loss_sum, state.loss_steps, state.seconds = 0.0, 0, 0.0
        self._save(self.last)
        with atomic_write(self.folder / "metrics.csv") as path:
            pd.DataFrame(state.rows).to_csv(path, index=False)

    def _report(self, row: dict) -> None:
        state, config = self.state, self.config
        speed = state.loss_steps * config.batch_size / max(1e-9, state.seconds)
        left = sum(r["seconds"] for r in state.rows) / len(state.rows) * (config.epochs - state.epoch)
        iou_present = row["val_iou_present"]
        score = "" if iou_present is None else f", validation IoU {iou_present:.3f} (present)"
        line = f"epoch {state.epoch}/{config.epochs}: loss {row['train_loss']:.4f}{score}"
        say(f"{line}, {speed:.1f} images/s, {left:.0f} s left")

    def _save(self, path: Path) -> None:
        extra = {"state": dataclasses.asdict(self.state), "config": _plain(dataclasses.asdict(self.config))}
        if path == self.last:
            extra["optimizer"] = self.optimizer.state_dict()
        save_model(path, self.model, **extra)


def _new_model(config: TrainConfig, labels: LabelSet) -> AnatomySegmenter:
    torch.manual_seed(config.seed)
    kind = "published" if config.architecture == PUBLISHED else "standard"
    preprocessing = Preprocessing(kind, (config.image_size, config.image_size))
    return build_model(config.architecture, labels, config.encoder, config.encoder_weights, preprocessing)


def validation_scores(found: Counts) -> dict[str, float]:
    """Return the four scores that a best checkpoint can be chosen by."""
    scores = {"iou": iou(found), "dice": dice(found)}
    return {f"{name}_{c}": mean_score(values, c) for name, values in scores.items() for c in CONVENTIONS}


def _plain(settings: dict) -> dict:
    return json.loads(json.dumps(settings))


def _check_same(old: dict, new: dict, path: Path) -> None:
    new = _plain(new)
    changed = [k for k in new if k not in MAY_CHANGE and old.get(k) != new[k]]
    if changed:
        detail = ", ".join(f"{k} (was {old.get(k)!r}, is {new[k]!r})" for k in changed)
        raise ValueError(f"{path} was trained with other settings: {detail}; use those, or another run_dir")
