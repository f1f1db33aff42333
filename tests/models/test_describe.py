import pytest
import torch

from paxray_lib.models.build import build_model
from paxray_lib.models.describe import layer_table

LABELS = ["lung_left", "lung_right", "heart"]


@pytest.mark.parametrize(
    ("architecture", "encoder", "last"),
    [
        ("unet", "resnet18", "segmentation_head"),
        ("unet", "tu-tf_efficientnet_lite0", "segmentation_head"),
        ("fpn", "resnet18", "segmentation_head.0"),
        ("paxray_unet", "resnet50", "head.out"),
    ],
)
def test_layer_table_names_each_parameter_once(architecture, encoder, last):
    model = build_model(architecture, LABELS, encoder=encoder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = layer_table(model, 64)
    assert 8 <= len(table) <= 16
    assert table["parameters"].sum() == sum(p.numel() for p in model.parameters())
    assert table.index[-1] == last
    assert table.loc[last, "output"].startswith("3 x ")
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_layer_table_has_the_shapes_of_a_unet():
    table = layer_table(build_model("unet", LABELS, encoder="resnet18"), 64)
    assert table.loc["encoder.layer4", "output"] == "512 x 2 x 2"
    stages = layer_table(build_model("unet", LABELS, encoder="tu-tf_efficientnet_lite0"), 64)
    assert stages.loc["encoder.model.blocks.6", "output"] == "320 x 2 x 2"
    assert table.loc["segmentation_head", "output"] == "3 x 32 x 32"
