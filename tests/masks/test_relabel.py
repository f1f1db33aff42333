import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks

NAMES = st.lists(st.sampled_from("abcdefghijklmnopq"), min_size=1, max_size=40)


@given(NAMES, NAMES, st.integers(0, 99))
def test_masks_in_other_labels_equal_a_slow_copy(names, others, seed):
    rng = np.random.default_rng(seed)
    stack, known = rng.random((len(names), 3, 5)) < 0.5, rng.random(len(names)) < 0.7
    masks = PackedMasks.pack(stack, LabelSet(names)).knowing(known)
    moved = masks.relabel(LabelSet(others))
    left, dense = list(names), masks.unpack()
    for i, name in enumerate(others):
        source = left.index(name) if name in left else None
        if source is None:
            assert not moved.known[i]
            assert not moved.unpack()[i].any()
        else:
            left[source] = None
            assert moved.known[i] == known[source]
            assert np.array_equal(moved.unpack()[i], dense[source])
    assert moved.labels == LabelSet(others)
