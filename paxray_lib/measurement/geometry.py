"""Measurements in masks of a chest X-ray: the cardiothoracic ratio, sizes of lungs and heart,
rotation, inspiration.

Widths are horizontal and heights vertical, from the first to the last pixel. So that a few stray
pixels do not move them, all that is no area is measured in the large parts of a mask: those of its
8-connected parts, of each lung by itself, that have at least a tenth of the pixels of the largest
one. A measurement is NaN where its anatomy is missing; all but areas and heights are NaN unless the
view is frontal.

    ctr               heart_width / thorax_width, the cardiothoracic ratio (C. S. Danzer, The cardiothoracic ratio: an
                      index of cardiac enlargement, Am. J. Med. Sci. 157, 513, 1919). In adults,
                      standing, exposed from behind and breathed in, up to 0.50 counts as normal
    heart_width       greatest distance of the heart's right border from the midline, plus that of
    its left border: the
                      extent of the heart over all rows
    thorax_width      greatest internal diameter of the thorax: in the row in which the outer
    borders of the lungs are
                      farthest apart
    heart_height, lung_right_height, lung_left_height    from the first row to the last
    heart_area, lung_right_area, lung_left_area, lung_area    all pixels of the mask; `lung_area` is
    that of both lungs
                      together, where they overlap counted once, and NaN if one of them is missing
    heart_to_spine    horizontal distance of the heart's centroid from the centre line of the spine
    (a straight line,
                      fitted to the middle of the spine in each row); positive to the patient's left
    airways_to_spine  the same for the upper half of the airways, the trachea: rotation, or a push
    or pull ribs_to_spine     the same for the middle between the left and right front parts of ribs
    2 to 6: rotation. What lies
                      in front moves against the spine, as the collar bones do by which a film is
                      judged (L. R. Goodman, Felson's principles of chest roentgenology)
    ribs_anterior, ribs_posterior    front and back parts of right ribs with their centroid above
    the dome of the right
                      hemidiaphragm: inspiration (Goodman counts the ribs above the diaphragm: in
                      full inspiration about six in front, nine or ten behind)

None of this is a finding. The masks are projections of whole organs, so that a lung reaches below
the dome of its diaphragm, and the thorax is measured by the lungs: the inner edges of the ribs are
a little farther apart."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from paxray_lib.masks.moments import Moments, moments
from paxray_lib.masks.packed import PackedMasks

WIDTHS = ("heart_width", "thorax_width", "heart_to_spine", "airways_to_spine", "ribs_to_spine")
HEIGHTS = ("heart_height", "lung_right_height", "lung_left_height")
AREAS = ("heart_area", "lung_right_area", "lung_left_area", "lung_area")
COUNTS = ("ribs_anterior", "ribs_posterior")
MEASUREMENTS = "measurements.csv"
_RIBS = range(1, 13)
_SMALL = 10  # a part with less than one pixel for so many of the largest part


class Line(NamedTuple):
    """A measured distance in the image: (row, column) of both ends, as pixel edges."""

    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def width(self) -> float:
        """Columns from start to end; negative if it runs to the left."""
        return self.end[1] - self.start[1]

    @property
    def height(self) -> float:
        """Rows from start to end."""
        return self.end[0] - self.start[0]


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
    dict of name to number: `ctr`, the counts of ribs, lengths in pixels (`heart_width_px`, ...),
    areas in pixels (`heart_area_px`), and the same in mm and mm² (`heart_width_mm`,
    `heart_area_mm2`), NaN without spacing."""
    found = moments(masks)
    lines = find_lines(masks, view)
    pixels = {name: lines[name].width if name in lines else math.nan for name in WIDTHS}
    pixels |= {name: lines[name].height if name in lines else math.nan for name in HEIGHTS}
    pixels |= {name: _area(masks, found, name.removesuffix("_area")) for name in AREAS}
    row, column = spacing_mm or (math.nan, math.nan)
    result = {"ctr": pixels["heart_width"] / pixels["thorax_width"]}
    result |= {name: _ribs_above(masks, found, name, view) for name in COUNTS}
    result |= {f"{name}_px": value for name, value in pixels.items()}
    for names, unit, scale in (
        (WIDTHS, "mm", column),
        (HEIGHTS, "mm", row),
        (AREAS, "mm2", row * column),
    ):
        result |= {f"{name}_{unit}": pixels[name] * scale for name in names}
    return result


def find_lines(masks: PackedMasks, view: str | None) -> dict[str, Line]:
    """Return the line of each width and height that can be measured; widths in frontal images
    alone.
    """
    heart, right, left = (
        _large_parts(masks, name) for name in ("heart", "lung_right", "lung_left")
    )
    lines = {
        "heart_height": _height(heart),
        "lung_right_height": _height(right),
        "lung_left_height": _height(left),
    }
    if view == "frontal":
        lines["heart_width"] = _extent(heart)
        lines["thorax_width"] = _widest_row(right | left) if right.any() and left.any() else None
        lines |= _distances_to_spine(masks, heart)
    return {name: line for name, line in lines.items() if line is not None}


