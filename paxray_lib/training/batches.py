"""Training batches: augmented samples on the device, their masks packed.

What a sample becomes depends on (seed, epoch, position) alone, whichever process prepares it and
wherever. A training set that fits stays in memory: 598 images of 512 x 512 with 166 labels are
3.3 GB of packed masks and 0.6 GB of pixels."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.data._utils import signal_handling

from paxray_lib.compute.launch import find_launch
from paxray_lib.compute.memory import free_bytes
from paxray_lib.data.augmentation import AugmentConfig, augment, draw, moved_labels
from paxray_lib.data.dataset import EpochSampler, PaxrayDataset
from paxray_lib.data.union import DatasetUnion
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.masks.bits import byte_count
from paxray_lib.training.interrupts import outlive_first_signal
from paxray_lib.utils.console import map_ahead, progress

Key = tuple[int, int, int]  # epoch, position, index, as from EpochSampler
_THREADS = 4  # decoding releases the interpreter's lock


@dataclass(frozen=True)
class Batch:
    """N samples that pass through the network at once.

    `weight` is the factor for the mean loss of this batch: added up over a step's batches and
    averaged over processes, the loss is the mean over all images of the step.
    """

    images: Tensor  # (N, h, w) float32 in 0..1
    targets: Tensor  # (N, h, w, B) uint8, packed
    known: Tensor  # (N, L) bool: the labels that are annotated
    names: list[str]
    weight: float


class TrainingSet(Dataset):
    """Augmented samples by (epoch, position, index): pixels, packed masks, known labels, name.

    Each is read from disk, unless `keep_on` has read them all.
    """

    def __init__(
        self,
        dataset: PaxrayDataset | DatasetUnion,
        preprocessing: Preprocessing,
        config: AugmentConfig,
        seed: int,
    ):
        self.dataset, self.preprocessing = dataset, preprocessing
        self.config, self.seed = config, seed
        self._kept: list[tuple[Tensor, Tensor, np.ndarray, str, str | None]] = []

    @property
    def bytes(self) -> int:
        """Bytes of all samples at the network's size: packed masks, and pixels as float32."""
        height, width = self.preprocessing.size
        return len(self.dataset) * height * width * (4 + byte_count(len(self.dataset.labels)))

    def keep_on(self, device: torch.device, quiet: bool = False) -> None:
        """Read all samples into the memory of a device, in threads and with progress."""
        read = map_ahead(self.read, range(len(self.dataset)), _THREADS)
        shown = read if quiet else progress(read, "reading the training set", len(self.dataset))
        self._kept = [(one[0].to(device), one[1].to(device), *one[2:]) for one in shown]

    def read(self, index: int) -> tuple[Tensor, Tensor, np.ndarray, str, str | None]:
        """Read a sample at the network's size: pixels, packed masks, known labels, name and view.

        Pixels are (h, w) float32 in 0..1, masks (h, w, B) uint8, known labels (L,) bool. Raises
        ValueError, naming the file, if it is damaged or the sample has no target.
        """
        sample = self.dataset[index]
        if sample.masks is None:
            raise ValueError(
                f"{self.dataset.image_path(index)}: no target in the data file; needed to train"
            )
        pixels = self.preprocessing.resize(sample.image)
        masks = sample.masks.resize(*self.preprocessing.size)
        pair = torch.from_numpy(pixels), torch.from_numpy(masks.data)
        return *pair, masks.known, sample.name, sample.view

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Tensor, str]:
        epoch, position, index = key
        pixels, bits, known, name, view = self._kept[index] if self._kept else self.read(index)
        rng = np.random.default_rng([self.seed, epoch, position])
        params, labels = draw(rng, self.config, view), self.dataset.labels
        moved = torch.from_numpy(known[moved_labels(params, labels)])
        return *augment(params, pixels, bits, labels), moved, name

    def __getitems__(self, keys: list[Key]) -> list[tuple[Tensor, Tensor, Tensor, str]] | Exception:
        # for worker processes: an error raised there would become its traceback
        try:
            return [self[key] for key in keys]
        except (OSError, ValueError) as error:
            return error


