"""Counts against loops over pixels, scores against the published numbers."""

import json

import numpy as np
import pytest
import torch
from helpers.sampledata import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics import scores as ratios
from paxray_lib.metrics.counting import Counts, counts

REFERENCE = json.loads((ROOT / "tests/reference" / "published_metric.json").read_text())


def count_slowly(pred, target) -> Counts:
    n, labels, height, width = pred.shape
    found = {name: np.zeros((n, labels), int) for name in ("tp", "fp", "fn")}
    for i, label, y, x in np.ndindex(n, labels, height, width):
        p, t = pred[i, label, y, x], target[i, label, y, x]
        name = {(True, True): "tp", (True, False): "fp", (False, True): "fn"}.get(
            (bool(p), bool(t))
        )
        if name:
            found[name][i, label] += 1
    return Counts(**found)


def pack(stack: np.ndarray) -> np.ndarray:
    return np.packbits(stack.transpose(0, 2, 3, 1), axis=-1, bitorder="little")


def assert_same(a: Counts, b: Counts):
    for name in ("tp", "fp", "fn"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@st.composite
def mask_pairs(draw):
    shape = draw(
        st.tuples(st.integers(1, 2), st.integers(1, 18), st.integers(1, 5), st.integers(1, 5))
    )
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


@given(mask_pairs())
def test_every_form_equals_a_loop_over_pixels(pair):
    pred, target = pair
    labels = pred.shape[1]
    expected = count_slowly(pred, target)
    packed = pack(pred), pack(target)
    names = LabelSet([f"label {i}" for i in range(labels)])
    masks = [[PackedMasks.pack(image, names) for image in stack] for stack in pair]
    assert_same(counts(pred, target), expected)
    assert_same(counts(pred.astype(np.int64), target.astype(np.uint8)), expected)
    assert_same(counts(*map(torch.from_numpy, pair)), expected)
    assert_same(counts(*packed, labels=labels), expected)
    assert_same(counts(*map(torch.from_numpy, packed), labels=labels), expected)
    assert_same(counts(*masks), expected)
    assert_same(counts(masks[0][0], masks[1][0]), expected[:1])


@pytest.mark.parametrize("value", [0x00, 0x01, 0x80, 0xFF])
def test_full_planes_do_not_overflow(value):
    packed = np.full((1, 300, 301, 2), value, np.uint8)  # more rows than one group of 255
    bits = np.unpackbits(np.uint8([value]), bitorder="little").tolist()
    assert counts(packed, packed, labels=16).tp.tolist() == [[bit * 300 * 301 for bit in bits] * 2]


def test_counts_are_int64_and_ignore_bits_past_the_labels():
    packed = np.full((1, 2, 2, 1), 0xFF, np.uint8)
    found = counts(packed, packed, labels=3)
    assert found.tp.dtype == np.int64
    assert found.tp.tolist() == [[4, 4, 4]]


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


def test_counts_join_and_select_images():
    a, b = (
        Counts([[1, 2]], [[3, 4]], [[5, 6]]),
        Counts([[7, 8], [9, 0]], [[1, 1], [2, 2]], [[0, 0], [3, 3]]),
    )
    both = Counts.concat([a, b])
    assert len(both) == 3
    assert both.tp.tolist() == [[1, 2], [7, 8], [9, 0]]
    assert_same(both[np.array([False, True, True])], b)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ratios.mean_score(np.zeros((1, 1)), "publishd"), "did you mean 'published'"),
        (
            lambda: counts(np.zeros((1, 2, 3, 4), bool), np.zeros((1, 2, 4, 3), bool)),
            r"\(1, 2, 3, 4\)",
        ),
        (lambda: counts(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)), "4 axes"),
        (
            lambda: counts(np.full((1, 1, 2, 2), 255, np.uint8), np.zeros((1, 1, 2, 2), bool)),
            "prediction.*255.*labels=",
        ),
        (
            lambda: counts(*np.zeros((2, 1, 4, 4, 3), np.uint8), labels=166),
            r"166 labels.*\(N, H, W, 21\)",
        ),
        (lambda: counts(np.zeros((1, 1, 2, 2), bool), torch.zeros(1, 1, 2, 2) > 0), "one kind"),
        (lambda: counts(masks_of("heart"), masks_of("aorta")), "select the same labels"),
        (
            lambda: counts(masks_of("heart"), np.zeros((1, 1, 2, 2), bool)),
            "PackedMasks with ndarray",
        ),
        (lambda: counts([masks_of("heart")], []), "1 predictions for 0 targets"),
        (lambda: Counts.concat([]), "no counts"),
        (lambda: Counts([[1]], [[1, 2]], [[1]]), "one shape"),
    ],
)
def test_errors_say_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def masks_of(*names):
    return PackedMasks.pack(np.zeros((len(names), 2, 2), bool), LabelSet(names))
