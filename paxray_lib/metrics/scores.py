"""Scores of counted pixels under the two conventions."""

import numpy as np

from paxray_lib.metrics.counting import Counts
from paxray_lib.utils.errors import did_you_mean

CONVENTIONS = ("published", "present")


def iou(counts: Counts) -> np.ndarray:
    """Return intersection over union, (N, L) float64; NaN where a label is absent from both, 0
    where from one.

    >>> iou(Counts(tp=[[2, 0, 0]], fp=[[1, 3, 0]], fn=[[1, 0, 0]]))
    array([[0.5, 0. , nan]])
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def dice(counts: Counts) -> np.ndarray:
    """Return the Dice coefficient (F1), (N, L) float64; NaN where a label is absent from both, 0
    where from one.
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> np.ndarray:
    """Return the share of predicted pixels that are right, (N, L) float64; NaN where nothing is
    predicted.
    """
    return _ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: Counts) -> np.ndarray:
    """Return the share of target pixels that are found, (N, L) float64; NaN where the target is
    empty.
    """
    return _ratio(counts.tp, counts.tp + counts.fn)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def per_label(scores: np.ndarray, convention: str = "published") -> np.ndarray:
    """Average scores over images under a named convention.

    Parameters
    ----------
    scores : (N, L) float array
        From `iou` or `dice`; NaN where a label is absent from both.
    convention : {"published", "present"}
        See the top of this module.

    Returns
    -------
    (L,) float64 array
        One value per label index, so that two labels of one name keep one each. NaN for a label
        without a value ("present": in no image; either: no images).

    Raises
    ------
    ValueError
        If the convention is unknown.
    """
    scores = np.asarray(scores, np.float64)
    if convention not in CONVENTIONS:
        raise ValueError(
            f"unknown convention {convention!r}{did_you_mean(str(convention), CONVENTIONS)} "
            f"(known: {', '.join(CONVENTIONS)})"
        )
    valid = ~np.isnan(scores)
    number = valid.sum(0) if convention == "present" else np.full(scores.shape[1], len(scores))
    return _ratio(np.where(valid, scores, 0).sum(0), number)


def mean_score(scores: np.ndarray, convention: str = "published") -> float:
    """Average scores over images, then over labels, under a named convention; NaN if there is no
    value at all.

    Examples
    --------
    >>> scores = np.array([[0.5, np.nan, np.nan], [1.0, 0.25, np.nan]])
    >>> mean_score(scores, "present"), round(mean_score(scores, "published"), 4)
    (0.5, 0.2917)
    """
    means = per_label(scores, convention)
    means = means[~np.isnan(means)]
    return float(means.mean()) if len(means) else float("nan")
