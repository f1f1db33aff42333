"""CXAS against numbers recorded from its own code (tests/reference/cxas_forward.json)."""

import json

import numpy as np
import pytest
import torch
from helpers.formula_weights import formula_tensor
from helpers.sampledata import ROOT

from paxray_lib.images.read import read_image
from paxray_lib.models import load_model, predict_image

REFERENCE = ROOT / "tests/reference"
WANTED = json.loads((REFERENCE / "cxas_forward.json").read_text())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rows = json.loads((REFERENCE / "published_state_dict.json").read_text())["rows"]
    state = {}
    for i, (key, shape, _, kind) in enumerate(rows):
        shape = [159, *shape[1:]] if key.startswith("head.out") else shape
        state[key] = formula_tensor(i, shape, kind)
    path = tmp_path_factory.mktemp("cxas") / "any.pth"
    torch.save({"model": state}, path)
    loaded = load_model(path)
    path.unlink()
    return loaded


@pytest.fixture(scope="module")
def image():
    return read_image(REFERENCE / "formula_300x420.png")


@pytest.mark.slow
def test_input_and_logits_are_those_of_cxas(model, image):
    inputs = model.preprocess(image)
    assert inputs.mean(dtype=float) == pytest.approx(WANTED["input_mean"], abs=1e-5)
    assert inputs.std(dtype=float) == pytest.approx(WANTED["input_std"], abs=1e-5)
    for *position, value in WANTED["input"]:
        assert inputs[tuple(position)] == pytest.approx(value, abs=1e-5)
    with torch.inference_mode():
        logits = model(torch.from_numpy(inputs)[None])[0]
    for *position, value in WANTED["logits"]:
        assert float(logits[tuple(position)]) == pytest.approx(value, abs=1e-3)
    near = np.array(WANTED["near_threshold_1e-4"])
    positive = (logits > 0).sum((1, 2)).numpy()
    assert (np.abs(positive - WANTED["positive_512"]) <= near).all()


@pytest.mark.slow
def test_masks_at_the_images_size_are_those_of_cxas(model, image):
    masks = predict_image(model, image)
    assert masks.shape == (159, 300, 420)
    near = np.array(WANTED["near_threshold_1e-4"])
    assert (np.abs(masks.counts() - WANTED["positive_300x420"]) <= near).all()
