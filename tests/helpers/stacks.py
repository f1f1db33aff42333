"""Random stacks of masks."""

import numpy as np
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks


def some_labels(count):
    return LABELS if count == len(LABELS) else LabelSet([f"part {i}" for i in range(count)])


ANY_COUNT = st.integers(1, 170)


@st.composite
def stacks(draw, counts=ANY_COUNT, side=17):
    """A (L, H, W) bool stack of blank, full and random planes."""
    shape = draw(counts), draw(st.integers(1, side)), draw(st.integers(1, side))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.random(shape) < rng.choice([0, 0.05, 0.5, 1], size=(shape[0], 1, 1))


def pack(stack, labels=None):
    return PackedMasks.pack(stack, labels or some_labels(len(stack)))
