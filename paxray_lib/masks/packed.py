"""PackedMasks: a stack of overlapping binary masks, one bit per label and pixel.

Bit `i % 8` (little order) of byte `i // 8` of a pixel is label `i`. A stack of 166 labels takes an
eighth of the bool array, 21 bytes a pixel. Resize, crop and flip move whole pixels."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paxray_lib.labels.matching import match
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import bits
from paxray_lib.masks.files import read_masks, write_masks

_BLOCK = 1 << 22  # pixels


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """A (L, H, W) stack of binary masks, packed along the labels.

    Parameters
    ----------
    data : (H, W, ceil(L / 8)) uint8 array
        Label bits of each pixel, little bit order; the unused bits of the last byte are zero.
    labels : LabelSet
        The L label names.
    known : (L,) bool array, optional
        Which labels are annotated; by default all. One that is not is neither present nor absent:
        its bits are zero, and whatever compares masks leaves it out.

    Raises
    ------
    ValueError
        If shape, dtype or unused bits do not fit the labels.

    Examples
    --------
    >>> masks = PackedMasks.pack(np.eye(3, dtype=bool)[None], LabelSet(["heart"]))
    >>> masks.shape, masks.counts().tolist()
    ((1, 3, 3), [3])
    """

    data: np.ndarray
    labels: LabelSet
    known: np.ndarray = None  # type: ignore[assignment]  # made below

    def __post_init__(self) -> None:
        data, count = self.data, len(self.labels)
        if self.known is None:
            vars(self)["known"] = np.ones(count, bool)
        width = bits.byte_count(count)
        is_packed = data.ndim == 3 and data.dtype == np.uint8 and data.shape[2] == width
        if not is_packed or data.size == 0:
            raise ValueError(
                f"packed data of {count} labels must be (H, W, {width}) uint8, got {data.shape} "
                f"{data.dtype}; to pack a (L, H, W) stack use PackedMasks.pack"
            )
        if bits.stray_bits(data, count):
            raise ValueError(
                f"packed data of {count} labels: bits beyond label {count - 1} are set; "
                "other labels?"
            )

    # -- to and from dense stacks

    @classmethod
    def pack(cls, stack: np.ndarray, labels: LabelSet) -> "PackedMasks":
        """Pack a (L, H, W) array of bool, or numbers that are all 0 or 1, or raise ValueError."""
        return cls(bits.pack_bits(np.asarray(stack), labels.names), labels)

    def unpack(self, names: str | Iterable[str] | None = None) -> np.ndarray:
        """Return a (L, H, W) bool array of all labels, or of those that `LabelSet.select` gives."""
        indices = range(len(self.labels)) if names is None else self.labels.select(names)
        return bits.unpack_bits(self.data, indices)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, H, W)."""
        return len(self.labels), *self.data.shape[:2]

    def __eq__(self, other: object) -> bool:  # without a hash, then: masks are not hashable
        return (
            isinstance(other, PackedMasks)
            and self.labels == other.labels
            and np.array_equal(self.known, other.known)
            and np.array_equal(self.data, other.data)
        )

    def __repr__(self) -> str:
        unknown = f", {n} labels not known" if (n := np.count_nonzero(~self.known)) else ""
        return f"PackedMasks(shape={self.shape}, {self.data.nbytes / 1e6:.1f} MB{unknown})"

    # -- reading

    def counts(self) -> np.ndarray:
        """Return the area of each label in pixels, (L,) int64."""
        rows = max(1, _BLOCK // self.data.shape[1])  # counting takes four times the memory
        blocks = (self.data[None, top : top + rows] for top in range(0, len(self.data), rows))
        return np.sum([bits.count_bits(block) for block in blocks], 0)[0, : len(self.labels)]

    def union(self, *names: str) -> np.ndarray:
        """Return the (H, W) bool union of all labels, or of those that `names` select."""
        indices = self.labels.select(*names) if names else range(len(self.labels))
        return (self.data & bits.byte_mask(indices, self.data.shape[2])).any(axis=2)

    def at(self, row: int, column: int) -> list[int]:
        """Return the indices of the labels at one pixel."""
        return np.flatnonzero(np.unpackbits(self.data[row, column], bitorder="little")).tolist()

    def select(self, indices: Iterable[int]) -> "PackedMasks":
        """Return the masks of some labels, in the order of `indices`: at least one of 0..L-1."""
        indices = [int(i) for i in indices]
        wrong = [i for i in indices if not 0 <= i < len(self.labels)]
        if wrong or not indices:
            raise ValueError(
                f"label indices must be in 0..{len(self.labels) - 1}, got {wrong or 'none at all'}"
            )
        names = LabelSet(self.labels.names[i] for i in indices)
        chosen = bits.pack_bits(bits.unpack_bits(self.data, indices), names.names)
        return PackedMasks(chosen, names, self.known[indices])

    def relabel(self, labels: LabelSet) -> "PackedMasks":
        """Return the masks of other labels, by name; equal names pair in order of occurrence.

        One that these masks lack is not known; what is not among `labels` is left out.
        """
        if labels == self.labels:
            return self
        sources = match(labels, self.labels)
        known = (sources >= 0) & self.known[sources]
        return PackedMasks(bits.move_bits(self.data, sources.tolist()), labels, known)

    def knowing(self, known: np.ndarray) -> "PackedMasks":
        """Return the masks with `known`, (L,) bool; labels that are not lose their bits."""
        if np.array_equal(known, self.known):
            return self
        mask = bits.byte_mask(np.flatnonzero(known), self.data.shape[2])
        return PackedMasks(self.data & mask, self.labels, known)

    # -- moving pixels

    def resize(self, height: int, width: int) -> "PackedMasks":
        """Resize to the nearest neighbour: source index = index * in // out, in integers."""
        if height < 1 or width < 1:
            raise ValueError(f"cannot resize masks to {height} x {width}")
        return self.gather(*map(bits.nearest_indices, self.data.shape[:2], (height, width)))

    def gather(self, rows: np.ndarray, columns: np.ndarray) -> "PackedMasks":
        """Return the pixels of source rows (h,) and columns (w,): any resize, crop and flip."""
        positions = np.add.outer(np.asarray(rows) * self.data.shape[1], columns)
        pixels = bits.as_items(self.data).ravel().take(positions)  # flat: three times as fast
        moved = pixels.view(np.uint8).reshape(*positions.shape, -1)
        return PackedMasks(moved, self.labels, self.known)

    def crop(self, top: int, left: int, height: int, width: int) -> "PackedMasks":
        """Cut out a rectangle that lies inside; raises ValueError otherwise."""
        rows, columns = self.data.shape[:2]
        if not (0 <= top < top + height <= rows and 0 <= left < left + width <= columns):
            raise ValueError(
                f"crop of {height} x {width} at ({top}, {left}) leaves masks of {rows} x {columns}"
            )
        part = self.data[top : top + height, left : left + width]
        return PackedMasks(np.ascontiguousarray(part), self.labels, self.known)

    def flip(self, view: str) -> "PackedMasks":
        """Mirror left and right; in a "frontal" view, not a "lateral" one, swap the labels too.

        Raises
        ------
        ValueError
            If the view is neither, or a label to swap has no counterpart in the set.
        """
        if view not in ("frontal", "lateral"):
            raise ValueError(
                f"view {view!r} cannot be flipped: which labels to swap is known for "
                "'frontal' and 'lateral'"
            )
        flipped = np.ascontiguousarray(self.data[:, ::-1])
        if view == "lateral":
            return PackedMasks(flipped, self.labels, self.known)
        swapped = bits.swap_sides(flipped, self.labels)
        return PackedMasks(swapped, self.labels, self.known[self.labels.mirror])

    # -- files

    @classmethod
    def read(cls, path: str | os.PathLike, labels: LabelSet | None = None) -> "PackedMasks":
        """Read `.npy` (a (L, H, W) stack), `.pxm` (packed) or `.json` (COCO RLE), by the suffix.

        Or `.dcm`: a DICOM Segmentation that `masks.dicom_seg` wrote.

        `labels` are the expected ones. A `.npy` stack has no names: without `labels` it must have
        the 166 of `LABELS`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, cut short, or does not fit `labels`; the message names the file.
        """
        return cls(*read_masks(Path(path), labels))

    def write(self, path: str | os.PathLike, size: tuple[int, int] | None = None) -> None:
        """Write `.npy` (bool, as published), `.pxm` or `.json` (COCO RLE), by the suffix.

        With `size`, (height, width), they are resized (see `resize`), a part at a time: masks of a
        large image never lie in memory whole. The file appears when it is complete."""
        write_masks(Path(path), self.data, self.labels, size or self.shape[1:])
