"""Mediastinum and what is under the diaphragm, from lungs, heart, abdominal organs and spine.

- Under the diaphragm: inside the convex outline of lungs, heart and abdominal organs of each
  slice, what lies below the lungs and below the top of the abdominal organs in its column (beside
  the organs, below the weighted mean of their tops), without parts thinner than 12 mm and pieces
  without an organ (chest wall). The midline of the vertebrae divides it into the hemidiaphragms.
- Mediastinum: the heart, and inside the same outline what lies between the lungs (in rows without
  a lung, between their edges in the nearest rows), above the diaphragm and in front of the spine,
  without parts thinner than 6 mm and without what separates a lung from an organ less than 45 mm
  under it, beside the heart. The plane midway between the bodies of T4 and T5 divides it into
  upper and lower, where the scan cuts neither (Gray, Anatomy of the Human Body, 1918: the plane
  of the sternal angle).
- Lower mediastinum: middle is the convex outline, in each slice, of heart, great veins, pulmonary
  vessels, airways and ascending aorta; the rest is anterior in front of that outline's middle and
  posterior behind it.
"""

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.ct.body import disk, opened
from paxray_lib.ct.division import ANTERIOR_RIBS, AORTA
from paxray_lib.ct.structures import (
    CODES,
    STRUCTURES,
    Segmented,
    codes_named,
    codes_of,
    is_in,
    mean_index,
)
from paxray_lib.projection.rays import Spacing

# mm, chosen by eye
_DOME_MM = 12.0  # beside the organs the diaphragm is interpolated over this distance
_SHEET_MM = 45.0  # diaphragm and fat between a lung and the organs under it; above: mediastinum
_THIN_MM = 3.0  # half of it: what is thinner between the lungs is roughness of their edges
_WALL_MM = 6.0  # half of it: what is thinner between lung and outline is chest wall
_DISC_MM = 12.0  # more than a disc is high
_ROUND = 1e-6  # of a voxel: rounding must not depend on the side

REGIONS: dict[int, tuple[str, ...]] = {
    1: ("mediastinum_overall",),
    2: ("mediastinum_upper",),
    3: ("mediastinum_lower", "mediastinum_anterior"),
    4: ("mediastinum_lower", "mediastinum_middle"),
    5: ("mediastinum_lower", "mediastinum_posterior"),
    6: ("mediastinum_lower",),
    7: ("hemidiaphragm_right",),
    8: ("hemidiaphragm_left",),
    9: ("hemidiaphragm_right", "hemidiaphragm_left"),  # voxels that the midline halves
    10: ("diaphragm",),
}
_WHOLE, _UPPER, _ANTERIOR, _MIDDLE, _POSTERIOR, _LOWER, _RIGHT, _LEFT, _BOTH, _UNDER = REGIONS


def find_regions(segmented: Segmented, absent: dict[str, str]) -> np.ndarray:
    """Return the (Z, Y, X) uint8 volume of mediastinum and hemidiaphragms, with values of REGIONS.

    Reasons are added to `absent`.
    """
    codes, spacing = segmented.codes, segmented.spacing
    right, left = (is_in(codes, codes_named(f"lung_*_{side}")) for side in ("right", "left"))
    lung, heart = right | left, is_in(codes, [s.code for s in STRUCTURES if s.label == "heart"])
    abdomen = is_in(codes, codes_of("abdomen"))
    hard = is_in(codes, [*codes_of("bone", "cartilage", "back"), *ANTERIOR_RIBS.values()])
    chest = lung | heart
    dome, spine = _dome(chest, abdomen, spacing), _front_of_spine(codes, spacing)
    floor = _ends(lung)  # of the mediastinum
    floor[((dome - floor) * spacing[0] > _SHEET_MM) | heart.any(axis=0)] = np.inf
    under_side = np.full(codes.shape[2], _UNDER, np.uint8)  # of each column
    if segmented.midline is None:
        sides = ("hemidiaphragm_left", "hemidiaphragm_right")
        absent |= dict.fromkeys(sides, "not derivable: no vertebra, no midline") | absent
    else:
        offset = np.arange(codes.shape[2]) - segmented.midline
        under_side[:] = np.select([offset < 0, offset > 0], [_RIGHT, _LEFT], _BOTH)
    thin, wide = disk(_THIN_MM, spacing), disk(_WALL_MM, spacing)
    regions = np.zeros(codes.shape, np.uint8)
    for z in range(len(codes)):
        free = convex(chest[z] | abdomen[z]) & ~lung[z] & ~hard[z]
        under = opened(free & (z >= dome) & ~heart[z], wide)
        _, pieces = cv2.connectedComponents(under.view(np.uint8), connectivity=4)
        under &= np.isin(pieces, pieces[abdomen[z]])  # the pieces that hold a part of an organ
        between = free & ~under & (z < floor) & _between(right[z], left[z])
        between[spine[z] :] = False
        np.copyto(regions[z], under_side, where=under)
        np.copyto(regions[z], np.uint8(_WHOLE), where=opened(between, thin) | heart[z])
    _divide_mediastinum(regions, segmented, absent)
    return regions


def _ends(volume: np.ndarray, otherwise: float = np.inf) -> np.ndarray:
    """Return (Y, X) float: the slice after a column's last voxel; `otherwise` where it has none."""
    ends = np.full(volume.shape[1:], float(otherwise))
    for z, plane in enumerate(volume):
        ends[plane] = z + 1
    return ends


