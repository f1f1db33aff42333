"""Confidence intervals by resampling patients: how far a score would move with other patients of
the same kind.

The bootstrap's percentile method (Efron & Tibshirani 1993): patients are drawn with replacement, as
many as there are, and all images of a patient come together, since the two views of one patient are
not independent. The score is computed for each resample from the same per-image scores; the
interval lies between the 2.5th and 97.5th percentile of these. Seed and number of resamples are
fixed, so that the same scores give the same interval. One patient alone gives none.

It says nothing of what another training, another scanner or another hospital would change.
"""

import warnings
from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95


def draw_weights(cases: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Return how often each image is in each resample, (resamples, N) float64.

    Row r counts the draws ``numpy.random.default_rng(seed).integers(0, P, (resamples, P))[r]`` from
    the P different cases in sorted order.

    Parameters
    ----------
    cases : the case of each of N images
    resamples, seed : of the bootstrap
    """
    names, case_of = np.unique(np.asarray(cases, dtype=str), return_inverse=True)
    count = len(names)
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    flat = drawn + count * np.arange(resamples)[:, None]  # one histogram for all resamples
    often = np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count)
    return often[:, case_of].astype(np.float64)


def patients_with(scores: np.ndarray, cases: Sequence[str]) -> np.ndarray:
    """Return for each label the number of cases that have a score in at least one image, (L,)
    int64.
    """
    cases = np.asarray(cases, dtype=str)
    with_score = [~np.isnan(scores[cases == case]).all(axis=0) for case in np.unique(cases)]
    return np.sum(with_score, axis=0, dtype=np.int64)


def patients_scored(scores: np.ndarray, cases: Sequence[str], convention: str) -> int:
    """Return the number of cases that a mean over images and labels is made from.

    With "present" a case without any score does not count: an interval from the one patient of a
    rare label would have no width, and say that the score is certain.

    Parameters
    ----------
    scores : (N, L) float array; NaN where an image has no score for a label
    cases : the case of each image
    convention : "published" or "present", see `paxray_lib.metrics`
    """
    counts = (
        np.full(len(scores), True) if convention == "published" else ~np.isnan(scores).all(axis=1)
    )
    return len(np.unique(np.asarray(cases, dtype=str)[counts]))


def resample_per_label(scores: np.ndarray, weights: np.ndarray, convention: str) -> np.ndarray:
    """Return `metrics.per_label` of each resample, (R, L) float64; NaN for a label without a value
    in it.

    Parameters
    ----------
    scores : (N, L) float array; NaN where an image has no score for a label
    weights : (R, N) how often each image is in each resample
    convention : "published" or "present", see `paxray_lib.metrics`
    """
    valid = ~np.isnan(scores)
    sums = weights @ np.where(valid, scores, 0)  # (R, L)
    numbers = (
        weights @ valid
        if convention == "present"
        else np.broadcast_to(weights.sum(1)[:, None], sums.shape)
    )
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def mean_over_labels(values: np.ndarray) -> np.ndarray:
    """Return the mean of (R, L) values over the labels that have one, (R,); NaN where none has."""
    with warnings.catch_warnings():
        # the mean of nothing is NaN, as it should be
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=1)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper end of the interval of (R, ...) resampled values.

    Resamples without a value (NaN: a rare label whose patients were not drawn) are left out; NaN if
    none has one."""
    values = np.sort(values, axis=0)  # NaN last
    known = (~np.isnan(values)).sum(0)
    return tuple(
        _percentile(values, known, quantile) for quantile in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    )


def _percentile(ordered: np.ndarray, known: np.ndarray, quantile: float) -> np.ndarray:
    """Return a quantile of each column of sorted values, linear between neighbours, of its first
    `known` ones.
    """
    place = np.maximum(known - 1, 0) * quantile
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    below, above = (np.take_along_axis(ordered, index[None], 0)[0] for index in (low, high))
    return below + (above - below) * (place - low)
