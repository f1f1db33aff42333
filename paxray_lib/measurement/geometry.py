"""Measurements in masks of a chest X-ray; `definitions` says what each of them is.

Widths are horizontal and heights vertical, from the first to the last pixel. So that a few stray
pixels do not move them, everything but areas is measured in the large parts of a mask: those of its
8-connected parts, per lung, that have at least a tenth of the pixels of the largest one. A
measurement is NaN where its anatomy is missing; all but areas and heights are NaN unless the view
is frontal.

None of this is a finding. The masks are projections of whole organs, so that a lung reaches below
the dome of its diaphragm, and the thorax is measured by the lungs.

Masks that were enlarged repeat their rows and columns. All is measured in those that differ from
the one before, each with its number of pixels: with the same result, in a fraction of the memory.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from paxray_lib.masks import PackedMasks

WIDTHS = ("heart_width", "thorax_width", "heart_to_spine", "airways_to_spine", "ribs_to_spine")
HEIGHTS = ("heart_height", "lung_right_height", "lung_left_height")
AREAS = ("heart_area", "lung_right_area", "lung_left_area", "lung_area")
COUNTS = ("ribs_anterior", "ribs_posterior")

_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"} | {n: f"{n}th" for n in range(4, 13)}
# the names of CXAS for ours, where they differ; of its airways it has the trachea alone
_OF_CXAS = {
    "lung_right": "right lung",
    "lung_left": "left lung",
    "airways": "trachea",
    "hemidiaphragm_right": "right hemidiaphragm",
} | {
    f"rib_{side}_{part}_{number}": f"{part} {ordinal} rib {side}"
    for side in ("left", "right")
    for part in ("anterior", "posterior")
    for number, ordinal in _ORDINALS.items()
}

Point = tuple[float, float]  # row and column, as pixel edges
Box = tuple[slice, slice]  # rows and columns
Line = tuple[Point, Point]  # a measured distance, from start to end
_BLOCK = 16  # pixels of rows or columns that are compared at a time


@dataclass(frozen=True)
class _Thinned:
    """Masks without rows and columns that are equal to the one before.

    `masks` are (L, h, w); `rows` (h + 1,) and `columns` (w + 1,) int64 are the edges of what
    remains, in pixels of the whole masks.
    """

    masks: PackedMasks
    rows: np.ndarray
    columns: np.ndarray

    def find(self, name: str) -> list[int]:
        """Return the indices of a label, by the name that `LABELS` or CXAS has for it."""
        return self.masks.labels.find(name) or self.masks.labels.find(_OF_CXAS.get(name, name))

    def mask(self, name: str) -> np.ndarray:
        """Return the (h, w) bool mask of a label, empty if the label is not in the set."""
        mask = np.zeros(self.masks.shape[1:], bool)
        for index in self.find(name):
            mask |= self.plane(index)
        return mask

    def plane(self, index: int) -> np.ndarray:
        """Return the (h, w) bool mask of one of the labels."""
        return self.masks.data[..., index // 8] & np.uint8(1 << index % 8) != 0

    def large_parts(self, name: str) -> np.ndarray:
        """Return the (h, w) bool mask of a label without its small parts."""
        mask = self.mask(name)
        box = _box(mask)
        _, parts = cv2.connectedComponents(mask[box].view(np.uint8), connectivity=8)
        sizes = np.multiply.outer(*map(np.diff, self.edges(box)))  # pixels of each element
        pixels = np.bincount(parts.ravel(), sizes.ravel())
        pixels[0] = 0  # what is outside
        mask[box] = (pixels * 10 >= max(1, pixels.max()))[parts]  # of the largest: chosen by eye
        return mask

    def edges(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges of rows and of columns in a box."""
        rows, columns = box
        return self.rows[rows.start : rows.stop + 1], self.columns[columns.start : columns.stop + 1]

    def area(self, mask: np.ndarray) -> float:
        """Return the pixels of a (h, w) mask."""
        box = _box(mask)
        heights, widths = map(np.diff, self.edges(box))
        return float(heights @ mask[box].astype(np.float64) @ widths)

    def bounds(self, mask: np.ndarray, axis: int) -> tuple[int, int]:
        """Return the first and the last edge of a mask, which is not empty, along an axis."""
        edges = self.edges(_box(mask))[axis]
        return int(edges[0]), int(edges[-1])

    def centroid(self, mask: np.ndarray, bottom: int | None = None) -> Point | None:
        """Return (row, column) in pixel edges, above the row `bottom`; None for an empty mask."""
        box = _box(mask)
        rows, columns = self.edges(box)
        rows = rows if bottom is None else np.minimum(rows, bottom)
        heights, widths = np.diff(rows), np.diff(columns)
        part = mask[box].astype(np.float64)  # exact, and many times faster than whole numbers
        by_row, by_column = part @ widths, heights @ part  # pixels of each, in a line of pixels
        area = float(heights @ by_row)
        if not area:
            return None
        return float(by_row @ _sums(rows)) / area + 0.5, float(
            by_column @ _sums(columns)
        ) / area + 0.5


