"""Decisions at an image's own size, from logits enlarged to it.

Bits enlarged to the nearest pixel have steps as wide as a pixel of the network; logits enlarged
bilinearly, half-pixel centres as in `torch.nn.functional.interpolate`, have outlines between them.
Enlarging all would be 1.5 billion logits for 166 labels at 3000 x 3000. But bilinear values lie
between their neighbours: a label can only be where one of them is above the threshold, so each is
enlarged in the rectangle around those, one pixel wider. No more than a block of rows of one label
is enlarged at a time.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from paxray_lib.masks.bits import byte_count

_BLOCK = 1 << 19  # pixels


def pack_enlarged(
    planes: Sequence[Tensor], bits: np.ndarray, cut: float, size: tuple[int, int]
) -> Tensor:
    """Return the packed bits (H, W, B) uint8 of logits, enlarged to `size`, above `cut`.

    They are on the logits' device. `planes` are the logits (h, w) of each label, `bits` (h, w, B)
    uint8 those above `cut`, packed.
    """
    first, (height, width) = planes[0], size
    down, across = (_Axis(*ends, first) for ends in zip(first.shape, size, strict=True))
    boxes = list(zip(*_ends(bits, len(planes)), strict=True))
    out = torch.empty(height, width, byte_count(len(planes)), dtype=torch.uint8).to(first.device)
    step = max(1, _BLOCK // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        block = out.new_zeros(out.shape[2], bottom - top, width)
        for i, (up, low, left, right) in enumerate(boxes):
            if up > low:
                continue
            (begin, end), (start, stop) = down.span(up, low), across.span(left, right)
            begin, end = max(begin, top), min(end, bottom)
            if begin < end and start < stop:
                values = _enlarge(planes[i], down, across, slice(begin, end), slice(start, stop))
                part = block[i // 8, begin - top : end - top, start:stop]
                part |= (values > cut).byte().bitwise_left_shift_(i % 8)
        out[top:bottom] = block.permute(1, 2, 0)
    return out


class _Axis:
    """From which two pixels, `low` and `high`, and at which `weight` of the second, each comes."""

    def __init__(self, source: int, target: int, like: Tensor):
        centres = (np.arange(target) + 0.5) * source / target - 0.5
        centres = centres.clip(0, source - 1)
        self._low = centres.astype(np.int64)  # on the CPU, for `span`
        self._high = (self._low + 1).clip(max=source - 1)
        self.low, self.high = (torch.from_numpy(i).to(like.device) for i in (self._low, self._high))
        self.weight = torch.from_numpy(centres - self._low).to(like)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the range of pixels that come from pixels `first` to `last` at least in part."""
        start, stop = self._high.searchsorted(first), self._low.searchsorted(last, side="right")
        return int(start), int(stop)

    def source(self, pixels: slice) -> slice:
        """Return which pixels a range of pixels comes from."""
        return slice(int(self._low[pixels.start]), int(self._high[pixels.stop - 1]) + 1)


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


def _enlarge(plane: Tensor, down: _Axis, across: _Axis, rows: slice, columns: slice) -> Tensor:
    """Return some rows and columns of an enlarged plane (h, w)."""
    upper, left = down.source(rows), across.source(columns)
    band = plane[upper, left].contiguous()  # of logits that are channels-last, no more than that
    # across first: there are fewer rows yet
    low, high = across.low[columns] - left.start, across.high[columns] - left.start
    band = band[:, low].lerp_(band[:, high], across.weight[columns])
    low, high = down.low[rows] - upper.start, down.high[rows] - upper.start
    return band[low].lerp_(band[high], down.weight[rows, None])
