import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.calibration import (
    BINS,
    Reliability,
    bin_pixels,
    calibration_error,
    reliability_table,
)

LABELS = LabelSet(["heart", "t1", "t2"])


@given(st.integers(0, 2**32 - 1))
def test_bins_equal_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((3, 6, 5), np.float32).round(2)  # the ends of bins too
    target = rng.random((3, 6, 5)) < 0.4
    pixels, true, sums = np.zeros((3, BINS), int), np.zeros((3, BINS), int), np.zeros((3, BINS))
    for label, y, x in np.ndindex(3, 6, 5):
        p = probabilities[label, y, x]
        k = min(int(p * np.float32(BINS)), BINS - 1)
        pixels[label, k] += 1
        true[label, k] += target[label, y, x]
        sums[label, k] += p
    found = bin_pixels(probabilities, target)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.true, true)
    np.testing.assert_allclose(found.probability, sums)
    assert found.pixels.dtype == found.true.dtype == np.int64


def test_one_and_zero_are_in_the_last_and_first_bin():
    found = bin_pixels(np.array([[[0.0, 1.0]]], np.float32), np.array([[[False, True]]]))
    assert found.pixels[0].tolist() == [1] + [0] * (BINS - 2) + [1]
    assert calibration_error(found) == 0


def test_error_of_honest_and_of_boastful_probabilities():
    rng = np.random.default_rng(0)
    probabilities = rng.random((3, 200, 200), np.float32)
    target = rng.random(probabilities.shape) < probabilities
    assert calibration_error(bin_pixels(probabilities, target)) < 0.01
    boastful = np.where(probabilities > 0.5, np.float32(1), np.float32(0))
    assert calibration_error(bin_pixels(boastful, target)) == pytest.approx(0.25, abs=0.01)


def test_table_by_group_and_total():
    rng = np.random.default_rng(0)
    images = [(rng.random((3, 8, 8)), rng.random((3, 8, 8)) < 0.5) for _ in range(2)]
    whole = Reliability.total(bin_pixels(*image) for image in images)
    np.testing.assert_array_equal(whole.pixels, sum(bin_pixels(*image).pixels for image in images))
    table = reliability_table(whole, LABELS).set_index(["group", "bin"])
    assert len(table) == 3 * BINS
    row = table.loc[("vertebrae", 4)]
    assert row["pixels"] == whole.pixels[1:, 4].sum()
    assert row["probability"] == pytest.approx(whole.probability[1:, 4].sum() / row["pixels"])
    assert row["fraction"] == pytest.approx(whole.true[1:, 4].sum() / row["pixels"])
    assert table.loc["overall", "pixels"].sum() == 2 * 3 * 64


def test_nothing_has_no_error():
    nothing = Reliability(*(np.zeros((3, BINS)) for _ in range(3)))
    assert np.isnan(calibration_error(nothing))
    assert reliability_table(nothing, LABELS)["fraction"].isna().all()
