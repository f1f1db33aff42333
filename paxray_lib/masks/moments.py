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
    _, height, width = masks.shape
    bits, runs = _combinations(masks, pixels)  # (U, L), (U, 4)
    area, row, column, light = runs.T @ bits  # (4, L)
    with np.errstate(invalid="ignore"):
        rows, columns = (row / area + 0.5) / height, (column / area + 0.5) / width
        brightness = light / area
    shared = bits.T @ (bits * runs[:, :1])
    return Moments(area.astype(np.int64), rows, columns, brightness, shared.astype(np.int64))


def _combinations(masks: PackedMasks, pixels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of labels that occur, (U, L) of 0.0 and 1.0, and sums for each.

    The sums (U, 4) are the number of its pixels and the sums of their rows, columns and values."""
    _, height, width = masks.shape
    words = as_words(masks.data.reshape(height * width, -1))
    new = np.ones(height * width, bool)
    new[1:] = (words[1:] != words[:-1]).any(axis=1)
    new[::width] = True  # a run lies in one row
    starts = np.flatnonzero(new)  # (R,)
    length = np.diff(starts, append=height * width)
    row, first = np.divmod(starts, width)
    values = np.full(height * width, np.nan) if pixels is None else pixels.ravel()
    light = np.add.reduceat(values, starts, dtype=float)
    columns = length * first + length * (length - 1) / 2
    sums = np.stack([length, length * row, columns, light], axis=1)  # (R, 4)
    patterns = words[starts]
    order = np.lexsort(patterns.T)
    patterns = patterns[order]
    groups = np.flatnonzero(np.r_[True, (patterns[1:] != patterns[:-1]).any(axis=1)])
    bits = np.unpackbits(
        patterns[groups].view(np.uint8), axis=1, bitorder="little", count=len(masks.labels)
    )
    return bits.astype(float), np.add.reduceat(sums[order], groups)
