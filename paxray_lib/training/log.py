"""What a training tells and leaves besides checkpoints.

These are its settings, metrics.csv, TensorBoard, and lines or a bar of progress."""

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from paxray_lib.compute.devices import peak_bytes
from paxray_lib.training.batches import Batch, StepPlan
from paxray_lib.training.config import TrainConfig
from paxray_lib.utils import atomic_write, duration, say

# With steps of less than 5 s a line comes at least every 15 s
LINE_EVERY_S = 10.0


class TrainLog:
    """Logs of one training; in other processes than the `first` it is quiet and writes nothing."""

    def __init__(self, config: TrainConfig, plan: StepPlan, first: bool):
        self.config, self.plan, self.first = config, plan, first
        self.folder = Path(config.run_dir)
        self._writer: SummaryWriter | None = None
        self._loss = self._score = ""  # the newest, in words
        self._last_line = time.monotonic()

    def open(self, done: int) -> None:
        """Begin to write; of a resumed training TensorBoard drops what came after `done` steps."""
        if not self.first:
            return
        for part in (*self.folder.glob(".*.part.*"), *self.folder.glob("checkpoints/.*.part.*")):
            # what a run that was killed while it wrote has left: as large as a checkpoint
            part.unlink()
        # `paxray run` has written its own, which it resumes by
        if not (self.folder / "status.json").is_file():
            with atomic_write(self.folder / "config.yaml") as path:
                path.write_text(yaml.safe_dump(self.config.to_dict(), sort_keys=False), "utf-8")
        self._writer = SummaryWriter(self.folder / "logs", purge_step=done + 1)

    def close(self) -> None:
        """End to write."""
        if self._writer is not None:
            self._writer.close()

    def say(self, text: str) -> None:
        """Show a line."""
        if self.first:
            say(text)
            self._last_line = time.monotonic()

    def step(self, step: int, loss: float) -> None:
        """Log the loss of a step (counted from 1 over all epochs), if it is due."""
        self._loss = f", loss {loss:.4f}"
        if self._writer is not None and step % self.config.log_every == 0:
            self._writer.add_scalar("loss/train", loss, step)

    def epoch(self, rows: list[dict], device: torch.device) -> None:
        """Log the newest row of metrics.csv, and show it in a line."""
        row = rows[-1]
        if row["val_iou_present"] is not None:
            each = [f"{v:.3f}" for k, v in row.items() if k.startswith("val_iou_present_")]
            several = f"; {', '.join(each)}" if each else ""
            self._score = f", validation IoU {row['val_iou_present']:.3f} (present{several})"
        if self._writer is None:
            return
        # not the epoch: a resumed run drops what was logged after its step
        step = row["epoch"] * self.plan.steps
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._writer.add_scalar(f"epoch/{name}", value, step)
        speed = self.plan.length / max(1e-9, row["seconds"])
        left = sum(r["seconds"] for r in rows) / len(rows) * (self.config.epochs - row["epoch"])
        self.say(
            f"epoch {row['epoch']}/{self.config.epochs}: loss {row['train_loss']:.4f}"
            f"{self._score}, {speed:.1f} images/s, {duration(left)} left; "
            f"peak memory {peak_bytes(device) / 2**30:.1f} GiB"
        )

    def flush(self) -> None:
        """Bring to disk what a run resumed from the next checkpoint does not log again."""
        if self._writer is not None:
            self._writer.flush()

    def write_metrics(self, rows: list[dict]) -> None:
        """Write metrics.csv, one row per epoch."""
        if self.first and rows:
            with atomic_write(self.folder / "metrics.csv") as path:
                pd.DataFrame(rows).to_csv(path, index=False)

    def progress(
        self, steps: Iterator[list[Batch]], epoch: int, start: int
    ) -> Iterator[list[Batch]]:
        """Yield the steps of an epoch from `start` on.

        Meanwhile a terminal shows a bar, and everything else a line now and then.
        """
        plan, began = self.plan, time.monotonic()
        name, quiet = f"epoch {epoch + 1}/{self.config.epochs}", not self.first or None
        # a bar that is not quiet is so outside of a terminal
        with tqdm(
            desc=name,
            total=plan.steps,
            initial=start,
            unit=" steps",
            leave=False,
            disable=quiet,
        ) as bar:
            for done, step in enumerate(steps, start + 1):
                yield step
                now, scores = time.monotonic(), self._loss + self._score
                bar.set_postfix_str(scores.removeprefix(", "), refresh=False)
                bar.update()
                if bar.disable and now - self._last_line >= LINE_EVERY_S and done < plan.steps:
                    speed = (plan.images_of(done) - plan.images_of(start)) / (now - began)
                    left = plan.length * (self.config.epochs - epoch) - plan.images_of(done)
                    self.say(
                        f"{name}: step {done}/{plan.steps}{scores}, {speed:.1f} images/s, "
                        f"{duration(left / speed)} left"
                    )