def _box(mask: np.ndarray) -> Box:
    """Return the rows and columns of a (h, w) bool mask; those of one pixel if it is empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + max(1, height)), slice(left, left + max(1, width))


def _thinned(masks: PackedMasks) -> _Thinned:
    data, (height, width) = masks.data, masks.shape[1:]
    rows = _starts(data)
    data = data[rows] if len(rows) < height else data
    columns = _starts(data.swapaxes(0, 1))
    thin = PackedMasks(data[:, columns] if len(columns) < width else data, masks.labels)
    return _Thinned(thin, np.append(rows, height), np.append(columns, width))


def _starts(data: np.ndarray) -> np.ndarray:
    """Return the indices along the first axis of (N, M, B) data that differ from the one before."""
    same = np.arange(1, len(data))
    for left in range(0, data.shape[1], _BLOCK):  # most differ in the first blocks
        block = data[:, left : left + _BLOCK]
        same = same[(block[same] == block[same - 1]).all((1, 2))]
    return np.delete(np.arange(len(data)), same)


def _sums(edges: np.ndarray) -> np.ndarray:
    """Return the sum of the indices of the pixels between neighbouring edges."""
    lengths = np.diff(edges)
    return lengths * edges[:-1] + lengths * (lengths - 1) // 2


def measure(
    masks: PackedMasks, view: str | None, spacing_mm: tuple[float, float] | None = None
) -> dict[str, float]:
    """Return all measurements of one image, as `definitions` has them.

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
    thin = _thinned(masks)
    pixels = dict.fromkeys((*WIDTHS, *HEIGHTS), math.nan)
    for name, (start, end) in _lines(thin, view).items():
        axis = 0 if name in HEIGHTS else 1
        pixels[name] = end[axis] - start[axis]  # a width to the left is negative
    pixels |= _areas(thin)
    row, column = spacing_mm or (math.nan, math.nan)
    return {
        "ctr": pixels["heart_width"] / pixels["thorax_width"],
        **_count_ribs(thin, view),
        **{f"{name}_px": value for name, value in pixels.items()},
        **{f"{name}_mm": pixels[name] * column for name in WIDTHS},
        **{f"{name}_mm": pixels[name] * row for name in HEIGHTS},
        **{f"{name}_mm2": pixels[name] * row * column for name in AREAS},
    }


def find_lines(masks: PackedMasks, view: str | None) -> dict[str, Line]:
    """Return the line of each width and height that can be measured; widths only if frontal."""
    return _lines(_thinned(masks), view)


def spine_line(masks: PackedMasks) -> np.ndarray | None:
    """Return (slope, intercept) of the spine's centre line; None without a spine.

    column = slope * row + intercept, in pixel edges.
    """
    return _spine(_thinned(masks))


