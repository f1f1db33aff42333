"""Measurements once more, pixel by pixel in whole masks: the oracle of `measurement.geometry`."""

import math

import numpy as np
from scipy import ndimage

RIBS = [f"rib_right_{part}_{n}" for part in ("anterior", "posterior") for n in range(1, 13)]
RIBS += [f"rib_left_anterior_{n}" for n in range(2, 7)]
USED = ["heart", "lung_right", "lung_left", "spine", "airways", "hemidiaphragm_right", *RIBS]


def large_parts(mask):
    """Return the 8-connected parts with a tenth of the pixels of the largest one."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = [(parts == number).sum() for number in range(1, count + 1)]
    kept = [number for number, size in enumerate(sizes, 1) if 10 * size >= max(sizes)]
    return np.isin(parts, kept)


def centroid(mask, bottom=None):
    rows, columns = np.nonzero(mask[:bottom])
    if not len(rows):
        return None
    return float(rows.sum() / len(rows) + 0.5), float(columns.sum() / len(columns) + 0.5)


def span(mask, axis):
    places = np.nonzero(mask)[axis]
    start, end, (row, column) = int(places.min()), int(places.max()) + 1, centroid(mask)
    return ((start, column), (end, column)) if axis == 0 else ((row, start), (row, end))


def widest_row(mask):
    ends = [(row, np.flatnonzero(mask[row])) for row in range(len(mask)) if mask[row].any()]
    row, columns = max(ends, key=lambda end: end[1][-1] - end[1][0])  # the first of them
    return (row + 0.5, int(columns[0])), (row + 0.5, int(columns[-1]) + 1)


def spine_line(spine):
    rows = [row for row in range(len(spine)) if spine[row].any()]
    centres = [(np.flatnonzero(spine[row]) + 0.5).sum() / spine[row].sum() for row in rows]
    return np.polyfit(np.array(rows) + 0.5, centres, 1) if len(rows) > 1 else None


def slow_lines(masks):
    """Return what `find_lines` of a frontal film must return, to the last digit."""
    large = {name: large_parts(masks.union(name)) for name in USED}
    heart, right, left, airways = (large[name] for name in (*USED[:3], "airways"))
    lines = {f"{name}_height": span(large[name], 0) for name in USED[:3] if large[name].any()}
    if heart.any():
        lines["heart_width"] = span(heart, 1)
    if right.any() and left.any():
        lines["thorax_width"] = widest_row(right | left)
    line = spine_line(large["spine"])
    if line is None:
        return lines
    points = {"heart": centroid(heart), "airways": None}
    if airways.any():
        (top, _), (bottom, _) = span(airways, 0)
        points["airways"] = centroid(airways, math.ceil((top + bottom) / 2))
    ribs = [[large[f"rib_{side}_anterior_{n}"] for side in ("left", "right")] for n in range(2, 7)]
    middles = [np.mean([centroid(a), centroid(b)], axis=0) for a, b in ribs if a.any() and b.any()]
    points["ribs"] = tuple(np.mean(middles, axis=0).tolist()) if middles else None
    ends = {name: point for name, point in points.items() if point}
    return lines | {
        f"{name}_to_spine": ((end[0], float(np.polyval(line, end[0]))), end)
        for name, end in ends.items()
    }


def slow_counts(masks):
    """Return the areas and the numbers of ribs that `measure` must return."""
    heart, right, left = (masks.union(name) for name in USED[:3])
    both = (right | left) & (right.any() and left.any())
    areas = dict(zip((*USED[:3], "lung"), (heart, right, left, both), strict=True))
    counts = {
        f"{name}_area_px": float(m.sum()) if m.any() else math.nan for name, m in areas.items()
    }
    dome = large_parts(masks.union("hemidiaphragm_right"))
    for part in ("anterior", "posterior"):
        ribs = [masks.union(f"rib_right_{part}_{n}") for n in range(1, 13)]
        rows = [centroid(rib)[0] for rib in ribs if rib.any()]
        there = dome.any() and rows
        top = np.nonzero(dome)[0].min() if there else 0
        counts[f"ribs_{part}"] = float(sum(row < top for row in rows)) if there else math.nan
    return counts
