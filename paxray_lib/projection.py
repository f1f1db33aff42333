"""Parallel projection of a CT-like volume to frontal and lateral X-ray-like images and packed masks.

Every array here is in one orientation, (z, y, x) = (head to feet, front to back, patient's right to left); in the words
of nibabel, axis codes ("I", "P", "L"). The frontal view sums along y and the lateral view along x, so that without any
flip the patient's right is on the left of the frontal image and the spine on the right of the lateral one.

A mirrored volume gives exactly the mirrored frontal image: rays are summed in integers and resampled with integer
weights that are symmetric about the middle, so that no rounding depends on the direction. Masks are resampled with the
same weights and kept where a label covers at least half of a pixel; a whole is the union of its projected parts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paxray_lib.labels import LABELS, LabelSet
from paxray_lib.masks import PackedMasks

VIEWS = ("frontal", "lateral")
WATER_PER_MM = 0.0195  # linear attenuation of water at about 65 keV, the mean energy behind a 120 kV tube
_RAY_AXIS = {"frontal": 1, "lateral": 2}
_UNITS = 2048  # integer weights: sums of two passes stay below 2**24, exact in float32
_SKIN = 0.3  # line integral of some 15 mm of water: below it an image fades to black
_BONE_START = 150  # HU above which matter counts as bone

LabelVolume = tuple[np.ndarray, Mapping[int, str | tuple[str, ...]]]
"""A (z, y, x) integer array, and the label name (or several) of each of its values; other values are background."""


@dataclass(frozen=True)
class Exposure:
    """How line integrals become a picture.

    Attributes
    ----------
    bone : float
        Attenuation of bone relative to its CT number; above 1 for a softer beam.
    scatter : float
        Scattered light as a share of the primary light, spread over a tenth of the image; it flattens dense regions.
    low, high : float
        Percentiles of the line integral inside the body that become black and white.
    gamma : float
        Exponent after windowing; above 1 darkens the lungs.
    local : float
        Share of local contrast: 0 none, 1 removes slow brightness changes altogether.
    equalize : float
        Share of histogram equalisation inside the body: 0 none, 1 full.
    detail : float
        How much edges and fine structures are amplified, as the processing in X-ray machines does; 0 is none.
    """

    bone: float = 1.3
    scatter: float = 0.15
    low: float = 1.0
    high: float = 99.5
    gamma: float = 1.0
    local: float = 0.3
    equalize: float = 0.5
    detail: float = 0.6


def project(
    hu: np.ndarray,
    spacing: tuple[float, float, float],
    volumes: Iterable[LabelVolume],
    size: int = 512,
    labels: LabelSet = LABELS,
    exposure: Exposure | None = None,
) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Project a volume and its label volumes along y (frontal) and x (lateral).

    Parameters
    ----------
    hu : (Z, Y, X) int16 array
        Hounsfield units, oriented head to feet, front to back, right to left.
    spacing : (z, y, x) voxel size in mm
    volumes : iterable of (volume, names)
        Integer label volumes of the same shape, each with the label name of its values. Structures that overlap go into
        different volumes. Only parts are needed: a whole becomes the union of its parts.
    size : int
        Height and width of the square images; the volume is padded with air, pixels are isotropic.
    labels : LabelSet
        The labels of the masks.
    exposure : Exposure, optional

    Returns
    -------
    dict of view to (image, masks)
        image : (size, size) float32 in 0..1, masks : PackedMasks of the same size.

    Raises
    ------
    ValueError
        If shapes, spacing, dtype or size do not fit.
    """
    exposure, pixel_mm = exposure or Exposure(), fit_pixel(hu.shape, spacing, size)
    volumes = list(volumes)
    wrong = [volume.shape for volume, _ in volumes if volume.shape != hu.shape]
    if wrong:
        raise ValueError(f"a label volume of {wrong[0]} does not fit the Hounsfield units of {hu.shape}")
    shadows = cast_shadows(volumes)
    views = {}
    for view in VIEWS:
        depth = line_integrals(hu, spacing, view, size, pixel_mm, exposure.bone)
        masks = project_masks(shadows, hu.shape, spacing, view, size, pixel_mm, labels)
        views[view] = radiograph(depth, exposure), masks
    return views


