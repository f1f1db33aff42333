"""Scores of counted pixels, and their means under two conventions, by name and never mixed.

``"present"``
    A label counts in the images where it occurs, in the prediction or in the target. Mean over
    those images, then over the labels that occur in at least one image.
``"published"``
    The convention behind the published mIoU: a label that is absent from prediction and target
    scores 0. Mean over images, then over labels. Labels that (almost) never occur keep such a mean
    below 1.

A label that is not known in an image has no entry for that image under either.

The published code adds 1e-6 to the denominators. Here scores are exact; for a union of one pixel or
more the two differ by less than 1e-6.
"""

import numpy as np

from paxray_lib.metrics.counting import Counts
from paxray_lib.utils.errors import check_choice

CONVENTIONS = ("published", "present")


def iou(counts: Counts) -> np.ndarray:
    """Return intersection over union, (N, L) float64.

    NaN where a label is absent from both prediction and target, or not known; 0 where from one.

    >>> iou(Counts(tp=[[2, 0, 0]], fp=[[1, 3, 0]], fn=[[1, 0, 0]]))
    array([[0.5, 0. , nan]])
    """
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def dice(counts: Counts) -> np.ndarray:
    """Return the Dice coefficient (F1), (N, L) float64; NaN and 0 as for `iou`."""
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> np.ndarray:
    """Return the share of predicted pixels that are right, (N, L) float64; NaN without any."""
    return ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: Counts) -> np.ndarray:
    """Return the share of target pixels that are predicted, (N, L) float64; NaN without any."""
    return ratio(counts.tp, counts.tp + counts.fn)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole as float64; NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean along an axis of the values that are not NaN; NaN where all are."""
    return ratio(np.nansum(values, axis), (~np.isnan(values)).sum(axis))


def fill(
    scores: np.ndarray, convention: str = "published", known: np.ndarray | None = None
) -> np.ndarray:
    """Return scores with what a convention says of a label that is absent: 0, or NaN as before.

    Where a label is not `known`, (N, L) bool (by default all are), NaN stays: no entry. Raises
    ValueError if the convention is unknown.
    """
    check_choice(convention, CONVENTIONS, "convention")
    if convention == "present":
        return scores
    return np.where(np.isnan(scores) & (known is None or known), 0, scores)


def per_label(
    scores: np.ndarray, convention: str = "published", known: np.ndarray | None = None
) -> np.ndarray:
    """Average (N, L) scores over images, for each label index: (L,) float64.

    NaN for a label without a value ("present": in no image; either convention: no images, or known
    in none). `known` and errors as for `fill`.
    """
    return known_mean(fill(scores, convention, known), axis=0)


def mean_score(
    scores: np.ndarray, convention: str = "published", known: np.ndarray | None = None
) -> float:
    """Average scores over images, then over labels; NaN if there is no value at all.

    `known` and errors as for `fill`.

    >>> scores = np.array([[0.5, np.nan, np.nan], [1.0, 0.25, np.nan]])
    >>> mean_score(scores, "present"), round(mean_score(scores, "published"), 4)
    (0.5, 0.2917)
    """
    means = per_label(scores, convention, known)
    means = means[~np.isnan(means)]
    return float(means.mean()) if len(means) else float("nan")
