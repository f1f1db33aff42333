"""Are probabilities what they say? Of the pixels given 80 % for a label, 80 % should have it.

Probabilities are sorted into bins of equal width, separately for each label. Of each image a
regular grid of about 64 x 64 pixels is looked at: neighbours say the same, and all pixels of all
labels would cost more than the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.scores import ratio

BINS = 20


@dataclass(frozen=True)
class Reliability:
    """Sums over the pixels of each bin; bin k of K holds probabilities from k / K to (k + 1) / K.

    Attributes
    ----------
    pixels, true : (L, K) int64 ndarray
        Pixels whose probability for the label is in the bin; those of them that have the label.
    probability : (L, K) float64 ndarray
        Sum of their probabilities.
    """

    pixels: np.ndarray
    true: np.ndarray
    probability: np.ndarray

    @classmethod
    def total(cls, parts: Iterable["Reliability"]) -> "Reliability":
        """Return the sums over several images, added in their order."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(np.sum(column, axis=0) for column in columns))


def bin_pixels(
    probabilities: np.ndarray, target: np.ndarray, known: np.ndarray | None = None
) -> Reliability:
    """Sort the pixels of one image into bins: a Reliability of (L, BINS).

    Parameters
    ----------
    probabilities : (L, h, w) float array in 0..1
    target : (L, h, w) bool array
    known : (L,) bool array, by default all; other labels have no pixels
    """
    labels = len(probabilities)
    values = probabilities.reshape(labels, -1)
    bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    bins += BINS * np.arange(labels)[:, None]  # one histogram for all labels
    flat, size = bins.ravel(), labels * BINS
    histograms = (
        np.bincount(flat, minlength=size),
        np.bincount(bins[target.reshape(labels, -1)], minlength=size),
        np.bincount(flat, values.ravel().astype(np.float64), minlength=size),
    )
    counted = np.ones(labels, bool) if known is None else known
    return Reliability(*(h.reshape(labels, BINS) * counted[:, None] for h in histograms))


def calibration_error(bins: Reliability) -> float:
    """Return the expected calibration error (Naeini et al. 2015) of all labels; NaN without pixels.

    It is the mean over bins of |share of pixels with the label - mean probability|, weighted by
    pixels. Most pixels are far from most labels and easily right, so that it is small for any
    model: compare models, and look at the curve.
    """
    gaps = np.abs(bins.true.sum(0) - bins.probability.sum(0))  # (K,)
    return float(ratio(gaps.sum(), bins.pixels.sum()))


def reliability_table(bins: Reliability, labels: LabelSet) -> pd.DataFrame:
    """Return one row per group of labels and bin; the group "overall" is all labels.

    Columns: group, bin, pixels, probability (their mean), fraction (of the pixels that have the
    label). Both are NaN for a bin without pixels.
    """
    parts = []
    for group in ("overall", *labels.groups):
        chosen = [i for i, name in enumerate(labels.group) if group in ("overall", name)]
        pixels = bins.pixels[chosen].sum(0)  # (K,)
        columns = {
            "group": group,
            "bin": np.arange(BINS),
            "pixels": pixels,
            "probability": ratio(bins.probability[chosen].sum(0), pixels),
            "fraction": ratio(bins.true[chosen].sum(0), pixels),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
