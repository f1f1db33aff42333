"""Networks by name, and the weights of their encoders."""

import pytest
import torch
import torchvision
from helpers.tiny_models import NAMES
from huggingface_hub import constants
from safetensors.torch import save_file

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models.build import build_model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unett", NAMES), "architecture 'unett': unknown; did you mean 'unet'"),
        (("paxray-unet", NAMES), "did you mean 'paxray_unet'"),
        (("unet", NAMES, "resnet81"), "unknown encoder 'resnet81'; did you mean 'resnet18'"),
        (("unet", NAMES, "tu-test_resnot"), "did you mean 'tu-test_resnet'"),
        (("dpt", NAMES, "resnet18"), "dpt does not work with the encoder resnet18"),
        (("paxray_unet", NAMES, "resnet18"), "paxray_unet has the encoder resnet50"),
        (("unet", []), "label names"),
    ],
)
def test_names_that_do_not_exist(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(*arguments)


@pytest.mark.parametrize("architecture", ["unet", "paxray_unet"])
def test_offline_imagenet_weights_fail_at_once_with_the_remedy(architecture, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(OSError, match="encoder_weights=null"):
        build_model(architecture, NAMES, "resnet50", "imagenet")
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_encoder_weights_from_a_file(tmp_path, suffix):
    state = torchvision.models.resnet18(weights=None).state_dict()
    path = tmp_path / f"resnet18{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    model = build_model("fpn", NAMES, "resnet18", path)
    assert torch.equal(model.network.encoder.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    with pytest.raises(ValueError, match=r"does not fit the encoder resnet34: .* missing"):
        build_model("fpn", NAMES, "resnet34", path)


def test_encoder_weights_of_a_larger_network_are_refused(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), path)
    with pytest.raises(
        ValueError,
        match=r"does not fit the encoder resnet18: .* not known: layer1\.2\.conv1\.weight",
    ):
        build_model("fpn", NAMES, "resnet18", path)


def test_published_network_takes_torchvision_weights(tmp_path):
    state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet50.pth")
    model = build_model("paxray_unet", NAMES, encoder_weights=tmp_path / "resnet50.pth")
    assert torch.equal(model.network.backbone.backbone.layer0[0].weight, state["conv1.weight"])
    assert torch.equal(
        model.network.backbone.backbone.layer3[5].bn2.bias, state["layer3.5.bn2.bias"]
    )
    assert (model.name, model.preprocessing) == (
        "paxray_unet",
        Preprocessing("published", (512, 512)),
    )
