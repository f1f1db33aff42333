"""Moments of every label of a packed stack: area, centroid, spread."""

from dataclasses import dataclass

import numpy as np

from paxray_lib.masks.bits import as_words
from paxray_lib.masks.packed import PackedMasks


@dataclass(frozen=True)
class Moments:
    """What the masks of one image add up to.

    Attributes
    ----------
    areas : (L,) int64, in pixels
    rows, columns : (L,) float64
        Centroids as parts of height and width, 0 (top, left) to 1; NaN where a label is absent.
    brightness : (L,) float64
        Mean pixel value, 0..1, NaN where absent.
    shared : (L, L) int64
        Pixels that two labels have in common; the areas are its diagonal.
    """

    areas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    brightness: np.ndarray
    shared: np.ndarray


def moments(masks: PackedMasks, pixels: np.ndarray | None = None) -> Moments:
    """Return areas, centroids, brightness and overlaps of all labels.

    Parameters
    ----------
    masks : PackedMasks of (L, H, W)
    pixels : (H, W) float array, optional; without it the brightness is NaN
    """
    count, height, width = masks.shape
    words = as_words(masks.data.reshape(height * width, -1))
    # runs of pixels with the same labels, each within one row
    is_first = np.r_[True, (words[1:] != words[:-1]).any(axis=1)]
    is_first[::width] = True
    starts = np.flatnonzero(is_first)  # (R,)
    length = np.diff(starts, append=height * width)
    row, first = np.divmod(starts, width)
    column = length * first + length * (length - 1) / 2
    values = np.full(height * width, np.nan) if pixels is None else pixels.ravel()
    light = np.add.reduceat(values, starts, dtype=float)
    sums = np.stack([length, length * row, column, light], axis=1)  # (R, 4)
    # the same labels may have many runs: what is added up per label is a row for each combination
    order = np.lexsort(words[starts].T)
    patterns = words[starts[order]]
    groups = np.flatnonzero(np.r_[True, (patterns[1:] != patterns[:-1]).any(axis=1)])  # (U,)
    octets = patterns[groups].view(np.uint8)
    bits = np.unpackbits(octets, axis=1, bitorder="little", count=count).astype(float)  # (U, L)
    sums = np.add.reduceat(sums[order], groups)  # (U, 4)
    area, row, column, light = sums.T @ bits  # (4, L)
    with np.errstate(invalid="ignore"):
        rows, columns = (row / area + 0.5) / height, (column / area + 0.5) / width
        brightness = light / area
    shared = (bits.T @ (bits * sums[:, :1])).astype(np.int64)
    return Moments(area.astype(np.int64), rows, columns, brightness, shared)