@dataclass(frozen=True)
class StepPlan:
    """Which samples each step takes in each process.

    An epoch's order is cut into batches of `batch_size`. A single last image joins the batch before
    it, since BatchNorm cannot learn from one. A step takes the next accumulate x world batches, its
    batch m x world + r in process r. The last batch and the last step may be smaller. Losses are
    weighted so that each image of a step counts the same.

    All processes have equally many batches, since they wait for each other: one that would have
    none takes the step's first images again, two where there are two, with weight 0. (They count in
    BatchNorm's statistics, as any images of a batch do.) With batch_size 1 every batch has one
    image. `parts` are as for `EpochSampler`, with batches for its blocks.
    """

    length: int
    seed: int
    batch_size: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    parts: tuple[tuple[int, float], ...] = ()

    @property
    def images(self) -> int:
        """Images of a whole step, over all processes."""
        return self.batch_size * self.accumulate * self.world

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self._batches(self.length) // (self.accumulate * self.world))

    def images_of(self, steps: int) -> int:
        """Return how many images the first `steps` steps of an epoch take."""
        return self.length if steps >= self.steps else steps * self.images

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[tuple[list[Key], float]]]:
        """Yield for each step from `start` on this process's batches: samples, and their weight."""
        keys = iter(self.keys(epoch, start, self.steps))
        for step in range(start, self.steps):
            yield self._share(list(islice(keys, self.images_of(step + 1) - self.images_of(step))))

    def keys(self, epoch: int, start: int, stop: int) -> list[Key]:
        """Return the samples of an epoch's steps from `start` to `stop`, over all processes."""
        first, end = self.images_of(start), self.images_of(stop)
        draw = (self.length, self.seed, epoch, first, self.parts, self.batch_size)
        return list(islice(EpochSampler(*draw), end - first))

    def _batches(self, images: int) -> int:
        """Return the number of batches of so many images."""
        return max(1, -(-(images - (self.batch_size > 1)) // self.batch_size))

    def _share(self, keys: list[Key]) -> list[tuple[list[Key], float]]:
        starts = [batch * self.batch_size for batch in range(self._batches(len(keys)))]
        ends = [*starts[1:], len(keys)]
        batches = [keys[start:end] for start, end in zip(starts, ends, strict=True)]
        own = batches[self.rank :: self.world]
        shares = [(batch, len(batch) * self.world / len(keys)) for batch in own]
        missing = -(-len(batches) // self.world) - len(own)
        return shares + [(keys[: min(2, self.batch_size)], 0.0)] * missing


class TrainingBatches:
    """The batches of a training run on its device.

    A training set that fits stays on the device: on a GPU in half of its free memory, on a CPU in a
    quarter, shared by the processes of this machine, if no workers are asked for. Otherwise it is
    read from disk, by `workers` processes during the training. `in_memory` decides otherwise.
    """

    def __init__(
        self,
        samples: TrainingSet,
        plan: StepPlan,
        device: torch.device,
        workers: int = 0,
        in_memory: bool | None = None,
    ):
        self.samples, self.plan, self.device = samples, plan, device
        self.in_memory = fits(samples.bytes, workers, device) if in_memory is None else in_memory
        if self.in_memory:
            # others than CUDA lack the float64 that augmentation counts in
            home = device if device.type == "cuda" else torch.device("cpu")
            samples.keep_on(home, quiet=plan.rank > 0)
            workers = 0
        self._keys: list[list[Key]] = []
        self._loader = DataLoader(
            samples,
            batch_sampler=self._keys,
            num_workers=workers,
            worker_init_fn=outlive_first_signal,
            collate_fn=_collate,
            pin_memory=device.type == "cuda" and not self.in_memory,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return self.plan.steps

    def names(self, epoch: int, step: int) -> list[str]:
        """Return the file stems of one step's images, over all processes."""
        taken, entries = self.plan.keys(epoch, step, step + 1), self.samples.dataset.entries
        return [Path(entries[index].image).stem for *_, index in taken]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield this process's batches on the device, step by step of an epoch from `start` on."""
        steps = list(self.plan.epoch(epoch, start))
        # the workers live on from epoch to epoch, while the list of keys changes
        self._keys[:] = [keys for batches in steps for keys, _ in batches]
        loaded = iter(self._loader)
        for batches in steps:
            yield [self._on_device(next(loaded), weight) for _, weight in batches]

    def close(self) -> None:
        """End the processes that read samples; another epoch would start new ones.

        A traceback would keep them. Of a killed one a signal tells by a RuntimeError, wherever the
        program is by then: torch shall watch them no more."""
        loaded, self._loader._iterator = self._loader._iterator, None
        if loaded is not None:
            for _ in range(2):  # the second is for a signal that came before
                with contextlib.suppress(RuntimeError, ValueError):
                    signal_handling._remove_worker_pids(id(loaded))
            loaded._worker_pids_set = False  # type: ignore[attr-defined]  # as those with workers have
            loaded._shutdown_workers()  # type: ignore[attr-defined]

    def _on_device(self, loaded: Any, weight: float) -> Batch:
        if isinstance(loaded, Exception):
            raise loaded
        *tensors, names = loaded
        images, targets, known = (one.to(self.device, non_blocking=True) for one in tensors)
        return Batch(images, targets, known, list(names), weight)


def fits(needed: int, workers: int, device: torch.device) -> bool:
    """Return whether a training set of so many bytes stays on the device."""
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return workers == 0 and needed <= free_bytes() // (4 * find_launch().local_world)


def _collate(samples: Any) -> Any:
    """Return images (N, h, w), targets (N, h, w, B), known labels (N, L) and names, or an error."""
    return samples if isinstance(samples, Exception) else default_collate(samples)
