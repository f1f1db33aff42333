"""Counts against loops over pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics import scores as ratios
from paxray_lib.metrics.counting import Counts, counts


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
