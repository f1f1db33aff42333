"""The structures of a CT segmentation: the table `totalseg.csv`, and where a volume has them.

The table lists the structures of TotalSegmentator v2, task `total` (Wasserthal et al. 2023,
arXiv 2208.05868), with their values, and a few of its other tasks and of other segmentations
without a value. Each row says which label of ours the structure is or is a part of, and a kind
that the rules in `derive` go by. A structure's code, its row counted from 1, is its value in the
volumes that `scan` makes.
"""

import csv
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.projection.rays import Box, Spacing


class Structure(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    code : position in the table, from 1
    value : in a label volume of TotalSegmentator v2, task `total`; None if it is not in these
    name : as TotalSegmentator's files are called
    label : ours, or "" for a structure that is none and that only the rules use
    kind : "lung", "bone", "cartilage", "abdomen", "pericardium" (in it or crossing it), "back" (at
        the spine) or "soft"
    """

    code: int
    value: int | None
    name: str
    label: str
    kind: str


with Path(__file__).with_name("totalseg.csv").open(newline="", encoding="utf-8") as _file:
    STRUCTURES = tuple(
        Structure(code, int(value) if value else None, name, label, kind)
        for code, (value, name, label, kind) in enumerate(list(csv.reader(_file))[1:], 1)
    )
CODES = {structure.name: structure.code for structure in STRUCTURES}
# names of the values of TotalSegmentator v2, task `total`
BUILT_IN = {s.value: s.name for s in STRUCTURES if s.value is not None}


def codes_of(*kinds: str) -> list[int]:
    """Return the codes of all structures of some kinds."""
    return [structure.code for structure in STRUCTURES if structure.kind in kinds]


def codes_named(pattern: str) -> list[int]:
    """Return the codes of the structures whose names match a pattern such as "lung_*_left"."""
    return [code for name, code in CODES.items() if fnmatchcase(name, pattern)]


class Segmented(NamedTuple):
    """A volume of structures with what the rules need to know about it.

    Attributes
    ----------
    codes : (Z, Y, X) uint8 array
        Codes of structures, and those of their parts once a rule has divided them.
    spacing : (z, y, x) voxel size in mm
    boxes : dict of code to box, of the structures that occur
    midline : mean x of the vertebrae in voxels, None if there is no vertebra
    """

    codes: np.ndarray
    spacing: Spacing
    boxes: dict[int, Box]
    midline: float | None

    @classmethod
    def of(cls, structures: np.ndarray, spacing: Spacing) -> "Segmented":
        """Describe a volume of structures, which is copied."""
        boxes = enumerate(ndimage.find_objects(structures, max_label=len(STRUCTURES)), 1)
        spine = is_in(structures, codes_named("vertebrae_*"))
        midline = mean_index(spine, 2) if spine.any() else None
        return cls(structures.copy(), spacing, {c: box for c, box in boxes if box}, midline)

    def is_cut(self, code: int) -> bool:
        """Tell whether a structure reaches the first or the last slice."""
        slices = self.boxes[code][0]
        return slices.start == 0 or slices.stop == len(self.codes)


def is_in(volume: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Return where a uint8 volume holds one of the codes, as a bool array."""
    table = np.zeros(256, np.uint8)
    table[list(codes)] = 1
    flat = np.ascontiguousarray(volume).reshape(len(volume), -1)
    # ten times as fast as table[volume]
    return cv2.LUT(flat, table).view(bool).reshape(volume.shape)


def count_values(volume: np.ndarray, values: int = 256) -> np.ndarray:
    """Return how often each value below `values` occurs, (values,) int64."""
    # slice by slice: bincount makes an int64 of each voxel
    return sum(
        (np.bincount(plane.ravel(), minlength=values) for plane in volume),
        np.zeros(values, np.int64),
    )


def mean_index(mask: np.ndarray, axis: int) -> float:
    """Return the mean index of the True elements along an axis.

    The sums are of integers, so that a mirrored mask has exactly the mirrored mean.
    """
    along = mask.sum(axis=tuple(other for other in range(mask.ndim) if other != axis))
    return float((along * np.arange(len(along))).sum() / along.sum())
