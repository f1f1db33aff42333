"""A training that is under way: where it stands, its checkpoints, and its losses."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from lightning_fabric import Fabric
from pydantic import Field

from paxray_lib.compute.fabric import mean_over_processes
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.expressions import Expression
from paxray_lib.models import AnatomySegmenter, save_model
from paxray_lib.training.batches import Batch, TrainingBatches
from paxray_lib.training.checks import WORKER_ENDED, NotFinite, last_good
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.interrupts import held_interrupts
from paxray_lib.training.log import TrainLog
from paxray_lib.utils import Stopped, lock
from paxray_lib.utils.settings import check_fields


@dataclass
class State:
    """Where a training stands: what a resumed one needs besides weights and optimizer."""

    epoch: int = 0  # finished ones
    # within the next; all of its steps are taken where its validation is still to come
    step: int = 0
    loss: float = 0.0  # of the last step
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    best: Annotated[float, Field(allow_inf_nan=True)] = -math.inf
    rows: list[dict] = field(default_factory=list)  # of metrics.csv

    def __post_init__(self) -> None:
        check_fields(self)


class PendingLosses:
    """Losses on their way: a GPU is asked for one a step late, so that it never waits for us."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._waiting: deque = deque()

    def add(self, step: int, loss: torch.Tensor) -> None:
        """Send the loss of a step on its way."""
        host = loss.to("cpu", non_blocking=True)
        event = torch.cuda.current_stream().record_event() if self._on_gpu else None
        self._waiting.append((step, host, event))

    def take(self, wait: bool = False) -> Iterator[tuple[int, Any]]:
        """Yield (step, numbers) in order: of a GPU's all but the newest, unless told to wait."""
        while len(self._waiting) > (self._on_gpu and not wait):
            step, host, event = self._waiting.popleft()
            if event:
                event.synchronize()
            yield step, host.tolist()


