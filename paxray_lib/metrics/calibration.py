"""Are probabilities what they say? Of the pixels that a model gives 80 % for a label, 80 % should
have it.

Probabilities are sorted into bins of equal width, separately for each label. Of each image a
regular grid of about 64 x 64 pixels is looked at: neighbours say the same, and all pixels of all
labels would cost more than the network."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from paxray_lib.labels.table import LabelSet

BINS = 20
GRID = 64


@dataclass(frozen=True)
class Reliability:
    """Sums over the pixels of each bin; bin k of K holds probabilities from k / K to (k + 1) / K.

    Attributes
    ----------
    pixels : (L, K) int64 ndarray
        Pixels whose probability for the label is in the bin.
    true : (L, K) int64 ndarray
        Those of them that have the label.
    probability : (L, K) float64 ndarray
        Sum of their probabilities.
    """

    pixels: np.ndarray
    true: np.ndarray
    probability: np.ndarray

    @classmethod
    def total(cls, parts: Iterable["Reliability"]) -> "Reliability":
        """Return the sums over several images, added in their order."""
        parts = list(parts)
        names = ("pixels", "true", "probability")
        return cls(*(np.sum([getattr(part, name) for part in parts], axis=0) for name in names))


def bin_pixels(probabilities: np.ndarray, target: np.ndarray) -> Reliability:
    """Sort the pixels of one image into bins.

    Parameters
    ----------
    probabilities : (L, h, w) float array in 0..1
    target : (L, h, w) bool array

    Returns
    -------
    Reliability of (L, BINS)
    """
    labels = len(probabilities)
    values = probabilities.reshape(labels, -1)
    bins = (
        np.minimum((values * BINS).astype(np.int64), BINS - 1) + BINS * np.arange(labels)[:, None]
    )
    size, shape = labels * BINS, (labels, BINS)
    return Reliability(
        np.bincount(bins.ravel(), minlength=size).reshape(shape),
        np.bincount(bins[target.reshape(labels, -1)], minlength=size).reshape(shape),
        np.bincount(
            bins.ravel(), weights=values.ravel().astype(np.float64), minlength=size
        ).reshape(shape),
    )


def calibration_error(bins: Reliability, labels: slice | list[int] = slice(None)) -> float:
    """Return the expected calibration error of some labels together (Naeini et al. 2015); NaN
    without pixels.

    It is the mean over bins of |share of pixels with the label - mean probability|, weighted by
    pixels. Most pixels are far from most labels and easily right, so that it is small for any
    model: compare models, and look at the curve."""
    pixels, true, probability = (
        getattr(bins, name)[labels].sum(0) for name in ("pixels", "true", "probability")
    )
    return float(np.abs(true - probability).sum() / pixels.sum()) if pixels.sum() else float("nan")


def reliability_table(bins: Reliability, labels: LabelSet) -> pd.DataFrame:
    """Return one row a group of labels and bin: group, bin, pixels, probability (mean), fraction
    (with the label).

    The group "overall" is all labels. A bin without pixels has NaN for both.
    """
    parts = []
    for group in ("overall", *labels.groups):
        chosen = [i for i, name in enumerate(labels.group) if group in ("overall", name)]
        pixels = bins.pixels[chosen].sum(0)
        columns = {"group": group, "bin": np.arange(BINS), "pixels": pixels}
        for name, sums in (("probability", bins.probability), ("fraction", bins.true)):
            columns[name] = np.divide(
                sums[chosen].sum(0), pixels, out=np.full(BINS, np.nan), where=pixels > 0
            )
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
