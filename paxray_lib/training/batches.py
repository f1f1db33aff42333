"""Training batches: which samples a step takes, prepared by whoever is fastest, and put on the
device packed.

What a sample becomes depends on (seed, epoch, position) alone, whichever process prepares it and
wherever."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from paxray_lib.data.augmentation import AugmentConfig, apply, draw
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.training.in_memory import ResidentSet, read_resized, resident_bytes
from paxray_lib.training.schedule import Key, Plan

# a training set up to this size stays in memory where no worker processes are asked for
HOST_BYTES = 2 << 30


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

    images: torch.Tensor
    targets: torch.Tensor
    names: list[str]
    weight: float


class TrainingSet(Dataset):
    """Augmented samples read from disk, indexed by (epoch, position, index): what worker processes
    do.

    Raises ValueError for a sample without a target.
    """

    def __init__(
        self,
        dataset: PaxrayDataset,
        preprocessing: Preprocessing,
        augmentation: AugmentConfig,
        seed: int,
    ):
        self.dataset, self.preprocessing, self.augmentation, self.seed = (
            dataset,
            preprocessing,
            augmentation,
            seed,
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple[np.ndarray, np.ndarray, str]:
        epoch, position, index = key
        pixels, masks, name, view = read_resized(self.dataset, self.preprocessing, index)
        rng = np.random.default_rng([self.seed, epoch, position])
        pixels, masks = apply(draw(rng, self.augmentation, view), pixels, masks)
        return np.ascontiguousarray(pixels, np.float32), masks.data, name


class TrainingBatches:
    """The batches of a training run on its device.

    A training set that fits stays on the device: on a GPU in half of its free memory, on a CPU in
    `HOST_BYTES` if no workers are asked for. Otherwise `workers` processes read from disk beside
    the training.

    Parameters
    ----------
    dataset : PaxrayDataset
    preprocessing : Preprocessing of the network
    augmentation : AugmentConfig
    batch_size, accumulate, seed : int, see `Plan`
    workers : int
    device : torch.device
    rank, world : number of this process, and how many there are
    resident : whether the training set stays on the device; None decides as above
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
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        resident: bool | None = None,
    ):
        self.dataset, self.device = dataset, device
        self.plan = Plan(len(dataset), seed, batch_size, accumulate, rank, world)
        if resident is None:
            resident = fits(resident_bytes(dataset, preprocessing), workers, device)
        self.resident = resident
        what = (dataset, preprocessing, augmentation, seed)
        if resident:
            self._source = ResidentSet(*what, device, quiet=rank > 0)
        else:
            self._source = _Loaded(TrainingSet(*what), workers, device)

    def __len__(self) -> int:
        return self.plan.steps

    def names(self, epoch: int, step: int) -> list[str]:
        """Return the file stems of one step's images, over all processes."""
        return [
            Path(self.dataset.entries[index].image).stem
            for *_, index in self.plan.step(epoch, step)
        ]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield for each step of an epoch, from `start` on, this process's batches, on the
        device.
        """
        steps = list(self.plan.epoch(epoch, start))
        keys = [keys for batches in steps for keys, _ in batches]
        loaded = map(self._source.take, keys) if self.resident else self._source.take_all(keys)
        for batches in steps:
            yield [Batch(*next(loaded), weight) for _, weight in batches]


def fits(needed: int, workers: int, device: torch.device) -> bool:
    """Return whether a training set of so many bytes stays on the device."""
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return workers == 0 and needed <= HOST_BYTES


class _Loaded:
    """Batches of samples read from disk; the workers live on from epoch to epoch while the list of
    keys changes.
    """

    def __init__(self, samples: TrainingSet, workers: int, device: torch.device):
        self.device, self._keys = device, []
        self._loader = DataLoader(
            _Guarded(samples),
            batch_sampler=self._keys,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def take_all(
        self, keys: list[list[Key]]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[str]]]:
        """Yield images, targets and names of each list of keys, on the device; what a worker could
        not read raises.
        """
        self._keys[:] = keys
        for batch in self._loader:
            if isinstance(batch, Exception):
                raise batch
            images, targets, names = batch
            move = {"device": self.device, "non_blocking": True}
            yield images.to(**move), targets.to(**move), names


class _Guarded(Dataset):
    """Samples by lists of keys. An error is handed on as it is: raised in a worker, it would become
    its traceback.
    """

    def __init__(self, samples: TrainingSet):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, keys: list[Key]) -> list[tuple[np.ndarray, np.ndarray, str]] | Exception:
        try:
            return [self.samples[key] for key in keys]
        except (OSError, ValueError) as error:
            return error


def _collate(
    samples: list[tuple[np.ndarray, np.ndarray, str]] | Exception,
) -> tuple[torch.Tensor, torch.Tensor, list[str]] | Exception:
    if isinstance(samples, Exception):
        return samples
    images, targets, names = zip(*samples, strict=True)
    # not np.stack: in a worker this one writes straight into the memory that it shares
    return default_collate(list(images)), default_collate(list(targets)), list(names)


class Normalize(torch.nn.Module):
    """The network's input (N, 3, h, w) from pixels (N, h, w) in 0..1, on the device of both."""

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        # buffers, so that no step sends them to the device again; not persistent: checkpoints hold
        # the preprocessing
        for name, values in zip(("scale", "offset"), preprocessing.affine(), strict=True):
            # (3, 1, 1)
            self.register_buffer(name, torch.from_numpy(values)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, h, w) as (N, 3, h, w), scaled channel by channel."""
        return images[:, None] * self.scale + self.offset
