"""Decisions at an image's own size, from logits enlarged to it.

Bits enlarged to the nearest pixel have steps as wide as a pixel of the network; logits enlarged
bilinearly, half-pixel centres as in `torch.nn.functional.interpolate`, have outlines between them.
Enlarging all would be 1.5 billion logits for 166 labels at 3000 x 3000. But bilinear values lie
between their neighbours: a label can only be where one of them is above the threshold, so each is
enlarged in the rectangle around those, one pixel wider. No more than a block of rows of one label
is enlarged at a time.
"""

import torch
from torch import Tensor

from paxray_lib.masks.bits import byte_count

_BLOCK = 1 << 19  # pixels


def pack_enlarged(logits: Tensor, cut: float, size: tuple[int, int]) -> Tensor:
    """Return the packed bits (H, W, B) uint8 of logits (L, h, w), enlarged to `size`, above `cut`.

    They are on the logits' device.
    """
    labels, (height, width) = len(logits), size
    logits = logits.contiguous()
    down, across = (_Axis(*ends, logits) for ends in zip(logits.shape[1:], size, strict=True))
    boxes = [ends.tolist() for ends in _ends(logits > cut)]
    out = torch.empty(height, width, byte_count(labels), dtype=torch.uint8, device=logits.device)
    step = max(1, _BLOCK // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        planes = out.new_zeros(out.shape[2], bottom - top, width)
        for i, (up, low, left, right) in enumerate(zip(*boxes, strict=True)):
            if up > low:
                continue
            (first, end), (start, stop) = down.span(up, low), across.span(left, right)
            first, end = max(first, top), min(end, bottom)
            if first < end:
                bits = _enlarge(logits[i], down, across, slice(first, end), slice(start, stop))
                part = planes[i // 8, first - top : end - top, start:stop]
                part |= (bits > cut).byte().bitwise_left_shift_(i % 8)
        out[top:bottom] = planes.permute(1, 2, 0)
    return out


class _Axis:
    """From which two pixels, `low` and `high`, and at which `weight` of the second, each comes."""

    def __init__(self, source: int, target: int, like: Tensor):
        centres = (torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5
        centres = centres.clamp(0, source - 1)
        self._low = centres.long()  # on the CPU, for `span`
        self._high = (self._low + 1).clamp(max=source - 1)
        self.low, self.high = self._low.to(like.device), self._high.to(like.device)
        self.weight = (centres - self._low).to(like)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the range of pixels that come from pixels `first` to `last` at least in part."""
        start = torch.searchsorted(self._high, first)
        return int(start), int(torch.searchsorted(self._low, last, right=True))


def _ends(above: Tensor) -> tuple[Tensor, ...]:
    """Return first and last row, first and last column, each (L,), of (L, h, w) booleans.

    First is greater than last where none is set.
    """
    ends = []
    for axis in (2, 1):
        line = above.any(axis)  # (L, h) or (L, w)
        places = torch.arange(line.shape[1], device=line.device).expand_as(line)
        ends += [places.where(line, line.shape[1]).amin(1), places.where(line, -1).amax(1)]
    return tuple(ends)


def _enlarge(plane: Tensor, down: _Axis, across: _Axis, rows: slice, columns: slice) -> Tensor:
    """Return some rows and columns of an enlarged plane (h, w)."""
    low, high = down.low[rows], down.high[rows]
    first = int(down._low[rows.start])
    band = plane[first : int(down._high[rows.stop - 1]) + 1]
    # across first: there are fewer rows yet
    band = band[:, across.low[columns]].lerp_(band[:, across.high[columns]], across.weight[columns])
    return band[low - first].lerp_(band[high - first], down.weight[rows, None])