def fit_pixel(shape: tuple[int, ...], spacing: tuple[float, float, float], size: int) -> float:
    """Return the pixel size in mm at which the whole volume fits a square of `size` pixels, in every view."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a volume must be (z, y, x) and not empty, got shape {tuple(shape)}")
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing must be three positive numbers (z, y, x) in mm, got {spacing}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    return max(n * s for n, s in zip(shape, spacing, strict=True)) / size


def line_integrals(
    hu: np.ndarray, spacing: tuple[float, float, float], view: str, size: int, pixel_mm: float, bone: float = 1.3
) -> np.ndarray:
    """Return the (size, size) float64 line integrals of the attenuation along the rays of a view.

    `bone` multiplies what exceeds 150 HU, since bone attenuates a real beam more than its CT number says.
    """
    water = _ray_sums(hu, spacing, view, size, pixel_mm, _attenuation_table(bone))
    return water * (WATER_PER_MM * spacing[_RAY_AXIS[view]] / 1000)


def hounsfield_sums(
    hu: np.ndarray, spacing: tuple[float, float, float], view: str, size: int, pixel_mm: float
) -> np.ndarray:
    """Return the (size, size) float64 sums of the CT numbers along the rays of a view.

    Numbers are clipped to -1024..3071 and counted from -1024, as in the recipe of the PAXRay data set.
    """
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(int)
    return _ray_sums(hu, spacing, view, size, pixel_mm, (np.clip(numbers, -1024, 3071) + 1024).astype(np.uint16))


def _ray_sums(hu: np.ndarray, spacing, view: str, size: int, pixel_mm: float, table: np.ndarray) -> np.ndarray:
    """Return the (size, size) sums along rays of `table`, (65536,) uint16, at the bit patterns of the CT numbers."""
    if hu.ndim != 3 or hu.dtype != np.int16:
        raise ValueError(f"Hounsfield units must be a (z, y, x) int16 array, got {hu.shape} {hu.dtype}")
    axis = _RAY_AXIS[view] - 1
    # slice by slice: the cache holds a slice, memory holds no second volume
    rays = np.stack([table[s.view(np.uint16)].sum(axis, dtype=np.uint32) for s in np.ascontiguousarray(hu)])
    rows, columns = _view_weights(hu.shape, spacing, view, size, pixel_mm)
    return rows @ rays.astype(np.float64) @ columns.T / _UNITS**2  # integers below 2**53: exact in any order


def equalized(sums: np.ndarray) -> np.ndarray:
    """Turn sums along rays (H, W) into a picture (H, W) float32 in 0..1 by histogram equalisation; 0 stays black."""
    matter = np.sort(sums[sums > 0])
    rank = np.searchsorted(matter, sums, side="right") / max(len(matter), 1)
    return np.where(sums > 0, rank, 0).astype(np.float32)


@dataclass(frozen=True)
class Shadow:
    """What one structure covers: label names, box in the volume, and a bool array along the rays of each view."""

    names: tuple[str, ...]
    box: tuple[slice, slice, slice]
    cover: dict[str, np.ndarray]


def cast_shadows(volumes: Iterable[LabelVolume]) -> list[Shadow]:
    """Return the shadow of every structure that occurs in the label volumes, in both views, at voxel resolution."""
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
    """Return the masks of one view from the shadows cast in volumes of `shape`; a whole is the union of its parts."""
    stack = np.zeros((len(labels), size, size), bool)
    rows, columns = (w.astype(np.float32) for w in _view_weights(shape, spacing, view, size, pixel_mm))
    for shadow in shadows:
        down, right = shadow.box[0], shadow.box[3 - _RAY_AXIS[view]]
        top, left, mask = _cover(shadow.cover[view], rows[:, down], columns[:, right])
        for i in (i for name in shadow.names for i in labels.index(name)):
            stack[i, top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    _fill_parents(stack, labels)
    return PackedMasks.pack(stack, labels)


def radiograph(depth: np.ndarray, exposure: Exposure | None = None) -> np.ndarray:
    """Turn line integrals (H, W) into a picture (H, W) float32 in 0..1: bone light, lung dark, air black."""
    exposure, sigma = exposure or Exposure(), 0.1 * max(depth.shape)
    body = depth > _SKIN
    if not body.any():
        return np.zeros(depth.shape, np.float32)
    light = np.exp(-depth)
    glare = ndimage.gaussian_filter(light, sigma, mode="constant", cval=0.0)
    density = -np.log((light + exposure.scatter * glare) / (1 + exposure.scatter))
    density = density - exposure.local * (_slow(density, body, sigma) - density[body].mean())
    density = density + exposure.detail * (density - _slow(density, body, 0.2 * sigma))
    level = _window(density, body, exposure) ** exposure.gamma
    return (np.clip(depth / _SKIN, 0, 1) * level).astype(np.float32)


def _slow(density: np.ndarray, body: np.ndarray, sigma: float) -> np.ndarray:
    # averages inside the body only: its outline must not glow
    weight = ndimage.gaussian_filter(body.astype(np.float64), sigma, mode="constant")
    return ndimage.gaussian_filter(density * body, sigma, mode="constant") / (weight + 1e-6)


def _window(density: np.ndarray, body: np.ndarray, exposure: Exposure) -> np.ndarray:
    inside = np.sort(density[body])
    low, high = np.percentile(inside, [exposure.low, exposure.high])
    linear = np.clip((density - low) / max(high - low, 1e-6), 0, 1)
    marks = inside[np.linspace(0, len(inside) - 1, 1024).astype(int)]
    rank = np.interp(density, marks, np.linspace(0, 1, len(marks)))
    return (1 - exposure.equalize) * linear + exposure.equalize * rank


def _attenuation_table(bone: float) -> np.ndarray:
    """(65536,) uint16 attenuation for the bit pattern of an int16 CT number; water is 1000."""
    hu = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.float64)
    hu = np.clip(hu, -1000, 3071)
    return np.rint(1000 + hu + (bone - 1) * np.maximum(hu - _BONE_START, 0)).astype(np.uint16)


def _view_weights(shape, spacing, view: str, size: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    across = 3 - _RAY_AXIS[view]
    return tuple(_weights(shape[a], spacing[a], size, pixel_mm) for a in (0, across))


def _weights(count: int, spacing: float, size: int, pixel_mm: float) -> np.ndarray:
    """(size, count) float64 of whole numbers: share of each voxel in each pixel, in units of 1 / 2048.

    Both grids share their middle. A pixel averages a box as wide as itself or as one voxel, whichever is wider: an area
    average where voxels are finer than pixels, linear interpolation where they are coarser.
    """
    width = max(spacing, pixel_mm)
    centre = (np.arange(size) - (size - 1) / 2) * pixel_mm  # (size,)
    edge = (np.arange(count + 1) - count / 2) * spacing  # (count + 1,)
    inside = np.clip(edge[None, :], centre[:, None] - width / 2, centre[:, None] + width / 2)
    share = np.diff(inside, axis=1) / width
    return np.rint((share + share[::-1, ::-1]) * (_UNITS / 2))  # symmetric to the last bit


def _cover(shadow: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Return top, left and the pixels that `shadow` covers by at least half."""
    down, right = np.flatnonzero(rows.any(axis=1)), np.flatnonzero(columns.any(axis=1))
    if not len(down) or not len(right):
        return 0, 0, np.zeros((0, 0), bool)
    share = rows[down[0] : down[-1] + 1] @ shadow.astype(np.float32) @ columns[right[0] : right[-1] + 1].T
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