@dataclass
class Run:
    """All that a training works with, on its device, as `setup.set_up` makes it.

    `compounds` are what the data have besides the model's labels. `optimizer` is wrapped by Fabric
    once the training begins. `data` are the digests of the data file, and `precision` is Fabric's
    name.
    """

    config: TrainConfig
    fabric: Fabric
    precision: str
    model: AnatomySegmenter
    compounds: tuple[Expression, ...]
    optimizer: Any
    batches: TrainingBatches
    val_sets: list[PaxrayDataset]
    data: dict[str, str]
    state: State

    def __post_init__(self) -> None:
        self.folder = Path(self.config.run_dir)
        self.log = TrainLog(self.config, self.batches.plan, self.fabric.is_global_zero)
        self.losses = PendingLosses(self.fabric.device)
        self.interrupts: list[str] = []  # of this process
        self.to_stop = False  # known to all processes after the same step

    @property
    def global_step(self) -> int:
        """Steps taken over all epochs."""
        return self.state.epoch * len(self.batches) + self.state.step

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Hold the run's folder and log, and say where a training goes on that cannot."""
        state, first = self.state, self.fabric.is_global_zero
        with lock(self.folder, ".training") if first else contextlib.nullcontext():
            # a validation that was interrupted may have left its scores: they go, and the loss
            # beside them is logged again
            to_validate = state.step == len(self.batches)
            self.log.open(self.global_step - to_validate)
            if to_validate:
                self.log.step(self.global_step, state.loss)
            try:
                with contextlib.closing(self.batches):
                    yield
                # killed after the last checkpoint, a run may have left one row less
                self.log.write_metrics(state.rows)
            except (OSError, ValueError) as error:
                reason = WORKER_ENDED if isinstance(error, ConnectionError) else str(error)
                raise Stopped(self._stopped(reason)) from error
            except KeyboardInterrupt as interrupt:
                reason = str(interrupt) or "interrupted"
                raise KeyboardInterrupt(self._stopped(reason)) from interrupt
            finally:
                self.log.close()
        # The first process has written its files. They stay joined: under torchrun a second joining
        # may hang.
        self.fabric.barrier()

    def _stopped(self, reason: str) -> str:
        return (
            f"stopped after {self.state.epoch} epochs and {self.state.step} steps: {reason}; "
            f"{last_good(self.config)}; --resume goes on"
        )

    @contextlib.contextmanager
    def whole_steps(self) -> Iterator[None]:
        """While inside, let an interrupt wait for the end of a step, and save the state then."""
        with held_interrupts() as self.interrupts:
            yield
            self._stop_if_asked()
        if self.interrupts:  # after the last step, in this process alone
            raise KeyboardInterrupt(self.interrupts[0])

    def _stop_if_asked(self) -> None:
        if self.to_stop:
            self.save()
            self.fabric.barrier()  # where one process ends, torchrun ends the others
            raise KeyboardInterrupt(*(self.interrupts or ["stopped like another process"]))

    def steps(self) -> Iterator[list[Batch]]:
        """Yield the batches of each step that is left of the epoch, with progress and its time."""
        state = self.state
        began = time.perf_counter() - state.seconds
        steps = self.batches.epoch(state.epoch, state.step)
        for batches in self.log.progress(steps, state.epoch, state.step):
            yield batches
            state.seconds = time.perf_counter() - began
        self.read_losses(wait=True)
        state.seconds = time.perf_counter() - began

    def step_taken(self, loss: torch.Tensor) -> None:
        """Count a step and its loss, and stop if a process was asked to.

        Raises NotFinite if a loss is known that is not a number, else KeyboardInterrupt.
        """
        asked = torch.full_like(loss, bool(self.interrupts))
        self.losses.add(self.global_step, mean_over_processes(torch.stack([loss, asked])))
        self.state.step += 1
        self.read_losses()
        self._stop_if_asked()

    def save_is_due(self) -> bool:
        """Return whether this step is one of every `save_every` within an epoch."""
        every = self.config.save_every
        return every > 0 and self.state.step < len(self.batches) and self.global_step % every == 0

    def read_losses(self, wait: bool = False) -> None:
        """Log the losses that have arrived."""
        for step, (loss, asked) in self.losses.take(wait):
            self.to_stop |= asked > 0
            if not math.isfinite(loss):
                raise self._not_finite(f"the loss is {loss}", step)
            self.state.loss = loss
            self.state.loss_sum += loss
            self.state.loss_steps += 1
            self.log.step(step + 1, loss)

    def _not_finite(self, what: str, step: int) -> NotFinite:
        names = ", ".join(self.batches.names(*divmod(step, len(self.batches))))
        return NotFinite(f"{what} at step {step} (images {names}); {last_good(self.config)}")

    def finish_epoch(self, scores: dict[str, float | None]) -> None:
        """Count an epoch, and add its row to the log and to metrics.csv once it is saved."""
        state = self.state
        state.epoch, state.step = state.epoch + 1, 0
        state.rows.append(
            {
                "epoch": state.epoch,
                "train_loss": state.loss_sum / state.loss_steps,
                **{f"val_{name}": score for name, score in scores.items()},
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": round(state.seconds, 3),
            }
        )
        state.loss_sum, state.loss_steps, state.seconds = 0.0, 0, 0.0
        self.log.epoch(state.rows, self.fabric.device)
        self.save()
        self.log.write_metrics(state.rows)

    def check_weights(self) -> None:
        """Raise NotFinite if a weight is not finite: a gradient may overflow although the loss does
        not, and the next loss, which tells, comes after a checkpoint.
        """
        weights = [parameter.detach() for parameter in self.model.parameters()]
        if not torch.stack([weight.isfinite().all() for weight in weights]).all():
            raise self._not_finite("weights are not finite after an update", self.global_step - 1)

    def save(self, name: str = "last") -> None:
        """Write a checkpoint; the last one holds the optimizer and is what a resume needs."""
        if name == "last":
            self.read_losses(wait=True)
        self.check_weights()
        if not self.fabric.is_global_zero:
            return
        extra = {
            "state": asdict(self.state),
            "config": self.config.to_dict(),
            "processes": self.fabric.world_size,
            "precision": self.precision,
            "data": self.data,
        }
        if name == "last":
            self.log.flush()
            extra["optimizer"] = self.optimizer.state_dict()
        save_model(self.config.last_checkpoint.with_name(f"{name}.ckpt"), self.model, **extra)
