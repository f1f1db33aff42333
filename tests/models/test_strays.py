"""Stray pieces are found as a slow labelling finds them, and left out of what is decided."""

import numpy as np
import pytest
from helpers.tiny_models import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.inference import decide
from paxray_lib.models.strays import find_strays

# of one piece, of many, of one twice, not in the table, and enough for a second byte
NAMES = ["heart", "ribs", "mediastinum_upper", "mediastinum_upper", "tube", "bones", "lung_left"]
NAMES += ["rib_left_3", "lung_left_vessel", "aorta"]
CLEANED = [0, 2, 3, 6, 7, 9]


def strays(mask):
    """Return the stray pixels of a (h, w) bool mask, piece by piece."""
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = [int((pieces == k).sum()) for k in range(1, count + 1)]
    found = np.zeros_like(mask)
    for k, size in enumerate(sizes, 1):
        if size < max(sizes) / 10:
            found |= pieces == k
    return found


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_strays_are_those_of_a_slow_labelling(size, share, seed):
    rng = np.random.default_rng(seed)
    # dense on one side, so that large pieces and strays are there
    stack = rng.random((len(NAMES), *size)) < share * np.linspace(0, 1, size[1])
    found = np.zeros_like(stack)
    for i, rows, columns in find_strays(PackedMasks.pack(stack, LabelSet(NAMES)).data, NAMES):
        assert len(rows)
        found[i, rows, columns] = True
    for i, mask in enumerate(stack):
        wanted = strays(mask) if i in CLEANED else np.zeros_like(mask)
        np.testing.assert_array_equal(found[i], wanted, err_msg=NAMES[i])


def logits_with_strays():
    """Return logits (L, 32, 32): in each label a large piece at the left, a stray at the
    right.
    """
    logits = np.full((len(NAMES), 32, 32), -2.0, np.float32)
    logits[..., 4:16, 4:16] = 1.0
    logits[..., 20:22, 28] = 5.0
    return logits


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("standard", (32, 32)),
        ("standard", (64, 48)),
        ("standard", (7000, 7000)),
        ("per_image", (64, 48)),
    ],
)
def test_decisions_have_no_strays(kind, size):
    model = tiny_model(labels=LabelSet(NAMES), preprocessing=Preprocessing(kind, (32, 32)))
    clean = logits_with_strays()
    clean[..., 20:22, 28] = -2.0
    bits, wanted = (decide(model, some, 0.5, size) for some in (logits_with_strays(), clean))
    with_strays, without = (PackedMasks(some, model.labels).unpack() for some in (bits, wanted))
    middle = with_strays.shape[2] * 5 // 8
    np.testing.assert_array_equal(with_strays[..., :middle], without[..., :middle])
    left = [i for i, mask in enumerate(with_strays) if not mask[:, middle:].any()]
    assert left == CLEANED


def test_decisions_on_some_labels_are_those_on_all():
    model = tiny_model(labels=LabelSet(NAMES), preprocessing=Preprocessing("standard", (32, 32)))
    indices = [7, 1, 4, 0]
    bits = decide(model, logits_with_strays()[indices], 0.5, (64, 64), indices)
    every = decide(model, logits_with_strays(), 0.5, (64, 64))
    wanted = PackedMasks(every, model.labels).select(indices)
    assert np.array_equal(bits, wanted.data)


@pytest.mark.parametrize("kind", ["published", "cxas"])
def test_published_code_keeps_strays(kind):
    model = tiny_model(labels=LabelSet(NAMES), preprocessing=Preprocessing(kind, (32, 32)))
    logits = logits_with_strays()
    assert np.array_equal(decide(model, logits, 0.5, (64, 64)), pack_decisions(logits))


def test_a_stray_beside_its_mask_does_not_come_back_with_the_enlarged_outline():
    model = tiny_model(labels=["heart"])
    logits = np.full((1, 64, 64), -5, np.float32)
    logits[0, 8:56, 8:20] = logits[0, 44:56, 8:56] = 5  # an L, and a stray within its rectangle
    alone = decide(model, logits.copy(), 0.5, (128, 128))
    logits[0, 12:16, 40:44] = 5
    np.testing.assert_array_equal(decide(model, logits, 0.5, (128, 128)), alone)
