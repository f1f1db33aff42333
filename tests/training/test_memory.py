import pytest
import torch

from paxray_lib.labels.table import LABELS
from paxray_lib.models.build import build_model
from paxray_lib.models.published import RECOMPUTED
from paxray_lib.training.memory import activation_bytes, step_bytes


def kept_by_autograd(model, images):
    """Bytes that a real forward pass keeps, and the shape of its result."""
    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    for name, stage in model.named_modules():
        if name.startswith("network.backbone.backbone.") and name.endswith(RECOMPUTED):
            stage.register_forward_pre_hook(
                lambda _, inputs: (keep(inputs[0]), None)[1]
            )  # all that it is made from again
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        coarse = model.coarse(images)
    sizes = (
        tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own
    )
    return sum(sizes), coarse.shape


@pytest.mark.parametrize("architecture", ["unet", "paxray_unet"])
def test_what_autograd_keeps_is_known_before(architecture):
    model = build_model(
        architecture, LABELS, "resnet18" if architecture == "unet" else "resnet50"
    ).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    on_cpu, elsewhere = (activation_bytes(model, 2, 64, on_cpu=on_cpu) for on_cpu in (True, False))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), (
        "nothing is changed"
    )
    real = kept_by_autograd(model, torch.rand(2, 3, 64, 64))
    assert on_cpu == real
    if architecture == "paxray_unet":
        assert on_cpu[0] < 0.6 * elsewhere[0]
    else:
        assert on_cpu == elsewhere


def test_a_step_grows_with_the_batch_and_shrinks_with_precision():
    model = build_model("unet", LABELS, "resnet18")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    one, two = (step_bytes(model, n, 64) - 16 * parameters for n in (1, 2))
    assert one > 0
    assert two == pytest.approx(2 * one, rel=0.05)
    assert step_bytes(model, 1, 64, torch.bfloat16) - 18 * parameters == pytest.approx(
        one / 2, rel=0.05
    )
    assert step_bytes(model, 1, 64, on_cpu=True) < step_bytes(model, 1, 64)


@pytest.mark.parametrize(
    ("architecture", "encoder", "batch", "size", "dtype", "gib"),
    [
        ("paxray_unet", "resnet50", 3, 480, torch.float32, 2.16),
        ("paxray_unet", "resnet50", 3, 480, torch.bfloat16, 1.88),
        ("unet", "resnet18", 8, 128, torch.float32, 0.48),
        ("unet", "resnet18", 8, 128, torch.bfloat16, 0.45),
        ("fpn", "resnet50", 2, 256, torch.float32, 0.77),
    ],
)
def test_a_step_on_a_cpu_needs_what_was_measured(architecture, encoder, batch, size, dtype, gib):
    # growth of the peak of resident memory over three steps
    model = build_model(architecture, LABELS, encoder)
    assert step_bytes(model, batch, size, dtype, on_cpu=True) / 2**30 == pytest.approx(
        gib, rel=0.25
    )
