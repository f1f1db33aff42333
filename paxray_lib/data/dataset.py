"""The samples of a split: image and masks, read from disk as they are asked for."""

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.mapping import LabelMap
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks


@dataclass(frozen=True)
class Sample:
    """An image with its masks.

    Attributes
    ----------
    image : (H, W) float32 array in 0..1
    masks : PackedMasks of the same height and width, or None without a target
    name, case : str
        File stem, and patient case.
    view : "frontal", "lateral" or None
    spacing_mm : (row, column) spacing, or None
    """

    image: np.ndarray
    masks: PackedMasks | None
    name: str
    case: str
    view: str | None
    spacing_mm: tuple[float, float] | None


class PaxrayDataset(Sequence[Sample]):
    """The samples of one split, "train", "val" or "test"; also a map-style torch dataset.

    `data_root` and `datafile` are as for `read_datafile`.
    ``PaxrayDataset("data/sample", split="test")[0].masks.unpack("heart")`` is a (1, H, W) bool
    array."""

    def __init__(
        self,
        data_root: str | os.PathLike,
        datafile: str | os.PathLike = "paxray.json",
        split: str = "train",
    ):
        self.datafile = read_datafile(data_root, datafile)
        self.split = split
        self.entries = self.datafile.split(split)
        self.labels = self.datafile.labels
        self.label_map: LabelMap | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        name = f"{self.datafile.path}, {self.split!r}"
        return f"PaxrayDataset({name}: {len(self)} images, {len(self.labels)} labels)"

    def mapped(self, label_map: LabelMap) -> "PaxrayDataset":
        """Return the set with masks of a map's structures, to compare with those of a model."""
        other = copy.copy(self)
        other.label_map, other.labels = label_map, label_map.labels
        return other

    def with_labels(self, labels: LabelSet) -> "PaxrayDataset":
        """Return the set with masks of other labels, by name, see `PackedMasks.relabel`."""
        other = copy.copy(self)
        other.labels = labels
        return other

    def image_path(self, index: int) -> Path:
        """Return the image file of a sample."""
        return self.datafile.root / self.entries[index].image

    def masks(self, index: int) -> PackedMasks | None:
        """Read only the masks of a sample, with which labels are known; None without a target."""
        entry = self.entries[index]
        path = self.datafile.target_path(entry)
        if path is None:
            return None
        masks = PackedMasks.read(path, self.datafile.labels)
        masks = masks.knowing(self.datafile.known(entry))
        return (self.label_map.map_target(masks) if self.label_map else masks).relabel(self.labels)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices: it reads
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        entry, path, masks = self.entries[index], self.image_path(index), self.masks(index)
        image = read_image(path)
        if masks is not None and masks.shape[1:] != image.pixels.shape:
            raise ValueError(
                f"{entry.target}: masks of {masks.shape[1:]} do not fit {entry.image} "
                f"of {image.pixels.shape}"
            )
        return Sample(
            image=image.pixels,
            masks=masks,
            name=path.stem,
            case=entry.case,
            view=self.datafile.view(entry, image),
            spacing_mm=image.spacing_mm,
        )


@dataclass(frozen=True)
class EpochSampler:
    """The order of one epoch as (epoch, position, index), a function of (seed, epoch) alone.

    Resuming at `start` gives exactly the rest of the epoch. `parts` are size and weight of each of
    several data sets, one after the other, whose sizes add up to `length`. Of that many draws each
    set has its share by weight, rounded at random to a number above or below, so that it is exact
    on average; its images are drawn equally often, give or take one. They come in blocks of `block`
    images of one set, what is left over at the end: BatchNorm then takes each set by its own
    statistics, and what one set alone teaches passes on to the others (Chang et al.,
    Domain-Specific Batch Normalization, CVPR 2019).
    """

    length: int
    seed: int
    epoch: int
    start: int = 0
    parts: tuple[tuple[int, float], ...] = ()
    block: int = 1

    def __len__(self) -> int:
        return self.length - self.start

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        order = self._order(np.random.default_rng([self.seed, self.epoch])).tolist()
        for position in range(self.start, self.length):
            yield self.epoch, position, order[position]

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        if len(self.parts) < 2:
            return rng.permutation(self.length)
        sizes, weights = zip(*self.parts, strict=True)
        shares = np.cumsum(weights[:-1]) / np.sum(weights)
        cuts = np.floor(shares * self.length + rng.random()).astype(int)
        draws = np.diff(np.clip(cuts, 0, self.length), prepend=0, append=self.length)
        blocks, rest, first = [], [], 0
        for size, count in zip(sizes, draws, strict=True):
            whole = np.tile(np.arange(size), count // size)
            drawn = rng.permutation(np.append(whole, rng.permutation(size)[: count % size]))
            cut = count - count % self.block
            blocks.append(first + drawn[:cut].reshape(-1, self.block))
            rest.append(first + drawn[cut:])
            first += size
        batches, last = rng.permutation(np.concatenate(blocks)), np.concatenate(rest)
        return np.append(batches, rng.permutation(last))


def check_targets(dataset: PaxrayDataset) -> None:
    """Raise ValueError if a split has no image, or one without a target, to train or compare."""
    missing = [entry.image for entry in dataset.entries if entry.target is None]
    if missing or not len(dataset):
        lack = f"{len(missing)} images without a target, such as {missing[0]}" if missing else ""
        raise ValueError(
            f"{dataset.datafile.path}: split {dataset.split!r} has "
            f"{lack or 'no images'}; masks are needed for each"
        )
