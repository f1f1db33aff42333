"""Settings of a training, and what follows from them alone: augmentation, learning rates, what a
resume may change.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from paxray_lib.compute.fabric import PRECISIONS
from paxray_lib.data.augmentation import AugmentConfig
from paxray_lib.metrics.scores import CONVENTIONS
from paxray_lib.models.published import PUBLISHED
from paxray_lib.training.losses import KINDS
from paxray_lib.utils.errors import did_you_mean

SCHEDULES = ("multistep", "onecycle")
BEST = tuple(f"{score}_{convention}" for score in ("iou", "dice") for convention in CONVENTIONS)
COMPILE = ("off", "kernels", "graphs")
# The precision that a device gives is compared, not its name: "auto" means another one elsewhere
MAY_CHANGE = (
    "data_root",
    "run_dir",
    "epochs",
    "device",
    "precision",
    "workers",
    "compile",
    "save_every",
    "log_every",
)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are the published recipe (see the profile
    paxray_full.yaml).

    Attributes
    ----------
    data_root, datafile : the data set, as for `PaxrayDataset`
    run_dir : folder that receives checkpoints/, metrics.csv and logs/
    architecture, encoder, encoder_weights : as for `build_model`
    image_size : pixels; images are resized to a square of this size, which is also the network's
    input afterwards
    crop_size : pixels; side of the random crops that it is trained with
    resize_prob, resize_scale : probability of a random resize, and how far it goes up from the
    crop's size
    flip_prob, rotate_degrees, zoom, brightness, contrast, gamma, noise : as in `AugmentConfig`, off
    as published
    batch_size : images that pass through the network at once, in each process; the last batch of an
    epoch may have one
        more, since a last image alone joins the batch before it
    accumulate : such batches whose gradients are summed for one step; a step takes batch_size x
    accumulate x processes
    epochs : passes over the training split
    learning_rate, weight_decay : AdamW; parameters named "bias" take twice the rate and no decay,
    as published
    schedule : "multistep" (times lr_gamma at the epochs lr_milestones) or "onecycle" (up, then down
    to nothing)
    loss : "published" or "present", see `losses.dice_bce`
    threshold : a pixel has a label where its sigmoid is greater
    best : validation score that chooses best.ckpt: iou_present, iou_published, dice_present or
    dice_published
    val_every, save_every, log_every : epochs; steps between extra checkpoints (0: none); steps
    between log entries
    gradient_clip : largest norm of the gradient, 0 for no limit
    seed : of weights, order and augmentation
    device : "auto", "cpu", "cuda", "cuda:1", "mps"
    precision : "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16"
    compile : "off", "kernels" (torch.compile: minutes at the start, then faster) or "graphs" (CUDA
    graphs besides)
    workers : processes that prepare samples beside the training, where the training set does not
    fit into memory"""

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
    accumulate: int = 1
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
    compile: str = "off"
    workers: int = 0

    def __post_init__(self):
        object.__setattr__(self, "lr_milestones", tuple(self.lr_milestones))
        choices = {
            "schedule": SCHEDULES,
            "loss": KINDS,
            "best": BEST,
            "precision": PRECISIONS,
            "compile": COMPILE,
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in tuple(known):
                raise ValueError(
                    f"{name} is {value!r}{did_you_mean(str(value), known)} (one of {', '.join(known)})"
                )
        for name in (
            "image_size",
            "crop_size",
            "batch_size",
            "accumulate",
            "epochs",
            "val_every",
            "log_every",
        ):
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
    """Return the augmentation that a config describes; raises ValueError if one of its fields is
    out of range.
    """
    return AugmentConfig(
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(AugmentConfig)}
    )


def parameter_groups(model: torch.nn.Module, config: TrainConfig) -> list[dict]:
    """Return AdamW's groups as published: parameters whose name contains "bias" at twice the rate
    without decay.
    """
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
        return config.lr_gamma ** sum(
            step // steps_per_epoch >= milestone for milestone in config.lr_milestones
        )
    total = config.epochs * steps_per_epoch
    rising = max(1, round(0.2 * total))
    if step < rising:
        return 0.04 + 0.96 * step / rising
    return max(1e-3, 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, total - rising)))


def plain(config: TrainConfig) -> dict:
    """Return the settings as a checkpoint or a YAML file holds them: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def check_resumable(
    saved: Mapping,
    config: TrainConfig,
    processes: int,
    precision: str,
    data: Mapping[str, str],
    path: Path,
) -> None:
    """Raise ValueError, naming each, if settings or data differ on which the result depends.

    `MAY_CHANGE` lists the others. `epochs` may grow, but not under the schedule "onecycle", whose
    rates depend on it from the first step on. A setting that an older checkpoint lacks had the
    default's effect, and data of which it has no digest are not compared.

    Parameters
    ----------
    saved : the `extra` of the checkpoint
    config, processes, precision : of the training that wants to go on; Fabric's name of the
    precision
    data : digests by name, as from `trainfaults.data_digests`
    path : of the checkpoint, for the message
    """
    old, new = {**plain(TrainConfig()), **saved["config"]}, plain(config)
    changed = [
        f"{k} (was {old[k]!r}, is {new[k]!r})"
        for k in new
        if k not in MAY_CHANGE and old[k] != new[k]
    ]
    if saved.get("processes", 1) != processes:
        changed.append(f"number of processes (was {saved.get('processes', 1)}, is {processes})")
    if saved.get("precision", precision) != precision:
        changed.append(f"precision (was {saved['precision']}, is {precision} on this device)")
    digests = saved.get("data", {})
    changed += [
        f"{name} of {config.datafile}"
        for name, one in data.items()
        if digests.get(name, one) != one
    ]
    epochs = f"epochs (was {old['epochs']}, is {new['epochs']}"
    if new["epochs"] < old["epochs"]:
        changed.append(f"{epochs}; it may only grow)")
    if new["epochs"] > old["epochs"] and config.schedule == "onecycle":
        changed.append(f"{epochs}; the schedule 'onecycle' depends on it)")
    if changed:
        raise ValueError(
            f"{path} was trained with other settings: {', '.join(changed)}; use those, or another run_dir"
        )
