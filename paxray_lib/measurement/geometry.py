"""Measurements in masks of a chest X-ray.

Widths are horizontal and heights vertical, from the first to the last pixel. So that a few stray
pixels do not move them, everything but areas is measured in the large parts of a mask: those of its
8-connected parts, per lung, that have at least a tenth of the pixels of the largest one. A
measurement is NaN where its anatomy is missing; all but areas and heights are NaN unless the view
is frontal.

ctr
    The cardiothoracic ratio, heart_width / thorax_width (C. S. Danzer, The cardiothoracic ratio: an
    index of cardiac enlargement, Am. J. Med. Sci. 157, 513, 1919). In adults, standing, exposed
    from behind and breathed in, up to 0.50 counts as normal.
heart_width
    Greatest distance of the heart's right border from the midline, plus that of its left border:
    the extent of the heart over all rows.
thorax_width
    Greatest internal diameter of the thorax: in the row in which the outer borders of the lungs are
    farthest apart.
heart_height, lung_right_height, lung_left_height
    From the first row to the last.
heart_area, lung_right_area, lung_left_area, lung_area
    All pixels of the mask. `lung_area` is that of both lungs together, where they overlap counted
    once, and NaN if one of them is missing.
heart_to_spine
    Horizontal distance of the heart's centroid from the centre line of the spine, a straight line
    fitted to the middle of the spine in each row. Positive to the patient's left.
airways_to_spine
    The same for the upper half of the airways, the trachea: rotation, or a push or pull.
ribs_to_spine
    The same for the middle between the left and right front parts of ribs 2 to 6: rotation. What
    lies in front moves against the spine, as the collar bones do by which a film is judged (L. R.
    Goodman, Felson's principles of chest roentgenology).
ribs_anterior, ribs_posterior
    Front and back parts of right ribs with their centroid above the dome of the right
    hemidiaphragm: inspiration (Goodman counts the ribs above the diaphragm: in full inspiration
    about six in front, nine or ten behind).

None of this is a finding. The masks are projections of whole organs, so that a lung reaches below
the dome of its diaphragm, and the thorax is measured by the lungs: the inner edges of the ribs are
a little farther apart.
"""

import math

import cv2
import numpy as np

from paxray_lib.masks import PackedMasks, moments

WIDTHS = ("heart_width", "thorax_width", "heart_to_spine", "airways_to_spine", "ribs_to_spine")
HEIGHTS = ("heart_height", "lung_right_height", "lung_left_height")
AREAS = ("heart_area", "lung_right_area", "lung_left_area", "lung_area")
COUNTS = ("ribs_anterior", "ribs_posterior")

Point = tuple[float, float]  # row and column, as pixel edges
Line = tuple[Point, Point]  # a measured distance, from start to end


def measure(
    masks: PackedMasks, view: str | None, spacing_mm: tuple[float, float] | None = None
) -> dict[str, float]:
    """Return all measurements of one image; for their definitions see the module.

    Parameters
    ----------
    masks : PackedMasks at the height and width of the image
    view : "frontal", "lateral", or None if unknown
    spacing_mm : (row, column) distance of pixel centres, if known

    Returns
    -------
    dict of name to number
        `ctr`, the counts of ribs, lengths in pixels (`heart_width_px`, ...), areas in pixels
        (`heart_area_px`), and the same in mm and mm² (`heart_width_mm`, `heart_area_mm2`), NaN
        without spacing.
    """
    pixels = dict.fromkeys((*WIDTHS, *HEIGHTS), math.nan)
    for name, (start, end) in find_lines(masks, view).items():
        axis = 0 if name in HEIGHTS else 1
        pixels[name] = end[axis] - start[axis]  # a width to the left is negative
    pixels |= _areas(masks)
    row, column = spacing_mm or (math.nan, math.nan)
    return {
        "ctr": pixels["heart_width"] / pixels["thorax_width"],
        **_count_ribs(masks, view),
        **{f"{name}_px": value for name, value in pixels.items()},
        **{f"{name}_mm": pixels[name] * column for name in WIDTHS},
        **{f"{name}_mm": pixels[name] * row for name in HEIGHTS},
        **{f"{name}_mm2": pixels[name] * row * column for name in AREAS},
    }


def find_lines(masks: PackedMasks, view: str | None) -> dict[str, Line]:
    """Return the line of each width and height that can be measured; widths only if frontal."""
    heart, right, left = (
        _large_parts(masks, name) for name in ("heart", "lung_right", "lung_left")
    )
    lines = {
        "heart_height": _span(heart, 0),
        "lung_right_height": _span(right, 0),
        "lung_left_height": _span(left, 0),
    }
    if view == "frontal":
        lines["heart_width"] = _span(heart, 1)
        lines["thorax_width"] = _widest_row(right | left) if right.any() and left.any() else None
        lines |= _distances_to_spine(masks, heart)
    return {name: line for name, line in lines.items() if line is not None}


