"""Mediastinum and what is under the diaphragm, from lungs, heart, abdominal organs and spine: rules
of derive.py.
"""

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.ct.body import disk
from paxray_lib.ct.structures import (
    CODES,
    STRUCTURES,
    codes_of,
    codes_with_label,
    is_in,
    lung_codes,
)

# between columns with lung or heart the diaphragm is interpolated over this distance
_DOME_MM = 12.0
# diaphragm and fat between a lung and the organs under it; what is higher is mediastinum
_SHEET_MM = 45.0
_THIN_MM = 3.0  # half of it: what is thinner between the lungs is roughness of their edges
_WALL_MM = 6.0  # half of it: what is thinner between lung and outline is chest wall
_DISC_MM = 12.0  # more than a disc is high
_ROUND = 1e-6  # of a voxel: rounding must not depend on the side
REGIONS = {
    1: "mediastinum_overall",
    2: "mediastinum_upper",
    3: ("mediastinum_lower", "mediastinum_anterior"),
    4: ("mediastinum_lower", "mediastinum_middle"),
    5: ("mediastinum_lower", "mediastinum_posterior"),
    6: "mediastinum_lower",
    7: "hemidiaphragm_right",
    8: "hemidiaphragm_left",
    9: ("hemidiaphragm_right", "hemidiaphragm_left"),  # voxels that the midline halves
    10: "diaphragm",
}
_WHOLE, _UPPER, _ANTERIOR_PART, _MIDDLE, _POSTERIOR_PART, _LOWER, _UNDER_RIGHT = range(1, 8)
_UNDER = 10


def find_regions(
    parts: np.ndarray,
    boxes,
    spacing,
    midline: tuple[int, int] | None,
    hard: list[int],
    core: list[int],
    absent: dict[str, str],
) -> np.ndarray:
    """Return the (Z, Y, X) uint8 volume of mediastinum and hemidiaphragms, with values of REGIONS.

    Parameters
    ----------
    parts : (Z, Y, X) uint8 array of structures' codes, and of those of their parts
    boxes : dict of code to box, or None where the structure is not there
    spacing : (z, y, x) voxel size in mm
    midline : sum and number of x, whose ratio is the midline; None if it is not known
    hard : codes of bones and what else is no part of a region
    core : codes of what makes the middle mediastinum
    absent : dict of label to reason, which is added to
    """
    lung, heart = is_in(parts, codes_of("lung")), is_in(parts, codes_with_label("heart"))
    abdomen, bone = is_in(parts, codes_of("abdomen")), is_in(parts, hard)
    chest = lung | heart
    regions = np.zeros(parts.shape, np.uint8)
    dome, top = _dome(chest, abdomen, spacing), _front_of_spine(parts, boxes, spacing)
    floor = _ends(lung)  # of the mediastinum
    floor[((dome - floor) * spacing[0] > _SHEET_MM) | heart.any(axis=0)] = np.inf
    right, left = (is_in(parts, lung_codes(side)) for side in ("right", "left"))
    halves = _halves(parts.shape[2], midline)
    thin, wide = disk(_THIN_MM, spacing), disk(_WALL_MM, spacing)
    for z in range(len(parts)):
        outline = convex(chest[z] | abdomen[z])
        if not outline.any():
            continue
        free = outline & ~lung[z] & ~bone[z]
        under = _touching(_opened(free & (z >= dome) & ~heart[z], wide), abdomen[z])
        between = free & ~under & (z < floor) & _between(right[z], left[z])
        if top is not None:
            between[top[z] :] = False
        np.copyto(regions[z], halves, where=under)
        np.copyto(regions[z], np.uint8(_WHOLE), where=_opened(between, thin) | heart[z])
    if midline is None:
        for name in ("hemidiaphragm_left", "hemidiaphragm_right"):
            absent.setdefault(name, "not derivable: no vertebra, no midline")
    _divide_mediastinum(regions, parts, boxes, core, absent)
    return regions


def _opened(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(plane.view(np.uint8), cv2.MORPH_OPEN, kernel, borderValue=0).view(bool)


def _touching(plane: np.ndarray, organs: np.ndarray) -> np.ndarray:
    """Return the pieces of a (Y, X) plane that hold a part of the organs."""
    count, pieces = cv2.connectedComponents(plane.view(np.uint8), connectivity=4)
    kept = np.zeros(count, bool)
    kept[pieces[plane & organs]] = True
    return kept[pieces]


def _halves(width: int, midline: tuple[int, int] | None) -> np.ndarray:
    """Return (1, X) uint8: which side of the diaphragm each column of a slice belongs to."""
    if midline is None:
        return np.full((1, width), _UNDER, np.uint8)
    total, count = midline
    side = np.sign(np.arange(width) * count - total)  # -1 right, 0 halved, 1 left
    return (_UNDER_RIGHT + np.array([2, 1, 0])[side])[None].astype(np.uint8)


def _ends(volume: np.ndarray, otherwise: float = np.inf) -> np.ndarray:
    """Return (Y, X) float: the slice after a column's last voxel; `otherwise` where it has none."""
    ends = np.full(volume.shape[1:], float(otherwise))
    for z, plane in enumerate(volume):
        ends[plane] = z + 1
    return ends


def _dome(chest: np.ndarray, abdomen: np.ndarray, spacing) -> np.ndarray:
    """Return (Y, X) float: the slice at which, in each column, what is under the diaphragm
    begins.
    """
    lowest, top = _ends(chest, otherwise=0), np.full(chest.shape[1:], float(len(chest)))
    for z in range(len(abdomen) - 1, -1, -1):
        top[abdomen[z]] = z
    known = top < len(abdomen)
    sigma = [_DOME_MM / s for s in spacing[1:]]
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma, mode="constant", truncate=8)
    mean = ndimage.gaussian_filter(np.where(known, top, 0.0), sigma, mode="constant", truncate=8)
    filled = np.where(weight > 1e-9, mean / np.maximum(weight, 1e-9), len(chest))
    return np.maximum(lowest, np.where(known, top, filled))


