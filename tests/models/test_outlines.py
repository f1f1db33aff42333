"""Decisions at an image's own size against logits that are enlarged as a whole."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.models import inference, outlines
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.inference import decide
from paxray_lib.models.outlines import enlarge, pack_enlarged

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=100, deadline=None)
@given(
    source=sizes, size=sizes, labels=st.integers(1, 18), block=st.integers(1, 60), data=st.data()
)
def test_blocks_equal_the_whole(source, size, labels, block, data):
    cut, seed = data.draw(st.sampled_from([0.0, -1.5, 1.5])), data.draw(st.integers(0, 99))
    logits = torch.randn(labels, *source, generator=torch.Generator().manual_seed(seed))
    wanted = interpolate(logits[None].double(), size, mode="bilinear")[0].numpy()
    names = LabelSet(f"label {i}" for i in range(labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_BLOCK", block)
        above = PackedMasks.pack((logits > cut).numpy(), names)
        bits = pack_enlarged(logits.numpy(), above.data, cut, size)
    differs = PackedMasks(bits, names).unpack() != (wanted > cut)
    assert np.abs(wanted[differs] - cut).max(initial=0) < 1e-5


def noise():
    return np.random.default_rng(0).standard_normal((2, 32, 32), np.float32)


def model_of(kind):
    labels = LabelSet(["a", "b"])  # of none are strays known
    return tiny_model(labels=labels, preprocessing=Preprocessing(kind, (32, 32)))


def test_whole_numbers_at_the_threshold_are_not_above_it():
    # down each column from above the threshold, through it, to below, and up again
    plane = np.array([[2.0, -2.0], [0.0, 0.0], [-2.0, 2.0], [0.0, 0.0]], np.float32)
    above = PackedMasks.pack(plane[None] > 0, LabelSet(["a"]))
    bits = pack_enlarged(plane[None], above.data, 0.0, (12, 2))
    wanted = interpolate(torch.from_numpy(plane)[None, None], (12, 2), mode="bilinear")[0, 0] > 0
    assert np.array_equal(bits[..., 0] != 0, wanted.numpy())


@settings(max_examples=50, deadline=None)
@given(source=sizes, size=sizes, seed=st.integers(0, 99))
def test_planes_are_enlarged_as_torch_does(source, size, seed):
    planes = np.random.default_rng(seed).standard_normal((3, *source), np.float32)
    size = tuple(max(pair) for pair in zip(source, size, strict=True))
    wanted = interpolate(torch.from_numpy(planes)[None], size, mode="bilinear")[0].numpy()
    np.testing.assert_allclose(enlarge(planes, size), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["published", "cxas"])
def test_published_code_enlarges_bits(kind):
    logits = noise()
    bits = decide(model_of(kind), logits, 0.6, (50, 40))
    assert np.array_equal(bits, pack_decisions(logits, 0.6))


def test_images_beyond_the_limit_are_not_held_whole(monkeypatch):
    logits, model = noise(), model_of("standard")
    assert decide(model, logits, 0.5, (50, 40)).shape == (50, 40, 1)
    for limit, held in ((2000, (50, 40)), (1999, (25, 20)), (500, (25, 20)), (499, (17, 14))):
        monkeypatch.setattr(inference, "MAX_SMOOTH", limit)
        assert decide(model, logits, 0.5, (50, 40)).shape == (*held, 1)


def test_at_the_networks_size_nothing_is_enlarged():
    logits = noise()
    bits = decide(model_of("standard"), logits, 0.5, (32, 32))
    assert np.array_equal(bits, pack_decisions(logits))
