"""What a training tells and leaves besides checkpoints: settings, metrics.csv, TensorBoard, lines
of progress.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import yaml
from torch.utils.tensorboard import SummaryWriter

from paxray_lib.training.batches import Batch
from paxray_lib.training.config import TrainConfig, plain
from paxray_lib.training.schedule import Plan
from paxray_lib.utils.files import atomic_write
from paxray_lib.utils.progress import say

LINE_EVERY_S = 15.0


class TrainLog:
    """Logs of one training; in other processes than the first it is quiet and writes nothing.

    Parameters
    ----------
    config : TrainConfig
    plan : Plan of the steps
    done : steps that were taken before, by a run that is resumed; TensorBoard drops what was logged
    after them
    first : whether this is the first process
    """

    def __init__(self, config: TrainConfig, plan: Plan, done: int, first: bool):
        self.config, self.plan, self.first = config, plan, first
        self.folder = Path(config.run_dir)
        self._done = done
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> "TrainLog":
        if self.first:
            for part in (
                *self.folder.glob(".*.part.*"),
                *self.folder.glob("checkpoints/.*.part.*"),
            ):
                # what a run that was killed while it wrote has left: as large as a checkpoint
                part.unlink()
            # `paxray run` has written its own, which it resumes by
            if not (self.folder / "status.json").is_file():
                with atomic_write(self.folder / "config.yaml") as path:
                    path.write_text(
                        yaml.safe_dump(plain(self.config), sort_keys=False), encoding="utf-8"
                    )
            self._writer = SummaryWriter(self.folder / "logs", purge_step=self._done + 1)
        return self

    def __exit__(self, *_) -> None:
        if self._writer is not None:
            self._writer.close()

    def say(self, text: str) -> None:
        """Show a line."""
        if self.first:
            say(text)

    def step(self, step: int, loss: float) -> None:
        """Log the loss of a step (counted from 1 over all epochs), if it is one of every
        `log_every`.
        """
        if self._writer is not None and step % self.config.log_every == 0:
            self._writer.add_scalar("loss/train", loss, step)

    def epoch(self, row: dict, mean_seconds: float) -> None:
        """Log a row of metrics.csv and show it in a line."""
        if self._writer is None:
            return
        # not the epoch: a resumed run drops what was logged after its step
        step = row["epoch"] * self.plan.steps
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._writer.add_scalar(f"epoch/{name}", value, step)
        iou_present = row["val_iou_present"]
        score = "" if iou_present is None else f", validation IoU {iou_present:.3f} (present)"
        speed = self.plan.length / max(1e-9, row["seconds"])
        left = mean_seconds * (self.config.epochs - row["epoch"])
        line = f"epoch {row['epoch']}/{self.config.epochs}: loss {row['train_loss']:.4f}{score}"
        say(f"{line}, {speed:.1f} images/s, {_duration(left)} left")

    def flush(self) -> None:
        """Bring what was logged to disk: before a checkpoint, since a resumed run does not log it
        again.
        """
        if self._writer is not None:
            self._writer.flush()

    def write_metrics(self, rows: list[dict]) -> None:
        """Write metrics.csv, one row an epoch."""
        if self.first and rows:
            with atomic_write(self.folder / "metrics.csv") as path:
                pd.DataFrame(rows).to_csv(path, index=False)

    def progress(
        self, steps: Iterable[list[Batch]], epoch: int, start: int
    ) -> Iterator[list[Batch]]:
        """Yield the steps of an epoch from `start` on; a bar in a terminal, elsewhere now and then
        a line.
        """
        if not self.first:
            yield from steps
        elif sys.stderr.isatty():
            yield from self._bar(steps, epoch, start)
        else:
            yield from self._lines(steps, epoch, start)

    def _bar(self, steps: Iterable[list[Batch]], epoch: int, start: int) -> Iterator[list[Batch]]:
        from tqdm import tqdm

        options = {
            "total": self.plan.length,
            "initial": self.plan.images_of(start),
            "unit": " images",
            "leave": False,
        }
        with tqdm(desc=f"epoch {epoch + 1}/{self.config.epochs}", **options) as bar:
            for done, step in enumerate(steps, start + 1):
                yield step
                bar.update(self.plan.images_of(done) - self.plan.images_of(done - 1))

    def _lines(self, steps: Iterable[list[Batch]], epoch: int, start: int) -> Iterator[list[Batch]]:
        began = last = time.monotonic()
        for done, step in enumerate(steps, start + 1):
            yield step
            now = time.monotonic()
            if now - last >= LINE_EVERY_S and done < self.plan.steps:
                last, images = now, self.plan.images_of(done)
                speed = (images - self.plan.images_of(start)) / (now - began)
                left = (self.plan.length * (self.config.epochs - epoch) - images) / speed
                name = f"epoch {epoch + 1}/{self.config.epochs}"
                say(
                    f"{name}: {images}/{self.plan.length} images, {speed:.1f} images/s, {_duration(left)} left"
                )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))
