"""Correcting masks by strokes, by rules that the viewer's JavaScript repeats bit for bit.

Coordinates are integers in sixteenths of a pixel: the pixel of column c and row r has its centre at
(16 c + 8, 16 r + 8). All comparisons are exact in 53 bits.

1. Brush. It covers the pixels whose centre is within half its diameter of a segment between two
   consecutive points, the ends included; of one point, those within half its diameter of that.
2. Polygon. It covers the pixels with their centre inside by the even-odd rule: an odd number of
   edges cross the row of the centre strictly right of it. An edge counts in rows from its upper
   end, which is included, to its lower end, which is not.
3. Hole. The pixels that are not the label's and are connected to a point by their four sides,
   unless they reach the border of the image.
4. Piece. The pixels of the label that are connected to a point by sides and corners.

`add` gives the pixels to the label and to its wholes, `erase` takes them from the label and from
its parts; `copy` does both, so that the label is the prediction's. `fill` adds the hole at a point.
`rename` moves the piece at a point to another label: its parts go to the parts of the other in
their order, if these are as many, and a whole keeps a pixel only if one of its parts still has it.
Without `tree`, wholes and parts stay as they are. A label that is not known never gets a pixel.
`known` says whether a label is annotated in the image; one that is not is empty.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_mask
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.errors import check_choice

UNIT = 16  # of a pixel
MAX_SIZE = MAX_STEP = 4096  # of a brush, and between two of its points: keeps products in 53 bits
MAX_POINTS, MAX_PLACE = 100_000, 2**20
MAX_UNDO = 100
MODES = ("add", "erase", "fill", "copy", "rename", "known", "undo", "redo")
SHAPES = ("brush", "polygon")

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Stroke:
    """One correction.

    Attributes
    ----------
    label : index of the label that is corrected
    mode, shape : one of `MODES`; one of `SHAPES`, of add and erase
    points : (n, 2) int64, x and y in sixteenths of a pixel
    size : diameter of the brush, in sixteenths of a pixel
    tree : whether wholes and parts follow
    to : of rename, the label that the piece gets
    value : of known, whether the label is annotated
    """

    label: int
    mode: str
    shape: str
    points: np.ndarray
    size: int
    tree: bool
    to: int
    value: bool

    @classmethod
    def read(cls, record: Mapping[str, Any], labels: int) -> "Stroke":
        """Return the stroke of a record, of masks with so many labels, or raise ValueError."""
        mode, shape = record.get("mode", ""), record.get("shape", "brush")
        check_choice(mode, MODES, "mode of a stroke")
        check_choice(shape, SHAPES, "shape of a stroke")
        numbers = {name: record.get(name, 0) for name in ("label", "to")}
        size = record.get("size", UNIT)
        for name, number, most in (
            *((name, number, labels - 1) for name, number in numbers.items()),
            ("size", size, MAX_SIZE),
        ):
            if type(number) is not int or not (name == "size") <= number <= most:
                raise ValueError(f"stroke: {name} {number!r} is not a whole number up to {most}")
        points = _read_points(record.get("points", []), mode, shape)
        tree, value = (record.get(name, True) for name in ("tree", "value"))
        if type(tree) is not bool or type(value) is not bool:
            raise ValueError(f"stroke: tree {tree!r} and value {value!r} must be true or false")
        return cls(numbers["label"], mode, shape, points, size, tree, numbers["to"], value)


def _read_points(values: Any, mode: str, shape: str) -> np.ndarray:
    """Return (n, 2) int64 points as a mode and shape need them, or raise ValueError."""
    pairs = isinstance(values, Sequence) and all(
        isinstance(v, Sequence) and len(v) == 2 and all(type(n) is int for n in v) for v in values
    )
    if not pairs or len(values) > MAX_POINTS:
        raise ValueError(f"stroke: points must be at most {MAX_POINTS} pairs of whole numbers")
    if any(abs(n) > MAX_PLACE for pair in values for n in pair):
        raise ValueError(f"stroke: a point is beyond {MAX_PLACE} sixteenths of a pixel")
    points = np.array(values, np.int64).reshape(-1, 2)
    if not len(points) and mode in ("add", "erase", "fill", "rename"):
        raise ValueError(f"stroke: {mode} needs points")
    steps = (np.diff(points, axis=0) ** 2).sum(axis=1)
    if mode in ("add", "erase") and shape == "brush" and (steps > MAX_STEP**2).any():
        raise ValueError(f"stroke: points of a brush are more than {MAX_STEP} sixteenths apart")
    return points


# -- the pixels of a shape


def brush(points: np.ndarray, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool pixels that a brush covers (rule 1)."""
    covered = np.zeros(shape, bool)
    starts = points[:-1] if len(points) > 1 else points
    for (px, py), (qx, qy) in zip(starts, points[1:] if len(points) > 1 else points, strict=True):
        low_x, high_x = _span(min(px, qx), max(px, qx), size, shape[1])
        low_y, high_y = _span(min(py, qy), max(py, qy), size, shape[0])
        x = UNIT * np.arange(low_x, high_x) + UNIT // 2 - px
        y = (UNIT * np.arange(low_y, high_y) + UNIT // 2 - py)[:, None]
        dx, dy = qx - px, qy - py
        along, length = x * dx + y * dy, dx * dx + dy * dy
        to_start, to_end = x * x + y * y, (x - dx) ** 2 + (y - dy) ** 2
        near_line = 4 * (x * dy - y * dx) ** 2 <= size * size * length
        inside = np.where(along >= length, 4 * to_end <= size * size, near_line)
        inside = np.where(along <= 0, 4 * to_start <= size * size, inside)
        covered[low_y:high_y, low_x:high_x] |= inside
    return covered


def _span(low: int, high: int, size: int, count: int) -> tuple[int, int]:
    """Return the pixels of a row or column, first and behind the last, that may be covered."""
    first, last = (low - size) // UNIT - 1, (high + size) // UNIT + 2
    return max(0, min(count, first)), max(0, min(count, last))


def polygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool pixels inside a closed polygon (rule 2)."""
    height, width = shape
    crossings = np.zeros((height, width + 1), np.int64)  # at k: pixels left of k are left of it
    for (px, py), (qx, qy) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if py > qy:
            px, py, qx, qy = qx, qy, px, py
        rows = np.arange(max(0, -(-(py - UNIT // 2) // UNIT)), height)
        y = UNIT * rows + UNIT // 2
        rows, y = rows[y < qy], y[y < qy]
        down = qy - py
        across = px * down + (y - py) * (qx - px)  # times `down`: where the edge crosses the row
        before = -(-(across - UNIT // 2 * down) // (UNIT * down)) if down else y
        crossings[rows, np.clip(before, 0, width)] += 1
    return crossings[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:] % 2 == 1


def hole(mask: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the (H, W) bool hole of a mask at a point (rule 3); empty if there is none."""
    found = _connected(~mask, point, ndimage.generate_binary_structure(2, 1))
    edge = found[0].any() or found[-1].any() or found[:, 0].any() or found[:, -1].any()
    return np.zeros_like(mask) if edge else found


def piece(mask: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the (H, W) bool piece of a mask at a point (rule 4); empty if there is none."""
    return _connected(mask, point, np.ones((3, 3), bool))


def _connected(mask: np.ndarray, point: np.ndarray, structure: np.ndarray) -> np.ndarray:
    column, row = (int(n) // UNIT for n in point)
    if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and mask[row, column]):
        return np.zeros_like(mask)
    numbers, _ = ndimage.label(mask, structure)
    return numbers == numbers[row, column]


# -- what becomes of the labels there


class MaskEditor:
    """Masks that strokes change, with undo.

    Parameters
    ----------
    masks : PackedMasks
        They are copied.
    prediction : PackedMasks of the same labels and size, optional
        What `copy` copies.
    """

    def __init__(self, masks: PackedMasks, prediction: PackedMasks | None = None):
        self.labels: LabelSet = masks.labels
        self._data, self._known = masks.data.copy(), masks.known.copy()
        self._prediction = prediction
        self._done: list[tuple[Stroke, Box, bytes, np.ndarray]] = []
        self._undone: list[Stroke] = []

    @property
    def masks(self) -> PackedMasks:
        """The masks as they are now, a copy."""
        return PackedMasks(self._data.copy(), self.labels).knowing(self._known.copy())

    def apply(self, record: Mapping[str, Any]) -> None:
        """Apply the record of a stroke (see `Stroke.read`), undo or redo.

        Of undo at most `MAX_UNDO` steps are kept; where there is none left nothing happens.
        """
        stroke = Stroke.read(record, len(self.labels))
        if stroke.mode == "undo":
            self._undo()
        elif stroke.mode == "redo":
            if self._undone:
                self._draw(self._undone.pop())
        else:
            self._undone.clear()
            self._draw(stroke)

    def _undo(self) -> None:
        if self._done:
            stroke, box, before, self._known = self._done.pop()
            block = np.frombuffer(zlib.decompress(before), np.uint8)
            self._data[box] = block.reshape(self._data[box].shape)
            self._undone.append(stroke)

    def _draw(self, stroke: Stroke) -> None:
        known = self._known.copy()
        before = self._data.copy()
        self._change(stroke)
        changed = (before != self._data).any(axis=2)
        box = (_extent(changed.any(axis=1)), _extent(changed.any(axis=0)))
        block = zlib.compress(np.ascontiguousarray(before[box]).tobytes(), 1)
        self._done = [*self._done, (stroke, box, block, known)][-MAX_UNDO:]

    def _change(self, stroke: Stroke) -> None:
        label, mode, size = stroke.label, stroke.mode, self._data.shape[:2]
        if mode == "known":
            self._known[label] = stroke.value
            if not stroke.value:
                self._data &= ~byte_mask([label], self._data.shape[2])
        elif not self._known[label]:
            return
        elif mode in ("add", "erase"):
            is_brush = stroke.shape == "brush"
            points = stroke.points
            covered = brush(points, stroke.size, size) if is_brush else polygon(points, size)
            (self._add if mode == "add" else self._erase)(label, covered, stroke.tree)
        elif mode == "fill":
            self._add(label, hole(self._plane(label), stroke.points[0]), stroke.tree)
        elif mode == "rename" and self._known[stroke.to] and stroke.to != label:
            self._rename(label, stroke.to, piece(self._plane(label), stroke.points[0]), stroke.tree)
        elif mode == "copy" and self._prediction is not None:
            found = self._prediction.data[..., label // 8] >> label % 8 & 1 == 1
            self._add(label, found, stroke.tree)
            self._erase(label, ~found, stroke.tree)

    def _plane(self, label: int) -> np.ndarray:
        return self._data[..., label // 8] >> label % 8 & 1 == 1

    def _set(self, labels: set[int]) -> np.ndarray:
        return byte_mask([i for i in labels if self._known[i]], self._data.shape[2])

    def _add(self, label: int, covered: np.ndarray, tree: bool) -> None:
        wholes = all_of(self.labels.parents, label) if tree else set()
        self._data[covered] |= self._set({label} | wholes)

    def _erase(self, label: int, covered: np.ndarray, tree: bool) -> None:
        parts = all_of(self.labels.children, label) if tree else set()
        self._data[covered] &= ~self._set({label} | parts)

    def _rename(self, label: int, to: int, covered: np.ndarray, tree: bool) -> None:
        pixels = self._data[covered]  # (n, B), a copy
        wholes, parts = self.labels.parents, self.labels.children
        old_parts, new_parts = (sorted(all_of(parts, i)) if tree else [] for i in (label, to))
        new = pixels & ~self._set({label, *old_parts})
        new |= self._set({to} | (all_of(wholes, to) if tree else set()))
        if tree:
            if len(old_parts) == len(new_parts):
                for old, other in zip(old_parts, new_parts, strict=True):
                    held = (pixels & byte_mask([old], pixels.shape[1])).any(axis=1)
                    new[held] |= self._set({other} | all_of(wholes, other))
            leaving = set().union(*(all_of(wholes, i) for i in (label, *old_parts)))
            leaving -= {to, label, *old_parts}
            for whole in sorted(leaving, key=lambda i: (-len(all_of(wholes, i)), i)):
                held = (new & byte_mask(all_of(parts, whole), new.shape[1])).any(axis=1)
                new[~held] &= ~self._set({whole})
        self._data[covered] = new


def all_of(relatives: Sequence[Sequence[int]], label: int) -> set[int]:
    """Return the relatives of a label, their relatives, and so on: all wholes, or all parts."""
    direct = set(relatives[label])
    return direct.union(*(all_of(relatives, i) for i in direct))


def _extent(changed: np.ndarray) -> slice:
    """Return the slice from the first to the last True; an empty one if there is none."""
    places = np.flatnonzero(changed)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)