def spine_line(masks: PackedMasks) -> np.ndarray | None:
    """Return (slope, intercept) of the spine's centre line; None without a spine.

    column = slope * row + intercept, in pixel edges.
    """
    spine = _large_parts(masks, "spine")
    rows = np.flatnonzero(spine.any(axis=1))
    if len(rows) < 2:
        return None
    centres = spine[rows] @ (np.arange(spine.shape[1]) + 0.5) / spine[rows].sum(axis=1)
    return np.polyfit(rows + 0.5, centres, 1)


def _mask(masks: PackedMasks, name: str) -> np.ndarray:
    """Return the (H, W) bool mask of a label, empty if the label is not in the set."""
    has_label = name in masks.labels.names
    return masks.union(name) if has_label else np.zeros(masks.shape[1:], bool)


def _large_parts(masks: PackedMasks, name: str) -> np.ndarray:
    """Return the (H, W) bool mask of a label without its small parts."""
    mask = _mask(masks, name).view(np.uint8)
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pixels = statistics[:, cv2.CC_STAT_AREA]
    pixels[0] = 0  # what is outside
    return (pixels * 10 >= max(1, pixels.max()))[parts]  # a tenth of the largest: chosen by eye


def _bounds(mask: np.ndarray, axis: int) -> tuple[int, int]:
    """Return the first and the last edge of a mask, which is not empty, along an axis."""
    places = np.flatnonzero(mask.any(axis=1 - axis))
    return int(places[0]), int(places[-1]) + 1


def _centroid(mask: np.ndarray) -> Point | None:
    """Return (row, column) in pixel edges, or None for an empty mask."""
    rows, columns = np.nonzero(mask)
    return (float(rows.mean()) + 0.5, float(columns.mean()) + 0.5) if len(rows) else None


def _span(mask: np.ndarray, axis: int) -> Line | None:
    """Return the line along an axis, through the centroid, from the first to the last pixel."""
    centre = _centroid(mask)
    if centre is None:
        return None
    start, end = _bounds(mask, axis)
    row, column = centre
    return ((start, column), (end, column)) if axis == 0 else ((row, start), (row, end))


def _widest_row(mask: np.ndarray) -> Line:
    """Return the line in the first of the rows whose outer pixels are farthest apart."""
    left = mask.argmax(axis=1)
    right = mask.shape[1] - mask[:, ::-1].argmax(axis=1)
    row = int(((right - left) * mask.any(axis=1)).argmax())
    return (row + 0.5, int(left[row])), (row + 0.5, int(right[row]))


def _distances_to_spine(masks: PackedMasks, heart: np.ndarray) -> dict[str, Line | None]:
    line = spine_line(masks)
    if line is None:
        return {}
    airways = _large_parts(masks, "airways")
    if airways.any():
        top, bottom = _bounds(airways, 0)
        airways[-(-(top + bottom) // 2) :] = False
    points = {
        "heart": _centroid(heart),
        "airways": _centroid(airways),
        "ribs": _middle_of_ribs(masks),
    }
    return {
        f"{name}_to_spine": ((point[0], float(np.polyval(line, point[0]))), point)
        for name, point in points.items()
        if point is not None
    }


def _middle_of_ribs(masks: PackedMasks) -> Point | None:
    middles = []
    for number in range(2, 7):
        left, right = (
            _centroid(_large_parts(masks, f"rib_{side}_anterior_{number}"))
            for side in ("left", "right")
        )
        if left and right:
            middles.append(np.mean([left, right], axis=0))
    return tuple(np.mean(middles, axis=0).tolist()) if middles else None


def _areas(masks: PackedMasks) -> dict[str, float]:
    heart, right, left = (_mask(masks, name) for name in ("heart", "lung_right", "lung_left"))
    lungs = (right | left) & (right.any() and left.any())
    areas = [float(mask.sum()) for mask in (heart, right, left, lungs)]
    return dict(zip(AREAS, [area or math.nan for area in areas], strict=True))


def _count_ribs(masks: PackedMasks, view: str | None) -> dict[str, float]:
    """Return the right ribs whose centroid is above the dome of the hemidiaphragm, per part."""
    dome = _large_parts(masks, "hemidiaphragm_right")
    counts = dict.fromkeys(COUNTS, math.nan)
    if view != "frontal" or not dome.any():
        return counts
    top = _bounds(dome, 0)[0] / len(dome)
    whole = moments(masks)
    rows = np.nan_to_num(whole.rows, nan=math.inf)  # a rib that is absent is not above
    for name in COUNTS:
        part = name.removeprefix("ribs_")
        ribs = [i for n in range(1, 13) for i in masks.labels.find(f"rib_right_{part}_{n}")]
        if whole.areas[ribs].any():
            counts[name] = float((rows[ribs] < top).sum())
    return counts