def _dome(chest: np.ndarray, abdomen: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Return (Y, X) float: the slice at which what is under the diaphragm begins."""
    top = len(chest) - _ends(abdomen[::-1], otherwise=0)
    known = top < len(chest)
    sigma = [_DOME_MM / s for s in spacing[1:]]
    weight, mean = (
        ndimage.gaussian_filter(values, sigma, mode="constant", truncate=8)
        for values in (known.astype(np.float64), np.where(known, top, 0.0))
    )
    filled = np.where(weight > 1e-9, mean / np.maximum(weight, 1e-9), len(chest))
    return np.maximum(_ends(chest, otherwise=0), np.where(known, top, filled))


def _front_of_spine(codes: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Return (Z,) int: the first row of the vertebrae in the slices within 12 mm, or else in the
    nearest ones; a row behind the scan where there is no vertebra at all.
    """
    rows = np.any(is_in(codes, codes_named("vertebrae_*")), axis=2)  # (Z, Y)
    first = np.where(rows.any(axis=1), rows.argmax(axis=1), rows.shape[1])
    # at the height of a disc there may be a spinous process alone
    first = ndimage.minimum_filter1d(first, 2 * round(_DISC_MM / spacing[0]) + 1)
    known = np.flatnonzero(first < rows.shape[1])
    if not len(known):
        return first
    return np.rint(np.interp(np.arange(len(rows)), known, first[known])).astype(int)


def _between(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return what of a (Y, X) slice lies medial of both lungs, row by row, if both are there."""
    rows = [np.flatnonzero(lung.any(axis=1)) for lung in (right, left)]
    if not len(rows[0]) or not len(rows[1]):
        return np.zeros_like(right)
    x, y = np.arange(right.shape[1]), np.arange(len(right))
    edges = len(x) - 1 - right[rows[0], ::-1].argmax(axis=1), left[rows[1]].argmax(axis=1)
    low, high = (np.interp(y, at, edge)[:, None] for at, edge in zip(rows, edges, strict=True))
    return (x > low + _ROUND) & (x < high - _ROUND)


def _divide_mediastinum(regions: np.ndarray, segmented: Segmented, absent: dict[str, str]) -> None:
    parts = [f"mediastinum_{part}" for part in ("anterior", "middle", "posterior")]
    upper, lower = (_centre_of_vertebra(segmented, level) for level in ("T4", "T5"))
    if upper is None or lower is None:
        reason = "not derivable: T4 and T5 are not both in the scan, or cut by it"
        absent |= dict.fromkeys(("mediastinum_upper", "mediastinum_lower", *parts), reason) | absent
        return
    split = int(np.ceil((upper + lower) / 2))
    mediastinum = regions == _WHOLE
    regions[:split][mediastinum[:split]] = _UPPER
    core = is_in(segmented.codes, [*codes_of("pericardium"), AORTA["aorta_ascending"]])
    with_core = np.any(core, axis=(1, 2))
    levels = [z for z in range(split, len(regions)) if with_core[z] and mediastinum[z].any()]
    if not levels:
        absent |= dict.fromkeys(parts, "not derivable: no heart") | absent
        regions[split:][mediastinum[split:]] = _LOWER
        return
    centre = levels[0]
    y = np.arange(regions.shape[1])[:, None]
    for z in range(split, len(regions)):
        centre = z if with_core[z] else centre
        outline = convex(core[centre])
        beside = np.where(y < mean_index(outline, 0), _ANTERIOR, _POSTERIOR)
        part = np.where(outline, _MIDDLE, beside).astype(np.uint8)
        np.copyto(regions[z], part, where=mediastinum[z])


def _centre_of_vertebra(segmented: Segmented, level: str) -> float | None:
    """Return the mean z of the front half of a vertebra, which is its body.

    None if it is missing, or cut by the first or last slice.
    """
    code = CODES[f"vertebrae_{level}"]
    if code not in segmented.boxes or segmented.is_cut(code):
        return None
    box = segmented.boxes[code]
    vertebra = segmented.codes[box] == code
    return box[0].start + mean_index(vertebra[:, : -(-vertebra.shape[1] // 2)], 0)


def convex(plane: np.ndarray) -> np.ndarray:
    """Return the convex outline of a (Y, X) bool plane, filled.

    A mirrored plane has exactly the mirrored outline, other than by scipy's ConvexHull.
    """
    filled, rows = np.zeros_like(plane), np.flatnonzero(plane.any(axis=1))
    if not len(rows):
        return filled
    y = np.arange(rows[0], rows[-1] + 1)
    low = _hull_side(rows, plane[rows].argmax(axis=1), y)
    high = plane.shape[1] - 1 - _hull_side(rows, plane[rows, ::-1].argmax(axis=1), y)
    x = np.arange(plane.shape[1])
    filled[y] = (x >= low[:, None] - _ROUND) & (x <= high[:, None] + _ROUND)
    return filled


def _hull_side(rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the lower convex envelope of x over rows, at each y (Andrew's monotone chain)."""
    chain: list[tuple[int, int]] = []
    for c in zip(rows.tolist(), x.tolist(), strict=True):
        while len(chain) > 1:
            a, b = chain[-2:]
            if (b[1] - a[1]) * (c[0] - a[0]) < (c[1] - a[1]) * (b[0] - a[0]):
                break
            chain.pop()
        chain.append(c)
    return np.interp(y, *np.array(chain, float).T)
