"""Stray pieces of a label: found in the decisions at a network's resolution.

One stray pixel of the heart beside the chest moves the cardiothoracic ratio. A piece, 8-connected,
is stray if it has less than a tenth of the pixels of the label's largest one: the measure of
`measurement.geometry`. In true masks, of phantoms and of a real CT, that is a hundredth of a
label's pixels at most (benchmarks/LOG.md), but for the labels of many pieces, which stay as they
are. So do labels that `LABELS` does not have: nobody knows in how many pieces those come.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from paxray_lib.labels.table import LABELS

_MANY_PIECES = {"lung_left_vessel", "lung_right_vessel", "ribs", "spine", "bones"}
_CLEANED = set(LABELS.names) - _MANY_PIECES
_SHARE = 10  # a tenth of the largest: chosen by eye


def find_strays(
    bits: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (label, rows, columns), the stray pixels of each label that has some.

    `bits` are (h, w, B) uint8 packed bits of the labels `names`; rows and columns are (n,) int64.
    """
    by_row, by_column = (np.bitwise_or.reduce(bits, axis=axis) for axis in (1, 0))  # (h or w, B)
    for i, name in enumerate(names):
        byte, bit = i // 8, np.uint8(1 << i % 8)
        rows = np.flatnonzero(by_row[:, byte] & bit)
        if name not in _CLEANED or not len(rows):
            continue
        columns = np.flatnonzero(by_column[:, byte] & bit)
        top, left = rows[0], columns[0]
        box = bits[top : rows[-1] + 1, left : columns[-1] + 1, byte] & bit
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(box, connectivity=8)
        pixels = stats[:, cv2.CC_STAT_AREA]
        is_stray = pixels * _SHARE < pixels[1:].max()
        is_stray[0] = False  # what is outside
        if count > 2 and is_stray.any():
            down, across = np.nonzero(is_stray[pieces])
            yield i, down + top, across + left