def _plane(masks: PackedMasks, name: str) -> np.ndarray:
    """Return the (H, W) bool mask of a label, empty if the label is not in the set."""
    known = name in masks.labels.names
    return (
        masks.select(masks.labels.index(name)).unpack().any(axis=0)
        if known
        else np.zeros(masks.shape[1:], bool)
    )


def _large_parts(masks: PackedMasks, name: str) -> np.ndarray:
    """Return the (H, W) bool mask of a label without parts that are small beside its largest
    one.
    """
    plane = _plane(masks, name)
    _, parts, found, _ = cv2.connectedComponentsWithStats(plane.view(np.uint8), connectivity=8)
    pixels = found[:, cv2.CC_STAT_AREA] * (np.arange(len(found)) > 0)  # part 0 is what is outside
    return (pixels * _SMALL >= max(1, pixels.max()))[parts]


def _bounds(flags: np.ndarray) -> tuple[int, int]:
    """Return the first edge and the last of what is True in a line of pixels."""
    places = np.flatnonzero(flags)
    return int(places[0]), int(places[-1]) + 1


def _height(mask: np.ndarray) -> Line | None:
    if not mask.any():
        return None
    top, bottom = _bounds(mask.any(axis=1))
    column = np.nonzero(mask)[1].mean() + 0.5
    return Line((top, column), (bottom, column))


def _extent(mask: np.ndarray) -> Line | None:
    if not mask.any():
        return None
    left, right = _bounds(mask.any(axis=0))
    row = np.nonzero(mask)[0].mean() + 0.5
    return Line((row, left), (row, right))


def _widest_row(mask: np.ndarray) -> Line:
    rows = np.flatnonzero(mask.any(axis=1))
    bounds = [_bounds(mask[row]) for row in rows]
    row, (left, right) = max(
        zip(rows.tolist(), bounds, strict=True), key=lambda found: found[1][1] - found[1][0]
    )
    return Line((row + 0.5, left), (row + 0.5, right))


def spine_line(masks: PackedMasks) -> np.ndarray | None:
    """Return (slope, intercept) of the spine's centre line, column = slope * row + intercept in
    pixel edges; None without a spine."""
    spine = _large_parts(masks, "spine")
    rows = np.flatnonzero(spine.any(axis=1))
    if len(rows) < 2:
        return None
    centres = (spine[rows] * (np.arange(spine.shape[1]) + 0.5)).sum(axis=1) / spine[rows].sum(
        axis=1
    )
    return np.polyfit(rows + 0.5, centres, 1)


def _distances_to_spine(masks: PackedMasks, heart: np.ndarray) -> dict[str, Line | None]:
    line = spine_line(masks)
    if line is None:
        return {}
    airways = _large_parts(masks, "airways")
    if airways.any():
        top, bottom = _bounds(airways.any(axis=1))
        airways[-(-(top + bottom) // 2) :] = False
    points = {
        "heart": _centroid(heart),
        "airways": _centroid(airways),
        "ribs": _middle_of_ribs(masks),
    }
    return {
        f"{name}_to_spine": Line((point[0], float(np.polyval(line, point[0]))), point)
        for name, point in points.items()
        if point is not None
    }


def _centroid(mask: np.ndarray) -> tuple[float, float] | None:
    return tuple(float(axis.mean()) + 0.5 for axis in np.nonzero(mask)) if mask.any() else None


def _middle_of_ribs(masks: PackedMasks) -> tuple[float, float] | None:
    middles = []
    for number in range(2, 7):
        ends = [
            _centroid(_large_parts(masks, f"rib_{side}_anterior_{number}"))
            for side in ("left", "right")
        ]
        if None not in ends:
            middles.append(np.mean(ends, axis=0))
    return tuple(np.mean(middles, axis=0).tolist()) if middles else None


def _area(masks: PackedMasks, found: Moments, name: str) -> float:
    if name == "lung":
        right, left = _plane(masks, "lung_right"), _plane(masks, "lung_left")
        area = int((right | left).sum()) if right.any() and left.any() else 0
    else:
        area = sum(int(found.areas[i]) for i in _indices(masks, name))
    return float(area) if area else math.nan


def _indices(masks: PackedMasks, name: str) -> list[int]:
    return masks.labels.index(name) if name in masks.labels.names else []


def _ribs_above(masks: PackedMasks, found: Moments, name: str, view: str | None) -> float:
    dome = _large_parts(masks, "hemidiaphragm_right")
    ribs = [
        i for n in _RIBS for i in _indices(masks, f"rib_right_{name.removeprefix('ribs_')}_{n}")
    ]
    if view != "frontal" or not dome.any() or not found.areas[ribs].any():
        return math.nan
    top = _bounds(dome.any(axis=1))[0] / len(dome)
    with np.errstate(invalid="ignore"):  # NaN where a rib is absent
        return float((found.rows[ribs] < top).sum())
