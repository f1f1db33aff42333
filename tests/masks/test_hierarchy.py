import numpy as np
import pytest
import torch
from helpers.phantoms import phantom
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.hierarchy import close_bits, close_tree
from paxray_lib.masks.packed import PackedMasks


def slow_closing(stack, labels):
    stack = stack.copy()
    changed = True
    while changed:
        before = stack.copy()
        for child, parents in enumerate(labels.parents):
            for parent in parents:
                stack[parent] |= stack[child]
        changed = not np.array_equal(before, stack)
    return stack


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.2), st.booleans())
def test_closing_agrees_with_adding_parts_until_nothing_changes(seed, density, some):
    rng = np.random.default_rng(seed)
    labels = LabelSet(rng.permutation(LABELS.names)[:40].tolist()) if some else LABELS
    stack = rng.random((len(labels), 3, 4)) < density
    masks = PackedMasks.pack(stack, labels)
    closed = close_tree(masks)
    np.testing.assert_array_equal(closed.unpack(), slow_closing(stack, labels))
    np.testing.assert_array_equal(masks.unpack(), stack)  # the input stays
    assert close_tree(closed) == closed


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_ground_truth_is_closed(view):
    masks = phantom(0, 0)[view][1]
    assert close_tree(masks) == masks


def test_tensors_close_as_arrays_do():
    data = PackedMasks.pack(np.random.default_rng(0).random((166, 5, 6)) < 0.05, LABELS).data
    closed = close_bits(torch.from_numpy(data)[None], LABELS)
    assert closed.dtype == torch.uint8
    np.testing.assert_array_equal(closed[0].numpy(), close_bits(data, LABELS))


def test_labels_without_a_tree_stay():
    masks = PackedMasks.pack(np.eye(3, dtype=bool)[None], LabelSet(["mine"]))
    assert close_tree(masks) == masks
