"""The model type, with tiny encoders."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import TINY, random_images, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.build import build_model


@pytest.fixture(scope="module")
def built():
    return {name: tiny_model(name).eval() for name in ("unet", "fpn", "pan", "linknet")}


@settings(max_examples=10)
@given(
    name=st.sampled_from(["unet", "fpn", "pan", "linknet"]),
    height=st.integers(1, 100),
    width=st.integers(1, 100),
)
def test_any_size_gives_logits_of_that_size_as_if_the_border_went_on(built, name, height, width):
    images = random_images(1, 3, height, width)
    padded = functional.pad(images, (0, -width % 32, 0, -height % 32), mode="replicate")
    with torch.inference_mode():
        logits, wanted = built[name](images), built[name](padded)
    assert logits.shape == (1, 3, height, width)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits, wanted[..., :height, :width])


def test_forward_is_coarse_then_upsample(built):
    images = random_images(1, 3, 65, 40)
    with torch.inference_mode():
        coarse = built["unet"].coarse(images)
        assert coarse.shape == (1, 3, 48, 32)  # half of 96 x 64
        enlarged = functional.interpolate(coarse, (96, 64), mode="bilinear", align_corners=False)
        assert torch.equal(built["unet"](images), enlarged[..., :65, :40])


@pytest.mark.parametrize(
    "architecture", ["unetplusplus", "manet", "pspnet", "deeplabv3", "deeplabv3plus", "upernet"]
)
def test_other_decoders_take_odd_sizes(architecture):
    with torch.inference_mode():
        assert tiny_model(architecture).eval()(random_images(1, 3, 50, 70)).shape == (1, 3, 50, 70)


def test_what_a_model_carries():
    model = build_model(
        "UNET", ["heart", "aorta"], TINY, preprocessing=Preprocessing("standard", (32, 48))
    )
    assert model.name == f"unet-{TINY}"
    assert model.labels == LabelSet(["heart", "aorta"])
    prepared = model.preprocess(np.full((10, 20), 0.5, np.float32))
    assert (prepared.shape, prepared.dtype) == ((3, 32, 48), np.float32)
    assert model.training


def test_a_model_in_training_is_applied_as_in_evaluation_and_stays_as_it_is():
    model, inputs = tiny_model().train(), random_images(3, 3, 32, 32).numpy()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = model.coarse_logits(inputs)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    np.testing.assert_array_equal(found, model.eval().coarse_logits(inputs))
