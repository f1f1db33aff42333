"""Train a network: `fit(TrainConfig(...))` leaves checkpoints, `metrics.csv` and logs in a run's
folder.

The loop is here to be read. Devices, precision and several processes come from lightning-fabric.
Order and augmentation depend on (seed, epoch, position) alone, and a checkpoint holds the position,
so that a resumed run goes on exactly.

Settings are in `trainconfig`, the batches in `loader`, what is told and logged in `trainlog`, what
can go wrong in `trainfaults`, how to start several processes in `devices`."""

import contextlib
import dataclasses
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from paxray_lib.compute.collectives import local_device
from paxray_lib.compute.devices import find_device
from paxray_lib.compute.fabric import (
    choose_precision,
    make_fabric,
    mean_over_processes,
    share_buffers,
)
from paxray_lib.compute.launch import find_launch
from paxray_lib.data.datafile import SPLITS
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import count_dataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.counting import Counts
from paxray_lib.metrics.scores import CONVENTIONS, dice, iou, mean_score
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.published import PUBLISHED
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.training.batches import Batch, Normalize, TrainingBatches
from paxray_lib.training.checks import check_data, data_digests
from paxray_lib.training.config import (
    BEST,
    TrainConfig,
    augmentation,
    check_resumable,
    lr_factor,
    parameter_groups,
    plain,
)
from paxray_lib.training.errors import NotFinite, Stopped, explain, last_good
from paxray_lib.training.in_memory import resident_bytes
from paxray_lib.training.log import TrainLog
from paxray_lib.training.losses import dice_bce_coarse
from paxray_lib.training.memory import step_bytes
from paxray_lib.training.schedule import Plan
from paxray_lib.utils.locks import lock

COMPILE_OPTIONS = {"kernels": {}, "graphs": {"mode": "reduce-overhead"}}


def fit(config: TrainConfig, resume: bool = False) -> Path:
    """Train a network and return the run's folder.

    In each of several processes that torchrun or srun started (see `devices`), call it with the
    same arguments.

    Parameters
    ----------
    config : TrainConfig
    resume : bool
        Go on from `checkpoints/last.ckpt` if there is one. Settings that matter must be the same,
        the number of processes too; `epochs` may grow, see `trainconfig.check_resumable`.

    Raises
    ------
    FileExistsError
        If the folder holds a training already and `resume` is not set.
    FileNotFoundError, ValueError
        If the data or a setting is wrong, files are missing, or another process trains in the
        folder.
    NotFinite
        If the loss, or a weight when it would be saved, is not finite.
    Stopped
        If a file cannot be read or written once the training has begun, or the memory does not
        suffice.
    """
    try:
        return _Training(config, resume).run()
    except (RuntimeError, ValueError) as error:
        explained = explain(error, config, _last(config))
        if explained is None:
            raise
        raise explained from error


def _last(config: TrainConfig) -> Path:
    return Path(config.run_dir) / "checkpoints" / "last.ckpt"


@dataclass
class _State:
    """Where a training stands: what a resumed one needs beside weights and optimizer."""

    epoch: int = 0  # finished ones
    # within the next; all of its steps are taken where its validation is still to come
    step: int = 0
    loss: float = 0.0  # of the last step
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    rows: list[dict] = dataclasses.field(default_factory=list)


class _ModelWithLoss(torch.nn.Module):
    """Pixels and packed targets to the loss in one module: Fabric would cast logits that leave it
    to float32.
    """

    def __init__(self, model: AnatomySegmenter, kind: str):
        super().__init__()
        self.model, self.kind, self.normalize = model, kind, Normalize(model.preprocessing)

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inputs = self.normalize(images)  # (N, 3, h, w)
        # (N, L, h / s, w / s)
        coarse = self.model.coarse(inputs.contiguous(memory_format=torch.channels_last))
        return dice_bce_coarse(coarse, targets, self.kind)