def _front_of_spine(parts: np.ndarray, boxes, spacing) -> np.ndarray | None:
    """Return (Z,) int: the first row of the vertebrae in the slices within 12 mm, or else in the
    nearest ones.
    """
    spine = [s.code for s in STRUCTURES if s.name.startswith("vertebrae_") and boxes[s.code]]
    if not spine:
        return None
    first = np.full(len(parts), parts.shape[1])
    for code in spine:
        box = boxes[code]
        rows = (parts[box] == code).any(axis=2)  # (z, y)
        here = np.where(rows.any(axis=1), rows.argmax(axis=1) + box[1].start, parts.shape[1])
        first[box[0]] = np.minimum(first[box[0]], here)
    reach = round(_DISC_MM / spacing[0])
    first = ndimage.minimum_filter1d(
        first, 2 * reach + 1
    )  # at the height of a disc there may be a spinous process alone
    known = np.flatnonzero(first < parts.shape[1])
    return np.rint(np.interp(np.arange(len(parts)), known, first[known])).astype(int)


def _between(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return what of a (Y, X) slice lies medial of both lungs, row by row; nothing where a lung is
    not there.
    """
    rows = [np.flatnonzero(lung.any(axis=1)) for lung in (right, left)]
    if not len(rows[0]) or not len(rows[1]):
        return np.zeros_like(right)
    x, y = np.arange(right.shape[1]), np.arange(len(right))
    edges = len(x) - 1 - right[rows[0], ::-1].argmax(axis=1), left[rows[1]].argmax(axis=1)
    low, high = (np.interp(y, at, edge)[:, None] for at, edge in zip(rows, edges, strict=True))
    return (x > low + _ROUND) & (x < high - _ROUND)


def convex(plane: np.ndarray) -> np.ndarray:
    """Return the convex outline of a (Y, X) bool plane, filled."""
    filled, rows = np.zeros_like(plane), np.flatnonzero(plane.any(axis=1))
    if not len(rows):
        return filled
    width = plane.shape[1]
    first = plane[rows].argmax(axis=1)
    last = width - 1 - plane[rows, ::-1].argmax(axis=1)
    y = np.arange(rows[0], rows[-1] + 1)
    low = _hull_side(rows, first, y)
    high = width - 1 - _hull_side(rows, width - 1 - last, y)
    x = np.arange(width)
    filled[rows[0] : rows[-1] + 1] = (x >= low[:, None] - _ROUND) & (x <= high[:, None] + _ROUND)
    return filled


def _hull_side(rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the lower convex envelope of x over rows, at each y."""
    chain: list[tuple[int, int]] = []
    for point in zip(rows.tolist(), x.tolist(), strict=True):
        while len(chain) > 1 and _turns_inward(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return np.interp(y, *np.array(chain, float).T)


def _turns_inward(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _divide_mediastinum(
    regions: np.ndarray, parts: np.ndarray, boxes, middle: list[int], absent: dict[str, str]
) -> None:
    split = _disc_level(parts, boxes, "vertebrae_T4", "vertebrae_T5")
    if split is None:
        reason = "not derivable: T4 and T5 are not both in the scan, or cut by it"
        parts_of_it = [
            f"mediastinum_{part}" for part in ("upper", "lower", "anterior", "middle", "posterior")
        ]
        for name in parts_of_it:
            absent.setdefault(name, reason)
        return
    mediastinum = regions == _WHOLE
    regions[:split][mediastinum[:split]] = _UPPER
    core = is_in(parts, middle)
    levels = [z for z in range(split, len(regions)) if core[z].any() and mediastinum[z].any()]
    if not levels:
        for name in ("mediastinum_anterior", "mediastinum_middle", "mediastinum_posterior"):
            absent.setdefault(name, "not derivable: no heart")
        regions[split:][mediastinum[split:]] = _LOWER
        return
    centre = levels[0]
    for z in range(split, len(regions)):
        centre = z if core[z].any() else centre
        outline = convex(core[centre])
        rows = np.arange(regions.shape[1])[:, None] < mean_row(outline, 0.0)
        part = np.where(outline, _MIDDLE, np.where(rows, _ANTERIOR_PART, _POSTERIOR_PART))
        np.copyto(regions[z], part.astype(np.uint8), where=mediastinum[z])


def _disc_level(parts: np.ndarray, boxes, upper: str, lower: str) -> int | None:
    """Return the first slice below the middle between two vertebral bodies, taken as the
    vertebrae's front halves.

    None if one is missing, or cut by the first or last slice.
    """
    centres = []
    for name in (upper, lower):
        box = boxes[CODES[name]]
        if box is None or box[0].start == 0 or box[0].stop == len(parts):
            return None
        here = parts[box] == CODES[name]
        along = here[:, : -(-here.shape[1] // 2)].sum(axis=(1, 2))
        centres.append(box[0].start + float((along * np.arange(len(along))).sum() / along.sum()))
    return int(np.ceil(sum(centres) / 2))


def mean_row(plane: np.ndarray, otherwise: float) -> float:
    """Return the mean y of a (Y, X) bool plane, or `otherwise` if it is empty."""
    along = plane.sum(axis=1)
    return float((along * np.arange(len(along))).sum() / along.sum()) if along.any() else otherwise
