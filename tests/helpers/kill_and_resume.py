"""Trainings that are killed with -9 and resumed, for test_resume.py: kill_and_resume.py PROFILE OUT
NAME...

Libraries are imported once; each training is a fork of this process, which itself computes nothing.
"""

import io
import os
import random
import signal
import sys
import time
from pathlib import Path

import segmentation_models_pytorch  # noqa: F401 - imported before the forks
import torch

import paxray_lib.training.loop  # noqa: F401
from paxray_lib.cli import app

AT_ONCE = 2  # trainings side by side


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_while_writing(name: str, number: int):
    """Let torch.save die when half of the file that becomes `name` is on disk, the `number`-th
    time.
    """
    save, seen = torch.save, []

    def half(content, path):
        if Path(path).name.startswith(f".{name}."):
            seen.append(path)
            if len(seen) == number:
                whole = io.BytesIO()
                save(content, whole)
                Path(path).write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
                die()
        save(content, path)

    torch.save = half


def dies_at_renaming(name: str, number: int, after: bool):
    """Let os.replace die before or after it gives a file the name `name`, the `number`-th time."""
    replace, seen = os.replace, []

    def dies(source, target):
        seen.append(Path(target).name == name)
        due = seen[-1] and sum(seen) == number
        if due and not after:
            die()
        replace(source, target)
        if due:
            die()

    os.replace = dies


def goes_slowly():
    """Let a training take its time, so that `kill_somewhere` finds it at work."""
    step = torch.optim.AdamW.step

    def slow(self, *arguments, **options):
        time.sleep(0.25)
        return step(self, *arguments, **options)

    torch.optim.AdamW.step = slow


# six steps in two epochs, both validated; last.ckpt after steps 2, 3, 4, 6, at 3 and 6 before and
# after the validation
DEATHS = {
    "somewhere": goes_slowly,
    "first": lambda: dies_while_writing("last", 1),
    "last": lambda: dies_while_writing("last", 3),
    "best": lambda: dies_while_writing("best", 1),
    "before": lambda: dies_at_renaming("last.ckpt", 2, after=False),
    "after": lambda: dies_at_renaming("last.ckpt", 2, after=True),
    "metrics": lambda: dies_at_renaming("metrics.csv", 2, after=False),
}


def start(profile: str, folder: Path, *options: str, death=None) -> int:
    """Start `paxray train` in a fork, and return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    if death is not None:
        death()
    try:
        app(["train", "--profile", profile, "--set", f"run_dir={folder}", *options])
    except SystemExit as end:
        os._exit(end.code)
    os._exit(1)


def end_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_somewhere(child: int, folder: Path) -> None:
    """Kill a training from outside, at any time after its first checkpoint."""
    while not (folder / "checkpoints/last.ckpt").exists():
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.9))
    os.kill(child, signal.SIGKILL)


def main(profile: str, out: str, *names: str) -> None:
    for first in range(0, len(names), AT_ONCE):
        folders = {name: Path(out) / name for name in names[first : first + AT_ONCE]}
        children = {
            name: start(profile, folder, death=DEATHS.get(name)) for name, folder in folders.items()
        }
        if "somewhere" in children:
            kill_somewhere(children["somewhere"], folders["somewhere"])
        for name, child in children.items():
            code, expected = end_of(child), 0 if name == "whole" else -signal.SIGKILL
            if code != expected:
                sys.exit(f"{name}: ended with {code}, not {expected}")
        resumed = {
            name: start(profile, folders[name], "--resume") for name in folders if name != "whole"
        }
        for name, child in resumed.items():
            if end_of(child):
                sys.exit(f"{name}: could not be resumed")


if __name__ == "__main__":
    main(*sys.argv[1:])
