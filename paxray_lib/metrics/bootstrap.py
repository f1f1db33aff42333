"""Confidence intervals by resampling patients: how far a score moves with others of the same kind.

The bootstrap's percentile method (Efron & Tibshirani 1993): patients are drawn with replacement, as
many as there are, and all images of a patient come together, since the two views of one patient are
not independent. The score is computed for each resample from the same per-image scores. Seed and
number of resamples are fixed, so that the same scores give the same interval.

It says nothing of what another training, another scanner or another hospital would change.
"""

import warnings
from collections.abc import Iterable

import numpy as np

from paxray_lib.metrics.scores import known_mean, ratio

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95


def draw_weights(cases: Iterable[str], resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Return how often each image, given by its case, is in each resample: (resamples, N) float64.

    Row r counts the draws ``numpy.random.default_rng(seed).integers(0, P, (resamples, P))[r]`` from
    the P different cases in sorted order.
    """
    names, case_of = np.unique(np.asarray(cases, dtype=str), return_inverse=True)
    count = len(names)
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    flat = drawn + count * np.arange(resamples)[:, None]  # one histogram for all resamples
    often = np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count)
    return often[:, case_of].astype(np.float64)


def resample_mean(scores: np.ndarray, weights: np.ndarray, cases: np.ndarray) -> np.ndarray:
    """Return `scores.mean_score` of each resample, (R,) float64; NaN where there is no value.

    All are NaN if the scores come from one patient alone: the interval would have no width, and say
    that the score of a rare label is certain.

    Parameters
    ----------
    scores : (N, L) float array, filled (see `scores.fill`); NaN where an image has no entry
    weights : (R, N) how often each image is in each resample
    cases : (N,) the case of each image
    """
    known = ~np.isnan(scores)  # (N, L)
    if len(np.unique(cases[known.any(axis=1)])) < 2:
        return np.full(len(weights), np.nan)
    means = ratio(weights @ np.where(known, scores, 0), weights @ known)  # (R, L)
    return known_mean(means, axis=1)


def interval(values: np.ndarray) -> np.ndarray:
    """Return the lower and upper end, (2, ...), of the interval of (R, ...) resampled values.

    Resamples without a value (NaN: a rare label whose patients were not drawn) are left out. The
    ends are NaN if none has one.
    """
    with warnings.catch_warnings():
        # of nothing but NaN, which gives NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
