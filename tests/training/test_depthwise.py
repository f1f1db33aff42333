"""Which convolutions of a training on a CPU are computed in float32."""

import pytest
import torch
from helpers.tiny_models import NAMES
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models.build import build_model
from paxray_lib.training.depthwise import depthwise_in_float32
from paxray_lib.training.loop import NetworkWithLoss

CPU = torch.device("cpu")


class Convolutions(TorchDispatchMode):
    """Notes whether a convolution has groups, and the type of its numbers."""

    def __init__(self):
        super().__init__()
        self.noted = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            images, weight = args[:2]
            self.noted.add((weight.shape[1] < images.shape[1], images.dtype))
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("half", [True, False])
def test_a_step_computes_depthwise_convolutions_in_float32_and_the_others_as_asked(half):
    model = build_model("unet", NAMES, "tu-test_efficientnet", None, Preprocessing("per_image"))
    network = NetworkWithLoss(model, "present")
    keys = list(model.state_dict())
    images, targets = torch.rand(2, 64, 64), torch.ones(2, 64, 64, 1, dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=half), Convolutions() as convolutions:
        loss = network(images, targets)
    loss.backward()
    others = torch.bfloat16 if half else torch.float32
    assert convolutions.noted == {(True, torch.float32), (False, others)}
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("bias", [True, False])
def test_the_result_is_that_of_float32_in_the_type_of_autocast(bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, groups=8, bias=bias)
    images = torch.rand(1, 8, 9, 9).bfloat16()
    exact = layer(images.float()).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), depthwise_in_float32(CPU):
        assert torch.equal(layer(images), exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(layer(images), exact)
