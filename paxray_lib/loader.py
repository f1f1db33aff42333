"""Training batches: samples read, brought to the network's size, augmented, and put on the device packed.

What a sample becomes depends on (seed, epoch, position) alone, whichever process prepares it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from paxray_lib.augment import AugmentConfig, apply, draw
from paxray_lib.dataset import EpochSampler, PaxrayDataset
from paxray_lib.images import Preprocessing
from paxray_lib.masks import PackedMasks

CACHE_BYTES = 2 << 30  # a training set that fits is read and resized once, when no worker processes are used


@dataclass(frozen=True)
class Batch:
    """N samples: images (N, h, w) float32 in 0..1, targets (N, h, w, B) uint8 packed, and the samples' names."""

    images: torch.Tensor
    targets: torch.Tensor
    names: list[str]


class TrainingSet(Dataset):
    """Augmented samples, indexed by (epoch, position, index) as `EpochSampler` yields them.

    Raises ValueError for a sample without a target.
    """

    def __init__(
        self, dataset: PaxrayDataset, preprocessing: Preprocessing, augmentation: AugmentConfig, seed: int, keep: bool
    ):
        self.dataset, self.preprocessing, self.augmentation, self.seed = dataset, preprocessing, augmentation, seed
        height, width = preprocessing.size
        sample_bytes = height * width * (4 + -(-len(dataset.labels) // 8))
        self._kept: dict | None = {} if keep and sample_bytes * len(dataset) <= CACHE_BYTES else None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, str]:
        epoch, position, index = key
        pixels, masks, name, view = self._resized(index)
        rng = np.random.default_rng([self.seed, epoch, position])
        pixels, masks = apply(draw(rng, self.augmentation, view), pixels, masks)
        return np.ascontiguousarray(pixels, np.float32), masks.data, name

    def _resized(self, index: int) -> tuple[np.ndarray, PackedMasks, str, str | None]:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        sample = self.dataset[index]
        if sample.masks is None:
            raise ValueError(
                f"{self.dataset.image_path(index)}: no target in {self.dataset.datafile.path}; needed to train"
            )
        size, masks = self.preprocessing.size, sample.masks
        masks = masks if masks.shape[1:] == size else masks.resize(*size)
        item = self.preprocessing.resize(sample.image), masks, sample.name, sample.view
        if self._kept is not None:
            self._kept[index] = item
        return item


class _Batches(Sampler):
    """The batches of one epoch from a step on; the loader's workers live on while these numbers change."""

    def __init__(self, length: int, seed: int, size: int):
        self.length, self.seed, self.size = length, seed, size
        self.epoch = self.start = 0

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.length // self.size)

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        start = self.start * self.size
        keys = list(EpochSampler(self.length, self.seed, self.epoch, start))
        return (keys[i : i + self.size] for i in range(0, len(keys), self.size))


class TrainingBatches:
    """The batches of a training run on its device.

    Parameters
    ----------
    dataset : PaxrayDataset
    preprocessing : Preprocessing of the network
    augmentation : AugmentConfig
    batch_size, seed, workers : int
    device : torch.device
    """

    def __init__(
        self,
        dataset: PaxrayDataset,
        preprocessing: Preprocessing,
        augmentation: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        device: torch.device,
    ):
        self.device = device
        self._plan = _Batches(len(dataset), seed, batch_size)
        self._loader = DataLoader(
            TrainingSet(dataset, preprocessing, augmentation, seed, keep=workers == 0),
            batch_sampler=self._plan,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return self._plan.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on, on the device."""
        self._plan.epoch, self._plan.start = epoch, start
        for images, targets, names in self._loader:
            move = {"device": self.device, "non_blocking": True}
            yield Batch(images.to(**move), targets.to(**move), names)


def _collate(samples: list[tuple[np.ndarray, np.ndarray, str]]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    images, targets, names = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets)), list(names)


def normalize(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Return the network's input (N, 3, h, w) from pixels (N, h, w) in 0..1, computed on their device."""
    scale, offset = (torch.from_numpy(values).to(images.device)[:, None, None] for values in preprocessing.affine())
    return images[:, None] * scale + offset