class _Losses:
    """Losses on their way from the device. A GPU is asked for one a step late, so that it never
    waits for us.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._waiting: deque = deque()

    def add(self, step: int, loss: torch.Tensor) -> None:
        host = loss.to("cpu", non_blocking=True)
        event = torch.cuda.Event() if self._on_gpu else None
        if event is not None:
            event.record()
        self._waiting.append((step, host, event))

    def take(self, all_of_them: bool = False) -> Iterator[tuple[int, float]]:
        """Yield (step, loss) in order; of a GPU's all but the newest, unless `all_of_them` are
        asked for.
        """
        while len(self._waiting) > (self._on_gpu and not all_of_them):
            step, host, event = self._waiting.popleft()
            if event is not None:
                event.synchronize()
            yield step, float(host)


class _Training:
    def __init__(self, config: TrainConfig, resume: bool):
        self.config, self.folder = config, Path(config.run_dir)
        self.last = _last(config)
        self.best = self.last.with_name("best.ckpt")
        self.train_set = PaxrayDataset(config.data_root, config.datafile, SPLITS[0])
        self.val_set = PaxrayDataset(config.data_root, config.datafile, SPLITS[1])
        check_data(self.train_set, self.val_set, config.flip_prob > 0)
        self.data = data_digests(self.train_set, self.val_set)
        saved = self._saved(resume)  # before processes join: after that the first one may write
        self.fabric = make_fabric(config.device, config.precision)
        self.state = _State(**saved["state"]) if saved else _State()
        self._set_up(saved)

    def _saved(self, resume: bool) -> dict | None:
        if not self.last.is_file():
            return None
        if not resume:
            raise FileExistsError(
                f"{self.folder} holds a training already; resume it, or choose another run_dir"
            )
        saved = read_extra(self.last)
        precision = choose_precision(
            self.config.precision, find_device(local_device(self.config.device))
        )
        check_resumable(saved, self.config, find_launch().world, precision, self.data, self.last)
        return saved

    def _set_up(self, saved: dict | None) -> None:
        config, fabric = self.config, self.fabric
        self.model = self._make_model(saved is not None)
        groups = parameter_groups(self.model, config)
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True
        )
        if saved:
            optimizer.load_state_dict(saved["optimizer"])
        module = _compiled(_ModelWithLoss(self.model, config.loss), config.compile, fabric.device)
        self.network, self.optimizer = fabric.setup(module, optimizer)
        if config.compile == "graphs":
            # gradients live outside of the graphs' memory, which the next batch overwrites
            for parameter in self.model.parameters():
                parameter.grad = torch.zeros_like(parameter)
        self.batches = self._make_batches()
        self.losses = _Losses(fabric.device)
        # a validation that was interrupted may have left its scores: they go, and the loss beside
        # them is logged again
        done = self._global_step - self._to_validate
        self.log = TrainLog(config, self.batches.plan, done, fabric.is_global_zero)

    def _make_model(self, resumed: bool) -> AnatomySegmenter:
        config, fabric = self.config, self.fabric
        # a download of the encoder's weights, once a machine
        with fabric.rank_zero_first(local=True):
            model = load_model(self.last) if resumed else _new_model(config, self.train_set.labels)
        if model.padded(config.crop_size, config.crop_size) != (config.crop_size, config.crop_size):
            # the padded border would be at a place where the whole image later has pixels, and was
            # never trained there
            raise ValueError(
                f"crop_size {config.crop_size}: {model.name} needs a multiple of {model.padded(1, 1)[0]}"
            )
        on_cpu = fabric.device.type == "cpu"
        plan = Plan(
            len(self.train_set),
            config.seed,
            config.batch_size,
            config.accumulate,
            0,
            fabric.world_size,
        )
        self.step_bytes = step_bytes(model, plan.largest, config.crop_size, self._dtype, on_cpu)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model.to(fabric.device, memory_format=torch.channels_last)

    def _make_batches(self) -> TrainingBatches:
        config, fabric = self.config, self.fabric
        return TrainingBatches(
            self.train_set,
            self.model.preprocessing,
            augmentation(config),
            batch_size=config.batch_size,
            accumulate=config.accumulate,
            seed=config.seed,
            workers=config.workers,
            device=fabric.device,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if "bf16" in self.fabric._precision.precision else torch.float32

    @property
    def _global_step(self) -> int:
        return self.state.epoch * len(self.batches) + self.state.step

    @property
    def _to_validate(self) -> bool:
        return self.state.step == len(self.batches)

    def run(self) -> Path:
        config, state = self.config, self.state
        alone = (
            lock(self.folder, ".training")
            if self.fabric.is_global_zero
            else contextlib.nullcontext()
        )
        with alone, self.log:
            self._announce()
            if self._to_validate:
                self.log.step(self._global_step, self.state.loss)
            try:
                while state.epoch < config.epochs:
                    self._train_epoch()
                    self._finish_epoch(self._validate() if self._is_validated(state.epoch) else {})
                # killed after the last checkpoint, a run may have left one row less
                self.log.write_metrics(state.rows)
            except (OSError, ValueError) as error:
                place = f"after {state.epoch} epochs and {state.step} steps"
                raise Stopped(
                    f"stopped {place}: {error}; {last_good(self.last)}; --resume goes on"
                ) from error
        # The first process has written its files. They stay joined: under torchrun a second joining
        # may hang.
        self.fabric.barrier()
        return self.folder

    def _announce(self) -> None:
        config, plan, parameters = (
            self.config,
            self.batches.plan,
            sum(p.numel() for p in self.model.parameters()),
        )
        factors = f"{config.batch_size} x {config.accumulate} accumulated x {plan.world} processes"
        memory = f"about {self.step_bytes / 2**30:.1f} GiB for a step"
        if self.batches.resident:
            kept = resident_bytes(self.train_set, self.model.preprocessing)
            memory += f" and {kept / 2**30:.1f} GiB for the training set, which stays in memory"
        self.log.say(
            f"{self.model.name}, {parameters / 1e6:.1f} M parameters, {len(self.train_set.labels)} labels, "
            f"{config.image_size} px (crops of {config.crop_size}); "
            f"{len(self.train_set)} training and {len(self.val_set)} validation images; "
            f"{config.epochs} epochs of {plan.steps} steps, {plan.images} images a step"
            f"{'' if plan.images == config.batch_size else f' ({factors})'}; "
            f"{self.fabric.device}, {self.fabric._precision.precision}; {memory}"
        )
        if self.state.epoch or self.state.step:
            self.log.say(f"resumed at epoch {self.state.epoch + 1}, step {self.state.step}")

    def _train_epoch(self) -> None:
        state = self.state
        self.network.train()
        started, before = time.perf_counter(), state.seconds
        for batches in self.log.progress(
            self.batches.epoch(state.epoch, state.step), state.epoch, state.step
        ):
            self._step(batches)
            state.step += 1
            self._read_losses()
            if self._is_saved():
                self._read_losses(all_of_them=True)
                state.seconds = before + time.perf_counter() - started
                self._save(self.last)
        self._read_losses(all_of_them=True)
        state.seconds = before + time.perf_counter() - started
        state.epoch, state.step = state.epoch + 1, 0

    def _is_saved(self) -> bool:
        """Whether a checkpoint is due after this step; the one at the end of the epoch comes after
        its validation.
        """
        if self._to_validate:  # which may fail, or be killed, and then is repeated
            return self._is_validated(self.state.epoch + 1)
        return self.config.save_every > 0 and self._global_step % self.config.save_every == 0

    def _is_validated(self, epoch: int) -> bool:
        return epoch % self.config.val_every == 0 or epoch == self.config.epochs

    def _step(self, batches: list[Batch]) -> None:
        """Take one step: the gradients of all batches, added up, then the optimizer."""
        config, total = self.config, 0.0
        place = config.seed, self._global_step, self.fabric.global_rank
        torch.manual_seed(hash(place) % 2**31)  # dropout too depends on the position alone
        rate = lr_factor(config, self._global_step, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate
        for number, batch in enumerate(batches, 1):
            with self.fabric.no_backward_sync(self.network, enabled=number < len(batches)):
                loss = self.network(batch.images, batch.targets) * batch.weight
                self.fabric.backward(loss)
            total = total + loss.detach()
        if config.gradient_clip:
            # the loss is watched instead
            limits = {"max_norm": config.gradient_clip, "error_if_nonfinite": False}
            self.fabric.clip_gradients(self.network, self.optimizer, **limits)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=config.compile != "graphs")
        self.losses.add(self._global_step, mean_over_processes(total))

    def _read_losses(self, all_of_them: bool = False) -> None:
        """Take account of the losses that have arrived; raises NotFinite at the first that is not a
        number.
        """
        for step, loss in self.losses.take(all_of_them):
            if not math.isfinite(loss):
                raise NotFinite(self._not_finite(f"the loss is {loss}", step))
            self.state.loss = loss
            self.state.loss_sum += loss
            self.state.loss_steps += 1
            self.log.step(step + 1, loss)

    def _not_finite(self, what: str, step: int) -> str:
        names = ", ".join(self.batches.names(*divmod(step, len(self.batches))))
        return f"{what} at step {step} (images {names}); {last_good(self.last)}"

    def _check_weights(self) -> None:
        # a gradient may overflow although the loss does not, and the next loss, which tells, comes
        # after a checkpoint
        finite = torch.stack(
            [parameter.detach().isfinite().all() for parameter in self.model.parameters()]
        )
        if not finite.all():
            raise NotFinite(
                self._not_finite("weights are not finite after an update", self._global_step - 1)
            )

    def _validate(self) -> dict[str, float]:
        self._check_weights()
        share_buffers(self.model)
        threshold = self.config.threshold
        found = count_dataset(self.model, self.val_set, threshold=threshold, quiet=True)
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
        state.loss_sum, state.loss_steps, state.seconds = 0.0, 0, 0.0
        self.log.epoch(row, sum(r["seconds"] for r in state.rows) / len(state.rows))
        self._save(self.last)
        self.log.write_metrics(state.rows)

    def _save(self, path: Path) -> None:
        self._check_weights()
        if not self.fabric.is_global_zero:
            return
        extra = {
            "state": dataclasses.asdict(self.state),
            "config": plain(self.config),
            "processes": self.fabric.world_size,
            "precision": self.fabric._precision.precision,
            "data": self.data,
        }
        if path == self.last:
            self.log.flush()
            extra["optimizer"] = self.optimizer.state_dict()
        save_model(path, self.model, **extra)


def _new_model(config: TrainConfig, labels: LabelSet) -> AnatomySegmenter:
    torch.manual_seed(config.seed)
    kind = "published" if config.architecture == PUBLISHED else "standard"
    preprocessing = Preprocessing(kind, (config.image_size, config.image_size))
    return build_model(
        config.architecture, labels, config.encoder, config.encoder_weights, preprocessing
    )


def _compiled(module: torch.nn.Module, how: str, device: torch.device) -> torch.nn.Module:
    if how == "off":
        return module
    if how == "graphs" and device.type != "cuda":
        raise ValueError(
            f"compile 'graphs' needs an NVIDIA GPU, and this is {device}; use 'kernels' or 'off'"
        )
    # the last batch of an epoch may have another size: compiled once more, rather than all for any
    # size
    return torch.compile(module, dynamic=False, **COMPILE_OPTIONS[how])


def validation_scores(found: Counts) -> dict[str, float]:
    """Return the four scores that a best checkpoint can be chosen by."""
    scores = {"iou": iou(found), "dice": dice(found)}
    return {
        f"{name}_{c}": mean_score(values, c) for name, values in scores.items() for c in CONVENTIONS
    }
