"""What each of two processes does for test_distributed.py: two_processes.py DATA OUT.

It starts them by torchrun."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import torch
import yaml
from helpers.sampledata import small_training

from paxray_lib.cli import app
from paxray_lib.compute import fabric
from paxray_lib.training import losses
from paxray_lib.training.checks import NotFinite
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit

# One process takes as many images a step as two do here: 4 of 7, then 3 in one batch, of which one
# process has none.
FROZEN = {"batch_size": 2, "epochs": 2, "schedule": "multistep", "gradient_clip": 1.0}
# All 7 in one step, in batches of the same images whether two processes accumulate two or one
# process four: three batches, so that one process has none for the last place. At 32 px BatchNorm
# would enlarge rounding.
LIVE = {"batch_size": 2, "accumulate": 2, "image_size": 64, "crop_size": 64}

TWO_STEPS = {"batch_size": 2, "epochs": 1}


def config(data, out, name: str, **settings) -> TrainConfig:
    return TrainConfig(**{**small_training(Path(data), Path(out) / name), **settings})


def freeze(
    frozen: bool, module=torch.nn.BatchNorm2d, train_of_modules=torch.nn.Module.train
) -> None:
    """Let BatchNorm use the statistics that it has, in training too."""
    module.train = lambda self, mode=True: train_of_modules(self, mode and not frozen)


def in_double_precision(double: bool, precisions=fabric.FABRIC_PRECISIONS) -> None:
    """Let "float32" mean float64: AdamW's first steps have one length, however much of a gradient
    is rounding.
    """
    precisions["float32"] = "64-true" if double else "32-true"


@contextlib.contextmanager
def signalled_at_the_first_step(mine: bool, number: int = signal.SIGINT):
    """Send this process a signal within its first step, if it is the one to get it."""
    step, taken = torch.optim.AdamW.step, []

    def watched(self, *arguments, **options):
        taken.append(self)
        if mine and len(taken) == 1:
            os.kill(os.getpid(), number)
        return step(self, *arguments, **options)

    with mock.patch.object(torch.optim.AdamW, "step", watched):
        yield


def main(data: str, out: str) -> None:
    in_double_precision(True)
    freeze(True)
    fit(config(data, out, "frozen", **FROZEN))
    freeze(False)
    fit(config(data, out, "live", **LIVE, epochs=1))
    in_double_precision(False)
    fit(config(data, out, "straight", **LIVE, epochs=2))
    fit(config(data, out, "resumed", **LIVE, epochs=1))
    fit(config(data, out, "resumed", **LIVE, epochs=2), resume=True)
    rank = int(os.environ["RANK"])
    if rank == 1:  # one process sees it, both stop
        losses.LOSSES["broken"] = lambda logits, *_, **__: logits.sum() * float("nan")
    else:
        losses.LOSSES["broken"] = losses.LOSSES["published"]
    try:
        fit(config(data, out, "nan", **LIVE, epochs=1, loss="broken"))
    except NotFinite as error:
        (Path(out) / f"stopped{rank}.txt").write_text(str(error))
    fit(config(data, out, "two_steps", **TWO_STEPS))
    try:
        with signalled_at_the_first_step(rank == 1):
            fit(config(data, out, "interrupted", **TWO_STEPS))
    except KeyboardInterrupt as error:
        (Path(out) / f"interrupted{rank}.txt").write_text(str(error))
    fit(config(data, out, "interrupted", **TWO_STEPS), resume=True)


def killed(data: str, out: str) -> None:
    profile = Path(out) / f"p{os.environ['RANK']}.yaml"
    profile.write_text(yaml.safe_dump(config(data, out, "killed", **TWO_STEPS).to_dict()))
    with signalled_at_the_first_step(os.environ["RANK"] == "1", signal.SIGKILL):
        app(["train", "--profile", str(profile)])


if __name__ == "__main__":
    (killed if sys.argv[3:] else main)(*sys.argv[1:3])
