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
from paxray_lib.models.outlines import pack_enlarged

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
        bits = pack_enlarged(list(logits), above.data, cut, size).numpy()
    differs = PackedMasks(bits, names).unpack() != (wanted > cut)
    assert np.abs(wanted[differs] - cut).max(initial=0) < 1e-5


def model_of(kind):
    labels = LabelSet(["a", "b"])  # of none are strays known
    return tiny_model(labels=labels, preprocessing=Preprocessing(kind, (32, 32)))


@pytest.mark.parametrize("kind", ["published", "cxas"])
def test_published_code_enlarges_bits(kind):
    logits = torch.randn(1, 2, 32, 32)
    bits = decide(model_of(kind), logits, 0.6, (50, 40))
    assert torch.equal(bits, pack_decisions(logits, 0.6)[0])


def test_images_beyond_the_limit_are_not_held_whole(monkeypatch):
    logits, model = torch.randn(1, 2, 32, 32), model_of("standard")
    assert decide(model, logits, 0.5, (50, 40)).shape == (50, 40, 1)
    for limit, held in ((2000, (50, 40)), (1999, (25, 20)), (500, (25, 20)), (499, (17, 14))):
        monkeypatch.setattr(inference, "MAX_SMOOTH", limit)
        assert decide(model, logits, 0.5, (50, 40)).shape == (*held, 1)


def test_at_the_networks_size_nothing_is_enlarged():
    logits = torch.randn(1, 2, 32, 32)
    bits = decide(model_of("standard"), logits, 0.5, (32, 32))
    assert torch.equal(bits, pack_decisions(logits)[0])
