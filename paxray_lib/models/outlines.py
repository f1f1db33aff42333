"""Logits enlarged, and decisions at an image's own size.

Bits enlarged to the nearest pixel have steps as wide as a pixel of the network; logits enlarged
bilinearly, half-pixel centres as in `torch.nn.functional.interpolate`, have outlines between them.
Enlarging all would be 1.5 billion logits for 166 labels at 3000 x 3000. But bilinear values lie
between their neighbours: a label can only be where one of them is above the threshold, so each is
decided in the rectangle around those, one pixel wider. There, columns are enlarged; down a column
values change from pixel to pixel along a line, and where it crosses the threshold decides on all
that lie between the two. No more than a block of rows is decided at a time.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from paxray_lib.masks.bits import byte_count

_BLOCK = 1 << 19  # pixels


def enlarge(planes: Sequence[np.ndarray] | np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return planes (L, h, w) float32, enlarged bilinearly to `size`, half-pixel centres."""
    out = np.empty((len(planes), *size), np.float32)
    for plane, enlarged in zip(planes, out, strict=True):
        cv2.resize(plane, size[::-1], dst=enlarged, interpolation=cv2.INTER_LINEAR)
    return out


def pack_enlarged(
    planes: Sequence[np.ndarray] | np.ndarray, bits: np.ndarray, cut: float, size: tuple[int, int]
) -> np.ndarray:
    """Return the packed bits (H, W, B) uint8 of logits, enlarged to `size`, above `cut`.

    `planes` are the logits (h, w) of each label, `bits` (h, w, B) uint8 those above `cut`, packed.
    """
    height, width = size
    down, across = map(_Axis, planes[0].shape, size)
    boxes = zip(planes, *_ends(bits, len(planes)), strict=True)
    parts = [_Part(plane, cut, down, across, *ends) for plane, *ends in boxes]
    out = np.empty((height, width, byte_count(len(planes))), np.uint8)
    step = max(1, _BLOCK // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        block = np.zeros((out.shape[2], bottom - top, width), np.uint8)
        for i, part in enumerate(parts):
            part.add_to(block[i // 8], top, i % 8)
        flat = cv2.transpose(block.reshape(len(block), -1))  # four times as fast as NumPy
        out[top:bottom] = flat.reshape(bottom - top, width, -1)
    return out


class _Axis:
    """From which two pixels, `low` and `high`, and at which `weight` of the second, each comes."""

    def __init__(self, source: int, target: int):
        centres = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
        self.low = centres.astype(np.intp)
        self.high = (self.low + 1).clip(max=source - 1)
        self.weight = (centres - self.low).astype(np.float32)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the range of pixels that come from pixels `first` to `last` at least in part."""
        start, stop = self.high.searchsorted(first), self.low.searchsorted(last, side="right")
        return int(start), int(stop)


class _Part:
    """Where one label can be: its rectangle, and where lines down its columns cross `cut`."""

    def __init__(
        self, plane: np.ndarray, cut: float, down: _Axis, across: _Axis, *ends: int
    ) -> None:
        first, last, left, right = ends
        self.top, self.bottom = down.span(first, last) if first <= last else (0, 0)
        if self.top >= self.bottom:
            return
        self._columns = slice(*across.span(left, right))
        upper = int(down.low[self.top])
        self._rows = down.low[self.top : self.bottom] - upper
        self._weights = down.weight[self.top : self.bottom, None]
        band = _columns(plane[upper : down.high[self.bottom - 1] + 1], across, self._columns)
        # of each pixel and the one below it; the last may have none
        change = np.diff(band, axis=0, append=band[-1:])
        with np.errstate(divide="ignore", invalid="ignore"):
            # where nothing changes, it is infinite, or NaN at the cut itself: not above it
            self._crossing = (np.float32(cut) - band) / change
        self._falls = change < 0
        # what lies at the crossing is not above the cut
        before = np.nextafter(self._crossing, np.float32(-np.inf))
        np.copyto(self._crossing, before, where=self._falls)

    def add_to(self, plane: np.ndarray, top: int, bit: int) -> None:
        """Set a bit where the label is, in rows of an image (h, W) uint8 that begin at `top`."""
        begin, end = max(self.top, top), min(self.bottom, top + len(plane))
        if begin >= end:
            return
        within = slice(begin - self.top, end - self.top)
        rows = self._rows[within]
        above = self._weights[within] > self._crossing.take(rows, axis=0)
        above ^= self._falls.take(rows, axis=0)
        values = above.view(np.uint8)
        values <<= np.uint8(bit)
        plane[begin - top : end - top, self._columns] |= values


def _columns(band: np.ndarray, across: _Axis, columns: slice) -> np.ndarray:
    """Return some columns of an enlarged band of rows."""
    values = band.take(across.low[columns], axis=1)
    change = band.take(across.high[columns], axis=1)
    change -= values
    change *= across.weight[columns]
    values += change
    return values


def _ends(bits: np.ndarray, labels: int) -> list[list[int]]:
    """Return first and last row, first and last column, one of each label, of packed bits.

    First is greater than last where none is set.
    """
    ends = []
    for axis in (1, 0):
        line = np.bitwise_or.reduce(bits, axis=axis)  # (h or w, B)
        line = np.unpackbits(line, axis=1, count=labels, bitorder="little").astype(bool)
        some, length = line.any(0), len(line)
        ends += [
            np.where(some, line.argmax(0), length).tolist(),
            np.where(some, length - 1 - line[::-1].argmax(0), -1).tolist(),
        ]
    return ends
