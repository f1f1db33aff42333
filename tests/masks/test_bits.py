"""Packed bits against loops over labels and pixels, as arrays and as tensors."""

import numpy as np
import torch
from helpers.stacks import pack, stacks
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.bits import byte_mask, count_bits, nearest_indices, swap_sides
from paxray_lib.masks.packed import PackedMasks

SIDED = LabelSet(
    ["heart", "rib_left_1", "rib_right_1", "lung_right_lobemiddle", "tooth", *LABELS.names[115:135]]
)


@given(st.integers(1, 10**6), st.integers(1, 3000))
def test_nearest_indices(source, target):
    assert nearest_indices(source, target).tolist() == [i * source // target for i in range(target)]


@given(stacks(side=40))
def test_bits_are_counted_per_image_and_label(stack):
    labels = len(stack)
    data = np.stack([pack(stack).data, pack(~stack).data])
    counts = count_bits(data)
    expected = [image.sum(axis=(1, 2)) for image in (stack, ~stack)]
    np.testing.assert_array_equal(counts[:, :labels], expected)
    assert not counts[:, labels:].any()
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(count_bits(torch.from_numpy(data)), counts)


@given(st.sampled_from([LABELS, SIDED]), st.integers(0, 99), st.integers(1, 40), st.booleans())
def test_swapped_sides_are_the_mirror_labels_in_runs_and_in_noise(
    labels, seed, longest, columns_first
):
    rng = np.random.default_rng(seed)
    pixels = rng.random((60, len(labels))) < rng.choice([0.02, 0.5])
    stack = (
        np.repeat(pixels, rng.integers(1, longest + 1, 60), axis=0)[:60]
        .reshape(6, 10, -1)
        .transpose(2, 0, 1)
    )
    data = pack(stack, labels).data
    data = data.transpose(1, 0, 2) if columns_first else data  # not contiguous
    swapped = swap_sides(data, labels)
    expected = PackedMasks(data, labels).unpack()[labels.mirror]
    np.testing.assert_array_equal(PackedMasks(swapped, labels).unpack(), expected)
    on_device = swap_sides(torch.tensor(data), labels)
    np.testing.assert_array_equal(on_device.numpy(), swapped)


@given(st.sets(st.integers(0, 63)))
def test_byte_mask(indices):
    found = np.flatnonzero(np.unpackbits(byte_mask(indices, 8), bitorder="little"))
    assert set(found.tolist()) == indices
