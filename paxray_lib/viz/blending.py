"""The arithmetic behind `overlay`, whose rules it follows to the bit, for all labels at once.

A mean colour needs the number of labels at a pixel and the sums of their colours. One 64-bit word
per pixel holds all four numbers, and a table gives the word of each byte of packed masks: adding
up the words of a few bytes replaces a loop over labels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from paxray_lib.masks import PackedMasks, byte_mask

_COUNT_BITS, _SUM_BITS = 10, 18
_MAX_LABELS = (1 << _COUNT_BITS) - 1
_SHIFTS = np.array([_COUNT_BITS + _SUM_BITS * channel for channel in range(3)], np.uint64)
# (8, 256): which bits each value of a byte has
_BITS = np.arange(256, dtype=np.uint64) >> np.arange(8, dtype=np.uint64)[:, None] & np.uint64(1)
_DASH = 4  # pixels
_BAND = 1 << 20  # pixels, of about 100 bytes each


def bands(
    canvas: np.ndarray, stacks: Iterable[PackedMasks], outline: int
) -> Iterator[tuple[Any, ...]]:
    """Yield (canvas, *stacks) of some rows at a time, to be drawn on: so memory stays bounded.

    An outline is drawn right in them: there are more rows around, which are not kept.
    """
    step = max(1, _BAND // canvas.shape[1] // _DASH) * _DASH
    if len(canvas) <= step:
        yield canvas, *stacks
        return
    around = -(-outline // _DASH) * _DASH  # so that dashes go on
    base = canvas.copy()
    for top in range(0, len(canvas), step):
        first = max(0, top - around)
        rows = slice(first, top + step + around)
        part = base[rows].copy()
        yield part, *(replace(masks, data=masks.data[rows]) for masks in stacks)
        canvas[top : top + step] = part[top - first :][:step]


class Planes(NamedTuple):
    """The bytes of packed masks that hold selected labels.

    data : (B, H, W) uint8; the bits of other labels are cleared.
    tables : (B, 256) uint64; the word of each value of a byte.
    """

    data: np.ndarray
    tables: np.ndarray


def select_planes(masks: PackedMasks, indices: Iterable[int] | None) -> Planes:
    """Return the planes of the labels with these indices, all labels for None.

    An index out of range, or more labels than a word can count, are a ValueError.
    """
    total = len(masks.labels)
    indices = sorted(set(range(total) if indices is None else map(int, indices)))
    if indices and not 0 <= indices[0] <= indices[-1] < total:
        raise ValueError(
            f"label indices {indices[0]}..{indices[-1]} leave the range 0..{total - 1} of these "
            "masks; see LabelSet.select"
        )
    if len(indices) > _MAX_LABELS:
        raise ValueError(
            f"{len(indices)} labels selected, but at most {_MAX_LABELS} can be drawn at once"
        )
    kept = byte_mask(indices, masks.data.shape[2])
    columns = np.flatnonzero(kept)
    data = np.empty((len(columns), *masks.data.shape[:2]), np.uint8)
    for plane, column in zip(data, columns, strict=True):
        np.bitwise_and(masks.data[..., column], kept[column], out=plane)
    words = np.zeros(8 * len(kept), np.uint64)
    words[indices] = word_of(masks.labels.colors[indices])
    return Planes(data, words.reshape(-1, 8)[columns] @ _BITS)


def word_of(colors: np.ndarray) -> np.ndarray:
    """Return the words of one label each, (...) uint64, of colours (..., 3)."""
    return np.uint64(1) + (colors.astype(np.uint64) << _SHIFTS).sum(axis=-1, dtype=np.uint64)


def sum_words(planes: Planes) -> np.ndarray:
    """Return the (H, W) uint64 words: the number of labels at each pixel, and their colour sums."""
    words = np.zeros(planes.data.shape[1:], np.uint64)
    for plane, table in zip(*planes, strict=True):
        # clip: a byte is always in range, and this spares the check
        words += table.take(plane, mode="clip")
    return words


def one_color(data: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return the (H, W) uint64 words where every label in (B, H, W) planes has one colour."""
    return np.bitwise_count(data).sum(axis=0, dtype=np.uint64) * word_of(np.array(color))


def paint(canvas: np.ndarray, words: np.ndarray, alpha: int) -> None:
    """Blend the mean colours of (H, W) words into the (H, W, 3) uint8 canvas: rules 2 and 3."""
    marked = np.flatnonzero(words)
    if not len(marked) or not alpha:
        return
    words = words.ravel()[marked]
    count = (words & np.uint64(_MAX_LABELS)).astype(np.float32)
    pixels = canvas.reshape(-1, 3)
    colors = np.empty((len(marked), 3), np.uint16)
    for channel, shift in enumerate(_SHIFTS):
        total = (words >> shift).astype(np.uint32) & np.uint32((1 << _SUM_BITS) - 1)
        # exact in float32, and faster than integer division: a quotient below an integer stays
        # 1/1023 below it
        mean = (total.astype(np.float32) + np.floor(count * np.float32(0.5))) / count
        colors[:, channel] = mean
    if alpha < 255:
        colors *= np.uint16(alpha)
        colors += pixels[marked] * np.uint16(255 - alpha) + np.uint16(127)  # at most 65152
        # colors // 255, exact below 65535
        colors += np.uint16(1) + (colors >> 8)
        colors >>= 8
    pixels[marked] = colors


def draw_outlines(canvas: np.ndarray, planes: Planes, width: int, dashed: bool) -> None:
    """Draw the inner boundaries of all labels into the (H, W, 3) uint8 canvas: rule 4."""
    if not width or not len(planes.data):
        return
    core = planes.data
    for _ in range(width):
        inner = np.zeros_like(core)
        middle = inner[:, 1:-1, 1:-1]
        np.bitwise_and(core[:, :-2, 1:-1], core[:, 2:, 1:-1], out=middle)
        for neighbour in (core[:, 1:-1, :-2], core[:, 1:-1, 2:], core[:, 1:-1, 1:-1]):
            middle &= neighbour
        core = inner
    words = sum_words(planes._replace(data=planes.data & ~core))
    if dashed:
        y, x = np.ogrid[: words.shape[0], : words.shape[1]]
        words[(x + 2 * y) // _DASH % 2 == 1] = 0
    paint(canvas, words, 255)
