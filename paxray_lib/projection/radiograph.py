"""How a radiograph is formed from what the rays met."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.projection.rays import (
    _RAY_AXIS,
    VIEWS,
    WATER_PER_MM,
    LabelVolume,
    _ray_sums,
    cast_shadows,
    fit_pixel,
    project_masks,
)

_SKIN = 0.3  # line integral of some 15 mm of water: below it an image fades to black
_BONE_START = 150  # HU above which matter counts as bone


@dataclass(frozen=True)
class Exposure:
    """How line integrals become a picture.

    Attributes
    ----------
    bone : float
        Attenuation of bone relative to its CT number; above 1 for a softer beam.
    scatter : float
        Scattered light as a share of the primary light, spread over a tenth of the image; it
        flattens dense regions.
    low, high : float
        Percentiles of the line integral inside the body that become black and white.
    gamma : float
        Exponent after windowing; above 1 darkens the lungs.
    local : float
        Share of local contrast: 0 none, 1 removes slow brightness changes altogether.
    equalize : float
        Share of histogram equalisation inside the body: 0 none, 1 full.
    detail : float
        How much edges and fine structures are amplified, as the processing in X-ray machines does;
        0 is none.
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
        Integer label volumes of the same shape, each with the label name of its values. Structures
        that overlap go into different volumes. Only parts are needed: a whole becomes the union of
        its parts.
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
        raise ValueError(
            f"a label volume of {wrong[0]} does not fit the Hounsfield units of {hu.shape}"
        )
    shadows = cast_shadows(volumes)
    views = {}
    for view in VIEWS:
        depth = line_integrals(hu, spacing, view, size, pixel_mm, exposure.bone)
        masks = project_masks(shadows, hu.shape, spacing, view, size, pixel_mm, labels)
        views[view] = radiograph(depth, exposure), masks
    return views


def line_integrals(
    hu: np.ndarray,
    spacing: tuple[float, float, float],
    view: str,
    size: int,
    pixel_mm: float,
    bone: float = 1.3,
) -> np.ndarray:
    """Return the (size, size) float64 line integrals of the attenuation along the rays of a view.

    `bone` multiplies what exceeds 150 HU, since bone attenuates a real beam more than its CT number
    says."""
    water = _ray_sums(hu, spacing, view, size, pixel_mm, _attenuation_table(bone))
    return water * (WATER_PER_MM * spacing[_RAY_AXIS[view]] / 1000)


def hounsfield_sums(
    hu: np.ndarray, spacing: tuple[float, float, float], view: str, size: int, pixel_mm: float
) -> np.ndarray:
    """Return the (size, size) float64 sums of the CT numbers along the rays of a view.

    Numbers are clipped to -1024..3071 and counted from -1024, as in the recipe of the PAXRay data
    set."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(int)
    return _ray_sums(
        hu, spacing, view, size, pixel_mm, (np.clip(numbers, -1024, 3071) + 1024).astype(np.uint16)
    )


def equalized(sums: np.ndarray) -> np.ndarray:
    """Turn sums along rays (H, W) into a picture (H, W) float32 in 0..1 by histogram equalisation;
    0 stays black.
    """
    matter = np.sort(sums[sums > 0])
    rank = np.searchsorted(matter, sums, side="right") / max(len(matter), 1)
    return np.where(sums > 0, rank, 0).astype(np.float32)


def radiograph(depth: np.ndarray, exposure: Exposure | None = None) -> np.ndarray:
    """Turn line integrals (H, W) into a picture (H, W) float32 in 0..1: bone light, lung dark, air
    black.
    """
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
