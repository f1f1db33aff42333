"""Confidence intervals by resampling patients: how far a score moves with others of the same kind.

The bootstrap's percentile method (Efron & Tibshirani 1993): patients are drawn with replacement, as
many as there are, and all images of a patient come together, since the two views of one patient are
not independent. The score is computed for each resample from the same per-image scores; the
interval lies between the 2.5th and 97.5th percentile of these. Seed and number of resamples are
fixed, so that the same scores give the same interval. One patient alone gives none.

It says nothing of what another training, another scanner or another hospital would change.
"""

import warnings
from collections.abc import Iterable

import numpy as np

from paxray_lib.metrics.scores import ratio

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95


def draw_weights(cases: Iterable[str], resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
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


def patients_with(scores: np.ndarray, cases: Iterable[str]) -> np.ndarray:
    """Return how many cases have a score in at least one image, for each label: (L,) int64."""
    cases = np.asarray(cases, dtype=str)
    with_score = [~np.isnan(scores[cases == case]).all(axis=0) for case in np.unique(cases)]
    return np.array(with_score).sum(axis=0, dtype=np.int64)


def resample_per_label(scores: np.ndarray, weights: np.ndarray, convention: str) -> np.ndarray:
    """Return `scores.per_label` of each resample, (R, L) float64; NaN for a label without a value.

    Parameters
    ----------
    scores : (N, L) float array; NaN where an image has no score for a label
    weights : (R, N) how often each image is in each resample
    convention : "published" or "present", see `paxray_lib.metrics.scores`
    """
    valid = ~np.isnan(scores)
    sums = weights @ np.where(valid, scores, 0)  # (R, L)
    every = weights.sum(1, keepdims=True)
    numbers = weights @ valid if convention == "present" else np.broadcast_to(every, sums.shape)
    return ratio(sums, numbers)


def resample_mean(
    scores: np.ndarray, weights: np.ndarray, convention: str, cases: np.ndarray
) -> np.ndarray:
    """Return `scores.mean_score` of each resample, (R,) float64; NaN where there is no value.

    All are NaN if the scores come from one patient alone: the interval would have no width, and say
    that the score of a rare label is certain.

    Parameters
    ----------
    scores, weights, convention : as for `resample_per_label`
    cases : (N,) the case of each image
    """
    has_score = ~np.isnan(scores).all(axis=1) | (convention == "published")
    if len(np.unique(cases[has_score])) < 2:
        return np.full(len(weights), np.nan)
    means = resample_per_label(scores, weights, convention)  # (R, L)
    return ratio(np.nansum(means, axis=1), (~np.isnan(means)).sum(1))


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper end of the interval of (R, ...) resampled values.

    Resamples without a value (NaN: a rare label whose patients were not drawn) are left out. The
    ends are NaN if none has one.
    """
    with warnings.catch_warnings():
        # of nothing but NaN, which gives NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
