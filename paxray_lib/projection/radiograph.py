"""How an image is formed from what the rays met: the physics in short, the processing by eye."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from paxray_lib.projection.rays import RAY_AXIS, Geometry, ray_sums

# Linear attenuation of water at 69 keV, about the mean energy of a 120 kV beam behind a patient.
# NIST (Hubbell and Seltzer, NISTIR 5632): 0.2059 cm2/g at 60 keV, 0.1837 cm2/g at 80 keV.
WATER_PER_MM = 0.0195
LOWEST_HU, HIGHEST_HU = -1024, 3071  # the range of a CT's 12 bits
# the CT number of each bit pattern of an int16, within that range
_CT_NUMBERS = np.arange(1 << 16, dtype=np.uint16).view(np.int16).clip(LOWEST_HU, HIGHEST_HU)

# chosen by eye
_SKIN = 0.3  # line integral of some 15 mm of water: below it an image fades to black
_BONE_START = 150  # HU: above soft tissue, below the marrow of most bones
_SLOW = 0.1  # of the image: the reach of scattered light and of slow changes of brightness
_FINE = 0.2  # of that: the reach of details


@dataclass(frozen=True)
class Exposure:
    """How line integrals become an image; the values are chosen by eye beside real X-rays.

    Attributes
    ----------
    bone : attenuation of bone relative to its CT number; above 1 for a softer beam
    scatter : scattered light as a share of the primary light, spread over a tenth of the image; it
        flattens dense regions
    low, high : percentiles of the line integral inside the body that become black and white
    gamma : exponent after windowing; above 1 darkens the lungs
    local : share of local contrast, from 0 to 1, which removes slow brightness changes altogether
    equalize : share of histogram equalisation inside the body, 0 to 1
    detail : how much fine structures are amplified, as the processing in X-ray machines does
    """

    bone: float = 1.3
    scatter: float = 0.15
    low: float = 1.0
    high: float = 99.5
    gamma: float = 1.0
    local: float = 0.3
    equalize: float = 0.5
    detail: float = 0.6


def line_integrals(
    hu: np.ndarray, geometry: Geometry, view: str, bone: float = Exposure.bone
) -> np.ndarray:
    """Return the (size, size) float64 line integrals of the attenuation along the rays of a view.

    `bone` multiplies what exceeds 150 HU, since bone attenuates a real beam more than its CT
    number says.
    """
    numbers = np.maximum(_CT_NUMBERS, -1000).astype(int)
    table = 1000 + numbers + (bone - 1) * np.maximum(numbers - _BONE_START, 0)  # water is 1000
    water = ray_sums(hu, geometry, view, np.rint(table).astype(np.uint16))
    return water * (WATER_PER_MM * geometry.spacing[RAY_AXIS[view]] / 1000)


def hounsfield_sums(hu: np.ndarray, geometry: Geometry, view: str) -> np.ndarray:
    """Return the (size, size) float64 sums of the CT numbers along the rays of a view.

    Numbers are clipped to -1024..3071 and counted from -1024, as in the recipe of the PAXRay data
    set (Seibold et al., BMVC 2022, arXiv 2210.03416).
    """
    return ray_sums(hu, geometry, view, (_CT_NUMBERS - LOWEST_HU).astype(np.uint16))


def equalized(sums: np.ndarray) -> np.ndarray:
    """Turn (H, W) sums along rays into an (H, W) float32 image in 0..1 by histogram equalisation.

    A sum of 0 stays black.
    """
    matter = np.sort(sums[sums > 0])
    rank = np.searchsorted(matter, sums, side="right") / max(len(matter), 1)
    return np.where(sums > 0, rank, 0).astype(np.float32)


def radiograph(depth: np.ndarray, exposure: Exposure | None = None) -> np.ndarray:
    """Turn (H, W) line integrals into an (H, W) float32 image in 0..1.

    Bone is light, lung is dark, and air is black.
    """
    exposure = exposure or Exposure()
    body = depth > _SKIN
    if not body.any():
        return np.zeros(depth.shape, np.float32)
    sigma = _SLOW * max(depth.shape)
    light = np.exp(-depth)
    glare = ndimage.gaussian_filter(light, sigma, mode="constant")
    density = -np.log((light + exposure.scatter * glare) / (1 + exposure.scatter))
    density = density - exposure.local * (_slow(density, body, sigma) - density[body].mean())
    density = density + exposure.detail * (density - _slow(density, body, _FINE * sigma))
    # linear between two percentiles, mixed with its rank
    inside = np.sort(density[body])
    low, high = np.percentile(inside, [exposure.low, exposure.high])
    linear = np.clip((density - low) / max(high - low, 1e-6), 0, 1)
    marks = inside[np.linspace(0, len(inside) - 1, 1024).astype(int)]
    rank = np.interp(density, marks, np.linspace(0, 1, len(marks)))
    level = ((1 - exposure.equalize) * linear + exposure.equalize * rank) ** exposure.gamma
    return (np.clip(depth / _SKIN, 0, 1) * level).astype(np.float32)


def _slow(density: np.ndarray, body: np.ndarray, sigma: float) -> np.ndarray:
    # averages inside the body only: its outline must not glow
    weight = ndimage.gaussian_filter(body.astype(np.float64), sigma, mode="constant")
    return ndimage.gaussian_filter(density * body, sigma, mode="constant") / (weight + 1e-6)
