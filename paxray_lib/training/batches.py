"""Training batches: augmented samples on the device, their masks packed.

What a sample becomes depends on (seed, epoch, position) alone, whichever process prepares it and
wherever. A training set that fits stays in memory: 598 images of 512 x 512 with 166 labels are
3.3 GB of packed masks and 0.6 GB of pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from paxray_lib.data.augmentation import AugmentConfig, augment, draw
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.masks.bits import byte_count
from paxray_lib.training.order import Key, StepPlan
from paxray_lib.utils.progress import map_ahead, progress

# a training set up to this size stays in memory where no worker processes are asked for
HOST_BYTES = 2 << 30
_THREADS = 4  # decoding releases the interpreter's lock


@dataclass(frozen=True)
class Batch:
    """N samples that pass through the network at once.

    Attributes
    ----------
    images : (N, h, w) float32 tensor in 0..1
    targets : (N, h, w, B) uint8 tensor, packed
    names : list of str
    weight : float
        Factor for the mean loss of this batch: added up over a step's batches and averaged over
        processes, the loss is the mean over all images of the step.
    """

    images: Tensor
    targets: Tensor
    names: list[str]
    weight: float


class TrainingSet(Dataset):
    """Augmented samples, indexed by (epoch, position, index): pixels, packed masks and name.

    Each is read from disk, unless `keep_on` has read them all.
    """

    def __init__(
        self,
        dataset: PaxrayDataset,
        preprocessing: Preprocessing,
        augmentation: AugmentConfig,
        seed: int,
    ):
        self.dataset, self.preprocessing = dataset, preprocessing
        self.augmentation, self.seed = augmentation, seed
        self._kept: list[tuple[Tensor, Tensor, str, str | None]] = []

    @property
    def bytes(self) -> int:
        """Bytes of all samples at the network's size: packed masks, and pixels as float32."""
        height, width = self.preprocessing.size
        return len(self.dataset) * height * width * (4 + byte_count(len(self.dataset.labels)))

    def keep_on(self, device: torch.device, quiet: bool = False) -> None:
        """Read all samples into the memory of a device, in threads and with progress."""
        read = map_ahead(self.read, range(len(self.dataset)), _THREADS)
        shown = read if quiet else progress(read, "reading the training set", len(self.dataset))
        self._kept = [
            (pixels.to(device), bits.to(device), name, view) for pixels, bits, name, view in shown
        ]

    def read(self, index: int) -> tuple[Tensor, Tensor, str, str | None]:
        """Read a sample at the network's size.

        Returns
        -------
        pixels : (h, w) float32 tensor in 0..1
        bits : (h, w, B) uint8 tensor, packed masks
        name : str
        view : "frontal", "lateral" or None

        Raises
        ------
        ValueError
            If the sample has no target, or a file is damaged; the message names the file.
        """
        sample = self.dataset[index]
        if sample.masks is None:
            raise ValueError(
                f"{self.dataset.image_path(index)}: no target in {self.dataset.datafile.path}; "
                "needed to train"
            )
        pixels = self.preprocessing.resize(sample.image)
        masks = sample.masks.resize(*self.preprocessing.size)
        return torch.from_numpy(pixels), torch.from_numpy(masks.data), sample.name, sample.view

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, str]:
        epoch, position, index = key
        pixels, bits, name, view = self._kept[index] if self._kept else self.read(index)
        rng = np.random.default_rng([self.seed, epoch, position])
        params = draw(rng, self.augmentation, view)
        return *augment(params, pixels, bits, self.dataset.labels), name

    def __getitems__(self, keys: list[Key]) -> list[tuple[Tensor, Tensor, str]] | Exception:
        # for worker processes: an error raised there would become its traceback
        try:
            return [self[key] for key in keys]
        except (OSError, ValueError) as error:
            return error


class TrainingBatches:
    """The batches of a training run on its device.

    A training set that fits stays on the device: on a GPU in half of its free memory, on a CPU in
    `HOST_BYTES` if no workers are asked for. Otherwise it is read from disk, by `workers` processes
    during the training.

    Parameters
    ----------
    samples : TrainingSet
    plan : StepPlan
    device : torch.device
    workers : int
    in_memory : whether the training set stays on the device; None decides as above
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
        self._keys: list[list[Key]] = []
        self._loader: DataLoader | None = None
        if self.in_memory:
            # others than CUDA lack the float64 that augmentation counts in
            home = device if device.type == "cuda" else torch.device("cpu")
            samples.keep_on(home, quiet=plan.rank > 0)
        elif workers:
            self._loader = DataLoader(
                samples,
                batch_sampler=self._keys,
                num_workers=workers,
                collate_fn=_collate,
                pin_memory=device.type == "cuda",
                persistent_workers=True,
            )

    def __len__(self) -> int:
        return self.plan.steps

    def names(self, epoch: int, step: int) -> list[str]:
        """Return the file stems of one step's images, over all processes."""
        entries = self.samples.dataset.entries
        return [Path(entries[index].image).stem for *_, index in self.plan.step(epoch, step)]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield this process's batches on the device, step by step of an epoch from `start` on."""
        steps = list(self.plan.epoch(epoch, start))
        # the workers live on from epoch to epoch, while the list of keys changes
        self._keys[:] = [keys for batches in steps for keys, _ in batches]
        loaded = iter(self._loader or map(self._take, self._keys))
        for batches in steps:
            yield [self._on_device(next(loaded), weight) for _, weight in batches]

    def _take(self, keys: list[Key]) -> Any:
        return _collate([self.samples[key] for key in keys])

    def _on_device(self, loaded: Any, weight: float) -> Batch:
        if isinstance(loaded, Exception):
            raise loaded
        images, targets, names = loaded
        move = {"device": self.device, "non_blocking": True}
        return Batch(images.to(**move), targets.to(**move), names, weight)


def fits(needed: int, workers: int, device: torch.device) -> bool:
    """Return whether a training set of so many bytes stays on the device."""
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return workers == 0 and needed <= HOST_BYTES


def _collate(samples: Any) -> Any:
    """Return images (N, h, w), targets (N, h, w, B) and names; an error is handed on."""
    if isinstance(samples, Exception):
        return samples
    images, targets, names = zip(*samples, strict=True)
    # in a worker this writes straight into the memory that it shares
    return default_collate(list(images)), default_collate(list(targets)), list(names)
