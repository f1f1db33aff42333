"""Scores and their means against the published numbers and loops."""

import json

import numpy as np
import pytest
from helpers.sampledata import ROOT

from paxray_lib.labels.table import LABELS
from paxray_lib.metrics import scores as ratios
from paxray_lib.metrics.counting import Counts, counts

REFERENCE = json.loads((ROOT / "tests/reference" / "published_metric.json").read_text())


def test_published_numbers():
    pred, target = reference_masks()
    found = counts(pred, target)
    intersections, unions = np.moveaxis(np.array(REFERENCE["inter_and_union_pixels_[n][c]"]), -1, 0)
    np.testing.assert_array_equal(found.tp, intersections)
    np.testing.assert_array_equal(found.tp + found.fp + found.fn, unions)
    final = REFERENCE["final_unique_names"]
    for score, name in ((ratios.iou, "iou"), (ratios.dice, "dice")):
        each = REFERENCE[f"{name}_per_image_per_class"]
        np.testing.assert_allclose(np.nan_to_num(score(found)), each, atol=1e-6, rtol=0)
        expected = [
            final[f"metric_metric_{name}_class_{label}"] for label in REFERENCE["names_unique"]
        ]
        np.testing.assert_allclose(
            ratios.per_label(score(found), "published"), expected, atol=1e-6, rtol=0
        )
        assert ratios.mean_score(score(found), "published") == pytest.approx(
            final[f"metric_metric_{name}"], abs=1e-6
        )


def reference_masks():
    n, c, y, x = np.indices((3, 8, 12, 16))
    pred, target = (
        ((7 * c + 3 * y + 5 * x + 11 * n) % 13) < 6,
        ((5 * c + 2 * y + 7 * x + 13 * n) % 11) < 4,
    )
    target[:, 3] = pred[:, 4] = pred[:, 5] = target[:, 5] = False
    pred[:, 6] = target[:, 6]
    target[1, 0] = pred[1, 0] = False
    return pred, target


def test_present_means_are_over_what_occurs():
    pred, target = reference_masks()
    scores = ratios.iou(counts(pred, target))
    expected = [np.nan] * 8
    for label in range(8):
        values = []
        for image in range(3):
            union = (pred[image, label] | target[image, label]).sum()
            if union:
                values.append((pred[image, label] & target[image, label]).sum() / union)
        if values:
            expected[label] = sum(values) / len(values)
    np.testing.assert_allclose(ratios.per_label(scores, "present"), expected)
    known = [value for value in expected if not np.isnan(value)]
    assert len(known) == 7
    assert ratios.mean_score(scores, "present") == pytest.approx(sum(known) / 7)


def test_a_repeated_name_keeps_a_score_for_each_label():
    first, second = LABELS.index("mediastinum_upper")
    tp = np.zeros((1, len(LABELS)), int)
    tp[0, first] = 8
    fn = np.zeros_like(tp)
    fn[0, second] = 5
    means = ratios.per_label(ratios.iou(Counts(tp, np.zeros_like(tp), fn)), "present")
    assert means[first] == 1
    assert means[second] == 0
    assert ratios.mean_score(means[None], "present") == 0.5


def test_degenerate_scores():
    nothing = Counts([[0]], [[0]], [[0]])
    for score in (ratios.iou, ratios.dice, ratios.precision, ratios.recall):
        assert np.isnan(score(nothing)).all()
        assert score(Counts([[3]], [[0]], [[0]])) == 1
    only_predicted = Counts([[0]], [[4]], [[0]])
    assert (
        ratios.iou(only_predicted)
        == ratios.dice(only_predicted)
        == ratios.precision(only_predicted)
        == 0
    )
    assert np.isnan(ratios.recall(only_predicted))
    assert ratios.mean_score(np.array([[np.nan]]), "published") == 0
    assert np.isnan(ratios.mean_score(np.array([[np.nan]]), "present"))
    assert np.isnan(ratios.mean_score(np.empty((0, 3)), "published"))


def test_precision_and_recall():
    found = Counts([[6]], [[2]], [[6]])
    assert ratios.precision(found) == 0.75
    assert ratios.recall(found) == 0.5
    assert ratios.dice(found) == pytest.approx(0.6)
    assert ratios.iou(found) == pytest.approx(6 / 14)
