"""Scores of the open model's films, against plain loops and hand-made cases."""

import math

import numpy as np
import pytest
from helpers.open_model import script

measures = script("measures")


def test_dice_counts_only_what_is_to_be_counted():
    rng = np.random.default_rng(0)
    mask, truth, counted = rng.random((3, 9, 7)) > 0.4
    both = total = 0
    for row, column in np.ndindex(9, 7):
        if counted[row, column]:
            both += mask[row, column] and truth[row, column]
            total += int(mask[row, column]) + int(truth[row, column])
    assert measures.dice(mask, truth, counted) == pytest.approx(2 * both / total)
    assert math.isnan(measures.dice(mask & False, truth & False))


def box(top, bottom, left, right):
    mask = np.zeros((10, 20), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_the_ratio_is_of_outermost_columns_strays_included():
    heart, left, right = box(5, 9, 8, 13), box(1, 8, 12, 18), box(2, 9, 3, 9)
    assert measures.cardiothoracic_ratio(heart, left, right) == 5 / 15
    left[0, 19] = True
    assert measures.cardiothoracic_ratio(heart, left, right) == 5 / 17
    assert math.isnan(measures.cardiothoracic_ratio(heart & False, left, right))


def test_agreement_is_bias_absolute_error_and_limits():
    ours, people = [0.5, 0.4, math.nan, 0.45], [0.4, 0.42, 0.5, 0.45]
    found = measures.agreement(ours, people, [*"abcd"])
    differences = np.array([0.1, -0.02, 0])
    assert found["bias"]["mean"] == pytest.approx(differences.mean(), abs=1e-6)
    assert found["bias"]["missing"] == 1
    assert found["mean_absolute_error"]["mean"] == pytest.approx(0.04, abs=1e-6)
    spread = 1.96 * differences.std(ddof=1)
    assert found["limits"] == pytest.approx(
        [differences.mean() - spread, differences.mean() + spread], abs=1e-6
    )


def test_a_summary_names_the_worst_and_those_below_the_floor():
    values, ids = [0.95, math.nan, 0.8, 0.9], [*"abcd"]
    found = measures.dice_summary(values, ids, ids, 0.88)
    assert found["below_floor"] == ["b", "c"]
    assert (found["worst_film"], found["worst"]) == ("b", None)
    low, high = found["interval"]
    assert low <= found["mean"] <= high
    assert found["missing"] == 1


def test_one_patient_has_no_interval():
    assert measures.mean_with_interval([0.8, 0.9], ["a", "a"])["interval"] == [None, None]
