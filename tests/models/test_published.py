"""The published network against numbers recorded from the published code (tests/reference)."""

import json

import numpy as np
import pytest
import torch
from helpers.formula_weights import formula_tensor
from helpers.sampledata import ROOT
from torch.nn import functional

from paxray_lib.labels.table import LABELS
from paxray_lib.models import build_model

REFERENCE = ROOT / "tests/reference"


@pytest.fixture(scope="module")
def rows() -> list:
    return json.loads((REFERENCE / "published_state_dict.json").read_text())["rows"]


def test_state_dict_has_the_published_keys_shapes_and_order(rows):
    with torch.device("meta"):
        network = build_model("paxray_unet", LABELS).network
    found = [
        [key, list(value.shape), str(value.dtype)] for key, value in network.state_dict().items()
    ]
    assert found == [row[:3] for row in rows]
    assert sum(p.numel() for p in network.parameters()) == 73_381_094


def test_logits_equal_the_published_ones(rows):
    wanted = json.loads((REFERENCE / "published_forward.json").read_text())
    with torch.device("meta"):
        model = build_model("paxray_unet", LABELS).eval()
    model.network.load_state_dict(
        {row[0]: formula_tensor(i, row[1], row[3]) for i, row in enumerate(rows)}, assign=True
    )
    c, h, w = np.ogrid[:3, :160, :192]
    images = torch.from_numpy(np.cos(0.01 * h + 0.02 * w + c).astype(np.float32))[None]
    with torch.inference_mode():
        logits = model(images)
    assert list(logits.shape) == wanted["logits"]["shape"]
    for name in ("mean", "std", "min", "max"):
        assert float(getattr(logits.double(), name)()) == pytest.approx(
            wanted["logits"][name], abs=1e-4
        )
    for label, y, x, _, exact in wanted["samples"]["rows"]:
        assert float(logits[0, label, y, x]) == pytest.approx(exact, abs=1e-4)


def test_convolution_before_upsampling_changes_neither_values_nor_gradients():
    torch.manual_seed(0)
    model = build_model("paxray_unet", ["a", "b", "c"])
    network, maps = model.network, []
    network.head.up4.register_forward_hook(lambda _, __, out: maps.append(out))
    logits = model(torch.randn(2, 3, 37, 50))
    enlarged = functional.interpolate(maps[0], (37, 50), mode="bilinear", align_corners=False)
    published = network.head.out(enlarged)
    torch.testing.assert_close(logits, published, rtol=1e-4, atol=1e-5)
    weight = network.head.out.conv.weight
    ours, theirs = (
        torch.autograd.grad(y.square().sum(), weight, retain_graph=True)[0]
        for y in (logits, published)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