def _lines(thin: _Thinned, view: str | None) -> dict[str, Line]:
    heart, right, left = map(thin.large_parts, ("heart", "lung_right", "lung_left"))
    lines = {
        "heart_height": _span(thin, heart, 0),
        "lung_right_height": _span(thin, right, 0),
        "lung_left_height": _span(thin, left, 0),
    }
    if view == "frontal":
        lines["heart_width"] = _span(thin, heart, 1)
        both = right.any() and left.any()
        lines["thorax_width"] = _widest_row(thin, right | left) if both else None
        lines |= _distances_to_spine(thin, heart)
    return {name: line for name, line in lines.items() if line is not None}


def _spine(thin: _Thinned) -> np.ndarray | None:
    spine, widths = thin.large_parts("spine"), np.diff(thin.columns)
    is_there = spine.any(axis=1)
    lengths = np.diff(thin.rows)[is_there]
    if lengths.sum() < 2:
        return None
    centres = spine[is_there] @ (_sums(thin.columns) + widths / 2) / (spine[is_there] @ widths)
    rows = np.flatnonzero(np.repeat(is_there, np.diff(thin.rows)))
    return np.polyfit(rows + 0.5, np.repeat(centres, lengths), 1)


def _span(thin: _Thinned, mask: np.ndarray, axis: int) -> Line | None:
    """Return the line along an axis, through the centroid, from the first to the last pixel."""
    centre = thin.centroid(mask)
    if centre is None:
        return None
    start, end = thin.bounds(mask, axis)
    row, column = centre
    return ((start, column), (end, column)) if axis == 0 else ((row, start), (row, end))


def _widest_row(thin: _Thinned, mask: np.ndarray) -> Line:
    """Return the line in the first of the rows whose outer pixels are farthest apart."""
    left = thin.columns[mask.argmax(axis=1)]
    right = thin.columns[mask.shape[1] - mask[:, ::-1].argmax(axis=1)]
    place = int(((right - left) * mask.any(axis=1)).argmax())
    row = int(thin.rows[place]) + 0.5
    return (row, int(left[place])), (row, int(right[place]))


def _distances_to_spine(thin: _Thinned, heart: np.ndarray) -> dict[str, Line | None]:
    line = _spine(thin)
    if line is None:
        return {}
    airways = thin.large_parts("airways")
    middle = -(-sum(thin.bounds(airways, 0)) // 2) if airways.any() else 0
    points = {
        "heart": thin.centroid(heart),
        "airways": thin.centroid(airways, bottom=middle),
        "ribs": _middle_of_ribs(thin),
    }
    return {
        f"{name}_to_spine": ((point[0], float(np.polyval(line, point[0]))), point)
        for name, point in points.items()
        if point is not None
    }


def _middle_of_ribs(thin: _Thinned) -> Point | None:
    middles = []
    for number in range(2, 7):
        left, right = (
            thin.centroid(thin.large_parts(f"rib_{side}_anterior_{number}"))
            for side in ("left", "right")
        )
        if left and right:
            middles.append(np.mean([left, right], axis=0))
    return tuple(np.mean(middles, axis=0).tolist()) if middles else None


def _areas(thin: _Thinned) -> dict[str, float]:
    heart, right, left = map(thin.mask, ("heart", "lung_right", "lung_left"))
    lungs = (right | left) & (right.any() and left.any())
    areas = map(thin.area, (heart, right, left, lungs))
    return dict(zip(AREAS, [area or math.nan for area in areas], strict=True))


def _count_ribs(thin: _Thinned, view: str | None) -> dict[str, float]:
    """Return the right ribs whose centroid is above the dome of the hemidiaphragm, per part."""
    dome = thin.large_parts("hemidiaphragm_right")
    counts = dict.fromkeys(COUNTS, math.nan)
    if view != "frontal" or not dome.any():
        return counts
    top = thin.bounds(dome, 0)[0]
    for name in COUNTS:
        part = name.removeprefix("ribs_")
        ribs = [i for n in range(1, 13) for i in thin.find(f"rib_right_{part}_{n}")]
        centres = [centre for i in ribs if (centre := thin.centroid(thin.plane(i)))]
        if centres:
            counts[name] = float(sum(row < top for row, _ in centres))
    return counts
