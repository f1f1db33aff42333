import pytest
import torch

from paxray_lib.labels import LABELS
from paxray_lib.memory import activation_bytes, step_bytes
from paxray_lib.model import build_model


def kept_by_autograd(model, images):
    """Bytes that a real forward pass keeps, and those of its result."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        coarse = model.coarse(images)
    sizes = (tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)
    return sum(sizes), coarse.numel() * coarse.element_size()


@pytest.mark.parametrize("architecture", ["unet", "paxray_unet"])
def test_what_autograd_keeps_is_known_before(architecture):
    model = build_model(architecture, LABELS, "resnet18" if architecture == "unet" else "resnet50").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = activation_bytes(model, 2, 64)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "nothing is changed"
    real = kept_by_autograd(model, torch.rand(2, 3, 64, 64))
    if architecture == "paxray_unet":  # which keeps less on a CPU than elsewhere
        assert expected[1] == real[1]
        assert 0.3 * expected[0] < real[0] < expected[0]
    else:
        assert expected == real


def test_a_step_grows_with_the_batch_and_shrinks_with_precision():
    model = build_model("unet", LABELS, "resnet18")
    weights = 4 * 4 * sum(parameter.numel() for parameter in model.parameters())
    one, two = (step_bytes(model, n, 64) - weights for n in (1, 2))
    assert one > 0
    assert two == pytest.approx(2 * one, rel=0.05)
    assert step_bytes(model, 1, 64, torch.bfloat16) - weights == pytest.approx(one / 2, rel=0.05)
    assert step_bytes(model, 1, 64, whole=False) < step_bytes(model, 1, 64)
