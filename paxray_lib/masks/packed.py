"""PackedMasks: a stack of overlapping binary masks, one bit for each label and pixel.

Bit `i % 8` (little order) of byte `i // 8` of a pixel is label `i`. For 166 labels a pixel is 21
bytes, so a stack of 512 x 512 takes 5.5 MB in memory, an eighth of the bool array; resize, crop and
flip move whole pixels."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import (
    as_items,
    byte_count,
    byte_mask,
    count_bits,
    nearest_indices,
    pack_bits,
    stray_bits,
    swap_sides,
    unpack_bits,
)
from paxray_lib.masks.files import read_masks, write_masks


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """A (L, H, W) stack of binary masks, packed along the labels.

    Parameters
    ----------
    data : (H, W, ceil(L / 8)) uint8 array
        Label bits of each pixel, little bit order; the unused bits of the last byte are zero.
    labels : LabelSet
        The L label names.

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

    def __post_init__(self):
        data, count = self.data, len(self.labels)
        if (
            data.ndim != 3
            or data.dtype != np.uint8
            or data.shape[2] != byte_count(count)
            or data.size == 0
        ):
            raise ValueError(
                f"packed data of {count} labels must be (H, W, {byte_count(count)}) uint8, "
                f"got {data.shape} {data.dtype}; to pack a (L, H, W) stack use PackedMasks.pack"
            )
        if stray_bits(data, count):
            raise ValueError(
                f"packed data of {count} labels has bits beyond label {count - 1} set; other labels?"
            )

    @classmethod
    def _sound(cls, data: np.ndarray, labels: LabelSet) -> "PackedMasks":
        """Wrap bits that fit the labels, as moved or checked ones do: a look at each costs as much
        as moving them.
        """
        masks = object.__new__(cls)
        masks.__dict__.update(data=data, labels=labels)
        return masks

    # -- to and from plain arrays

    @classmethod
    def pack(cls, stack: np.ndarray, labels: LabelSet) -> "PackedMasks":
        """Pack a (L, H, W) array of bool, or of numbers that are all 0 or 1.

        Raises
        ------
        ValueError
            If the array has another number of labels or dimensions, or holds other values than 0
            and 1.
        """
        return cls(pack_bits(np.asarray(stack), labels.names), labels)

    def unpack(self, names: str | Iterable[str] | None = None) -> np.ndarray:
        """Return a (L, H, W) bool array of all labels, or of those that `names` selects (see
        `LabelSet.select`).
        """
        return unpack_bits(
            self.data, range(len(self.labels)) if names is None else self.labels.select(names)
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, H, W)."""
        return len(self.labels), *self.data.shape[:2]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.data.nbytes

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, PackedMasks)
            and self.labels == other.labels
            and np.array_equal(self.data, other.data)
        )

    __hash__ = None

    def __repr__(self) -> str:
        return f"PackedMasks(shape={self.shape}, {self.nbytes / 1e6:.1f} MB)"

    # -- reading

    def counts(self) -> np.ndarray:
        """Return the area of each label in pixels, (L,) int64."""
        return count_bits(self.data[None])[0, : len(self.labels)]

    def union(self, *names: str) -> np.ndarray:
        """Return the (H, W) bool union of the labels that `names` select (of all labels without
        names).
        """
        indices = self.labels.select(*names) if names else range(len(self.labels))
        return (self.data & byte_mask(indices, self.data.shape[2])).any(axis=2)

    def at(self, row: int, column: int) -> list[int]:
        """Return the indices of the labels at one pixel."""
        return np.flatnonzero(np.unpackbits(self.data[row, column], bitorder="little")).tolist()

    def select(self, indices: Iterable[int]) -> "PackedMasks":
        """Return the masks of some labels, in the given order.

        Raises
        ------
        ValueError
            If there is no index, or one is not in 0..L-1.
        """
        indices = [int(i) for i in indices]
        wrong = [i for i in indices if not 0 <= i < len(self.labels)]
        if wrong or not indices:
            raise ValueError(
                f"label indices must be in 0..{len(self.labels) - 1}, got {wrong or 'none at all'}"
            )
        return PackedMasks.pack(
            unpack_bits(self.data, indices), LabelSet(self.labels.names[i] for i in indices)
        )

    # -- moving pixels

    def resize(self, height: int, width: int) -> "PackedMasks":
        """Resize to (height, width), nearest neighbour: source index = destination * in // out, in
        integers.
        """
        if height < 1 or width < 1:
            raise ValueError(f"cannot resize masks to {height} x {width}")
        rows = nearest_indices(self.data.shape[0], height)
        columns = nearest_indices(self.data.shape[1], width)
        return self.gather(rows, columns)

    def gather(self, rows: np.ndarray, columns: np.ndarray) -> "PackedMasks":
        """Return the pixels of the given source rows and columns: any resize, crop and flip in one
        step.
        """
        # take from a flat list: thrice as fast
        places = np.add.outer(np.asarray(rows) * self.data.shape[1], columns)
        pixels = as_items(self.data).ravel().take(places)
        return self._sound(pixels.view(np.uint8).reshape(len(rows), len(columns), -1), self.labels)

    def crop(self, top: int, left: int, height: int, width: int) -> "PackedMasks":
        """Cut out a rectangle that lies inside; raises ValueError otherwise."""
        rows, columns = self.data.shape[:2]
        if (
            min(top, left) < 0
            or min(height, width) < 1
            or top + height > rows
            or left + width > columns
        ):
            raise ValueError(
                f"crop of {height} x {width} at ({top}, {left}) leaves masks of {rows} x {columns}"
            )
        return PackedMasks(
            np.ascontiguousarray(self.data[top : top + height, left : left + width]), self.labels
        )

    def flip(self, view: str) -> "PackedMasks":
        """Mirror left and right.

        A frontal image ("frontal") also swaps the left and right labels of the patient; a lateral
        one ("lateral") swaps nothing.

        Raises
        ------
        ValueError
            If the view is neither, or a frontal flip needs a label whose counterpart is not in the
            set.
        """
        if view not in ("frontal", "lateral"):
            raise ValueError(
                f"view {view!r} cannot be flipped: which labels to swap is known for 'frontal' and 'lateral'"
            )
        flipped = np.ascontiguousarray(self.data[:, ::-1])
        return PackedMasks(
            swap_sides(flipped, self.labels) if view == "frontal" else flipped, self.labels
        )

    # -- files

    @classmethod
    def read(cls, path: str | os.PathLike, labels: LabelSet | None = None) -> "PackedMasks":
        """Read `.npy` (a (L, H, W) stack), `.pxm` (packed) or `.json` (COCO RLE), chosen by the
        suffix.

        Parameters
        ----------
        path : path
        labels : LabelSet, optional
            The expected labels. A `.npy` stack does not carry names: without `labels` it must have
            the 166 of `LABELS`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, cut short, or does not fit `labels`; the message names the file.
        """
        return cls._sound(*read_masks(Path(path), labels))

    def write(self, path: str | os.PathLike, size: tuple[int, int] | None = None) -> None:
        """Write as `.npy` (bool, as published), `.pxm` or `.json` (COCO RLE), by the suffix,
        atomically.

        Parameters
        ----------
        path : path
        size : (height, width), optional
            Write the masks resized (see `resize`), a part at a time: masks of a large image never
            lie in memory whole.
        """
        write_masks(
            Path(path), self.data, self.labels, self.data.shape[:2] if size is None else size
        )
