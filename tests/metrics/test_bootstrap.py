"""Intervals over patients."""

import numpy as np

from paxray_lib.metrics import bootstrap


def test_images_of_a_patient_are_drawn_together():
    cases = ["b", "a", "b", "c", "a"]
    weights = bootstrap.draw_weights(cases, resamples=300)
    assert weights.shape == (300, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1] + weights[:, 3], 3)
    assert not np.array_equal(weights, bootstrap.draw_weights(cases, resamples=300, seed=1))
    np.testing.assert_array_equal(weights, bootstrap.draw_weights(cases, resamples=300))


def test_interval_is_numpys_percentile():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 5))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 3], values[1:, 4] = np.nan, np.nan
    for end, percent in zip(bootstrap.interval(values), (2.5, 97.5), strict=True):
        known = np.nanpercentile(values[:, [0, 1, 2, 4]], percent, axis=0)
        np.testing.assert_allclose(end[[0, 1, 2, 4]], known)
        assert np.isnan(end[3])


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    weights = bootstrap.draw_weights(range(40), resamples=500)
    for _ in range(200):
        scores = rng.normal(0.7, 0.1, (40, 1))
        means = bootstrap.resample_mean(scores, weights, np.arange(40))
        low, high = bootstrap.interval(means)
        hits += low <= 0.7 <= high
    assert 0.88 <= hits / 200 <= 0.99
