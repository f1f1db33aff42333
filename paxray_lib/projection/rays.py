"""Parallel projection of a CT-like volume to frontal and lateral X-ray-like images and packed
masks.

Every array here is in one orientation, (z, y, x) = (head to feet, front to back, patient's right to
left); in the words of nibabel, axis codes ("I", "P", "L"). The frontal view sums along y and the
lateral view along x, so that without any flip the patient's right is on the left of the frontal
image and the spine on the right of the lateral one.

A mirrored volume gives exactly the mirrored frontal image: rays are summed in integers and
resampled with integer weights that are symmetric about the middle, so that no rounding depends on
the direction. Masks are resampled with the same weights and kept where a label covers at least half
of a pixel; a whole is the union of its projected parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

VIEWS = ("frontal", "lateral")
# linear attenuation of water at about 65 keV, the mean energy behind a 120 kV tube
WATER_PER_MM = 0.0195
_RAY_AXIS = {"frontal": 1, "lateral": 2}
_UNITS = 2048  # integer weights: sums of two passes stay below 2**24, exact in float32

LabelVolume = tuple[np.ndarray, Mapping[int, str | tuple[str, ...]]]
"""A (z, y, x) integer array, and the label name (or several) of each of its values; other values
are background.
"""


def fit_pixel(shape: tuple[int, ...], spacing: tuple[float, float, float], size: int) -> float:
    """Return the pixel size in mm at which the whole volume fits a square of `size` pixels, in
    every view.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a volume must be (z, y, x) and not empty, got shape {tuple(shape)}")
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing must be three positive numbers (z, y, x) in mm, got {spacing}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    return max(n * s for n, s in zip(shape, spacing, strict=True)) / size


def _ray_sums(
    hu: np.ndarray, spacing, view: str, size: int, pixel_mm: float, table: np.ndarray
) -> np.ndarray:
    """Return the (size, size) sums along rays of `table`, (65536,) uint16, at the bit patterns of
    the CT numbers.
    """
    if hu.ndim != 3 or hu.dtype != np.int16:
        raise ValueError(
            f"Hounsfield units must be a (z, y, x) int16 array, got {hu.shape} {hu.dtype}"
        )
    axis = _RAY_AXIS[view] - 1
    # slice by slice: the cache holds a slice, memory holds no second volume
    rays = np.stack(
        [table[s.view(np.uint16)].sum(axis, dtype=np.uint32) for s in np.ascontiguousarray(hu)]
    )
    rows, columns = _view_weights(hu.shape, spacing, view, size, pixel_mm)
    # integers below 2**53: exact in any order
    return rows @ rays.astype(np.float64) @ columns.T / _UNITS**2


@dataclass(frozen=True)
class Shadow:
    """What one structure covers: label names, box in the volume, and a bool array along the rays of
    each view.
    """

    names: tuple[str, ...]
    box: tuple[slice, slice, slice]
    cover: dict[str, np.ndarray]


def cast_shadows(volumes: Iterable[LabelVolume]) -> list[Shadow]:
    """Return the shadow of every structure that occurs in the label volumes, in both views, at
    voxel resolution.
    """
    found = []
    for volume, names in volumes:
        boxes = ndimage.find_objects(volume)
        for value, name in names.items():
            box = boxes[value - 1] if 0 < value <= len(boxes) else None
            if box is not None:
                here = volume[box] == value
                cover = {view: here.any(axis=axis) for view, axis in _RAY_AXIS.items()}
                found.append(Shadow((name,) if isinstance(name, str) else tuple(name), box, cover))
    return found


def project_masks(
    shadows: Iterable[Shadow],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    view: str,
    size: int,
    pixel_mm: float,
    labels: LabelSet = LABELS,
) -> PackedMasks:
    """Return the masks of one view from the shadows cast in volumes of `shape`; a whole is the
    union of its parts.
    """
    stack = np.zeros((len(labels), size, size), bool)
    rows, columns = (
        w.astype(np.float32) for w in _view_weights(shape, spacing, view, size, pixel_mm)
    )
    for shadow in shadows:
        down, right = shadow.box[0], shadow.box[3 - _RAY_AXIS[view]]
        top, left, mask = _cover(shadow.cover[view], rows[:, down], columns[:, right])
        for i in (i for name in shadow.names for i in labels.index(name)):
            stack[i, top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    _fill_parents(stack, labels)
    return PackedMasks.pack(stack, labels)


def _view_weights(
    shape, spacing, view: str, size: int, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    across = 3 - _RAY_AXIS[view]
    return tuple(_weights(shape[a], spacing[a], size, pixel_mm) for a in (0, across))


def _weights(count: int, spacing: float, size: int, pixel_mm: float) -> np.ndarray:
    """(size, count) float64 of whole numbers: share of each voxel in each pixel, in units of 1 /
    2048.

    Both grids share their middle. A pixel averages a box as wide as itself or as one voxel,
    whichever is wider: an area average where voxels are finer than pixels, linear interpolation
    where they are coarser."""
    width = max(spacing, pixel_mm)
    centre = (np.arange(size) - (size - 1) / 2) * pixel_mm  # (size,)
    edge = (np.arange(count + 1) - count / 2) * spacing  # (count + 1,)
    inside = np.clip(edge[None, :], centre[:, None] - width / 2, centre[:, None] + width / 2)
    share = np.diff(inside, axis=1) / width
    return np.rint((share + share[::-1, ::-1]) * (_UNITS / 2))  # symmetric to the last bit


def _cover(
    shadow: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[int, int, np.ndarray]:
    """Return top, left and the pixels that `shadow` covers by at least half."""
    down, right = np.flatnonzero(rows.any(axis=1)), np.flatnonzero(columns.any(axis=1))
    if not len(down) or not len(right):
        return 0, 0, np.zeros((0, 0), bool)
    share = (
        rows[down[0] : down[-1] + 1]
        @ shadow.astype(np.float32)
        @ columns[right[0] : right[-1] + 1].T
    )
    return int(down[0]), int(right[0]), share * 2 >= _UNITS**2


def _fill_parents(stack: np.ndarray, labels: LabelSet) -> None:
    done: set[int] = set()

    def fill(i: int) -> None:
        for child in labels.children[i]:
            if child not in done:
                fill(child)
            stack[i] |= stack[child]
        done.add(i)

    for i in range(len(labels)):
        fill(i)
