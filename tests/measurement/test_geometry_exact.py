"""The measurements are those of a slow oracle, to the last digit."""

import numpy as np
import pytest
from helpers.phantoms import phantom
from helpers.slow_measures import USED, slow_counts, slow_lines
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import find_lines, measure


def rectangles(rng, height, width):
    """Draw masks, each of no rectangle to three of them."""
    stack = np.zeros((len(LABELS), height, width), bool)
    for name in USED:
        for _ in range(rng.integers(4)):
            top, left = rng.integers(height), rng.integers(width)
            bottom = top + rng.integers(1, 2 + height // 3)
            right = left + rng.integers(1, 2 + width // 3)
            stack[LABELS.index(name)[0], top:bottom, left:right] = True
    return PackedMasks.pack(stack, LABELS)


def enlarged(rng, masks):
    """Return masks whose rows and columns are repeated, some of them often."""
    rows, columns = (np.repeat(np.arange(n), rng.integers(1, 6, n)) for n in masks.shape[1:])
    return masks.gather(rows, columns)


def laid_out(rng, masks):
    """Return masks, mirrored or not, whose bytes lie in memory in any order."""
    data = masks.data[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    order = rng.permutation(3)
    data = np.ascontiguousarray(data.transpose(order)).transpose(np.argsort(order))
    return PackedMasks(data[:: rng.choice([-1, 1])], masks.labels)


def assert_exact(masks):
    lines, found = find_lines(masks, "frontal"), measure(masks, "frontal")
    expected = slow_lines(masks)
    assert lines == expected
    counts = slow_counts(masks)
    np.testing.assert_equal({name: found[name] for name in counts}, counts)
    lengths = [name.removesuffix("_px") for name in found if name.endswith("_px")]
    for name in {name for name in lengths if not name.endswith("_area")}:
        start, end = expected.get(name, ((np.nan, np.nan), (np.nan, np.nan)))
        axis = 0 if name.endswith("_height") else 1
        np.testing.assert_equal(found[f"{name}_px"], end[axis] - start[axis], name)


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    is_enlarged=st.booleans(),
)
def test_any_masks_have_the_measures_of_the_oracle(seed, height, width, is_enlarged):
    rng = np.random.default_rng(seed)
    masks = rectangles(rng, height, width)
    assert_exact(laid_out(rng, enlarged(rng, masks) if is_enlarged else masks))


@pytest.mark.parametrize("case", range(3))
def test_phantoms_have_the_measures_of_the_oracle(case):
    masks = phantom(0, case)["frontal"][1]
    assert_exact(masks)
    assert_exact(enlarged(np.random.default_rng(case), masks))
