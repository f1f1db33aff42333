"""Parallel projection of a CT-like volume to frontal and lateral images and packed masks.

Every array here is in one orientation, (z, y, x) = (head to feet, front to back, patient's right
to left); in the words of nibabel, axis codes ("I", "P", "L"). The frontal view sums along y and
the lateral view along x. Without any flip, the patient's right is then on the left of the frontal
image, and the spine on the right of the lateral one.

A mirrored volume gives exactly the mirrored frontal image: rays are summed in integers and
resampled with integer weights that are symmetric about the middle, so that no rounding depends on
the direction. Masks are resampled with the same weights and kept where a label covers at least
half of a pixel. A whole is the union of its projected parts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks import PackedMasks, close_tree

# voxel size (z, y, x) in mm
Spacing = tuple[float, float, float]
# a part of a volume
Box = tuple[slice, slice, slice]
# (Z, Y, X) integers, and the label names of each value; other values are background
LabelVolume = tuple[np.ndarray, Mapping[int, tuple[str, ...]]]
RAY_AXIS = {"frontal": 1, "lateral": 2}
_UNITS = 2048  # integer weights: sums of two passes stay below 2**24, exact in float32


@dataclass(frozen=True)
class Geometry:
    """How a volume lies in front of the square images that it is projected to.

    The middle of the volume is in the middle of the image, and what is around it is air.

    Attributes
    ----------
    shape : (z, y, x) of the volume in voxels
    spacing : (z, y, x) voxel size in mm
    size : height and width of the images in pixels
    pixel_mm : edge of a pixel in mm
    """

    shape: tuple[int, ...]
    spacing: Spacing
    size: int
    pixel_mm: float

    @classmethod
    def fit(cls, shape: tuple[int, ...], spacing: Spacing, size: int) -> "Geometry":
        """Return the geometry in which the whole volume just fits the image, in every view.

        Raises
        ------
        ValueError
            If the volume is empty or not three-dimensional, or spacing or size are not positive.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a volume must be (z, y, x) and not empty, got shape {tuple(shape)}")
        if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
            raise ValueError(f"spacing must be three positive lengths (z, y, x), got {spacing}")
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        pixel_mm = max(n * s for n, s in zip(shape, spacing, strict=True)) / size
        return cls(tuple(shape), spacing, size, pixel_mm)

    def weights(self, view: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (size, Z) and (size, Y or X) float64 of whole numbers.

        They are the share of each row and each column of voxels in those of the image, in units
        of 1/2048.
        """
        return self._axis_weights(0), self._axis_weights(3 - RAY_AXIS[view])

    def _axis_weights(self, axis: int) -> np.ndarray:
        # A pixel averages a box as wide as itself or as one voxel, whichever is wider: an area
        # average where voxels are finer than pixels, linear interpolation where they are coarser.
        count, spacing = self.shape[axis], self.spacing[axis]
        width = max(spacing, self.pixel_mm)
        centre = (np.arange(self.size) - (self.size - 1) / 2) * self.pixel_mm  # (size,)
        edge = (np.arange(count + 1) - count / 2) * spacing  # (count + 1,)
        inside = np.clip(edge[None, :], centre[:, None] - width / 2, centre[:, None] + width / 2)
        share = np.diff(inside, axis=1) / width
        return np.rint((share + share[::-1, ::-1]) * (_UNITS / 2))  # symmetric to the last bit


def ray_sums(hu: np.ndarray, geometry: Geometry, view: str, table: np.ndarray) -> np.ndarray:
    """Return the (size, size) float64 sums of a function of the CT numbers along the rays.

    `hu` is (Z, Y, X) int16; `table` (65536,) uint16 has the function's value for the bit pattern of
    each CT number.

    Raises
    ------
    ValueError
        If the volume is of another type or not three-dimensional.
    """
    if hu.ndim != 3 or hu.dtype != np.int16:
        raise ValueError(
            f"Hounsfield units must be a (z, y, x) int16 array, got {hu.shape} {hu.dtype}"
        )
    # slice by slice: the cache holds a slice, memory holds no second volume
    planes = (table[plane.view(np.uint16)] for plane in np.ascontiguousarray(hu))
    rays = np.stack([plane.sum(RAY_AXIS[view] - 1, dtype=np.uint32) for plane in planes])
    rows, columns = geometry.weights(view)
    # integers below 2**53: exact in any order
    return rows @ rays.astype(np.float64) @ columns.T / _UNITS**2


@dataclass(frozen=True)
class Shadow:
    """What one structure covers: its labels, its box, and the box seen along the rays of a view."""

    names: tuple[str, ...]
    box: Box
    cover: dict[str, np.ndarray]


def cast_shadows(volumes: Iterable[LabelVolume]) -> list[Shadow]:
    """Return the shadow of every structure in the label volumes, at voxel resolution."""
    shadows = []
    for volume, names in volumes:
        boxes = dict(enumerate(ndimage.find_objects(volume), 1))
        for value, labels in names.items():
            if box := boxes.get(value):
                inside = volume[box] == value
                cover = {view: inside.any(axis=axis) for view, axis in RAY_AXIS.items()}
                shadows.append(Shadow(labels, box, cover))
    return shadows


def project_masks(
    shadows: Iterable[Shadow], geometry: Geometry, view: str, labels: LabelSet = LABELS
) -> PackedMasks:
    """Return the masks of one view; a whole is the union of its parts."""
    stack = np.zeros((len(labels), geometry.size, geometry.size), bool)
    rows, columns = (w.astype(np.float32) for w in geometry.weights(view))
    for shadow in shadows:
        down, right = rows[:, shadow.box[0]], columns[:, shadow.box[3 - RAY_AXIS[view]]]
        window = _pixels_reached(down), _pixels_reached(right)
        share = down[window[0]] @ shadow.cover[view].astype(np.float32) @ right[window[1]].T
        for i in (i for name in shadow.names for i in labels.index(name)):
            stack[i][window] |= share * 2 >= _UNITS**2  # at least half of a pixel
    return close_tree(PackedMasks.pack(stack, labels))


def _pixels_reached(weights: np.ndarray) -> slice:
    """Return which of the pixels get a share of any voxel."""
    pixels = np.flatnonzero(weights.any(axis=1))
    return slice(pixels[0], pixels[-1] + 1) if len(pixels) else slice(0)
