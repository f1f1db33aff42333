"""Building, saving, loading and speeding up networks, with tiny encoders."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from helpers.sampledata import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from paxray_lib.compute.devices import find_device
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.models import build
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.inference import fold_batch_norm, optimize_for_inference
from paxray_lib.models.published import LAST_LAYER

TINY = "tu-test_resnet"
REFERENCE = ROOT / "tests/reference"
NAMES = LabelSet(["heart", "mediastinum_upper", "mediastinum_upper"])


def _tiny(architecture="unet", labels=NAMES, seed=0):
    torch.manual_seed(seed)
    return build_model(architecture, labels, TINY)


def _images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def built():
    return {name: _tiny(name).eval() for name in ("unet", "fpn", "pan", "linknet")}


@settings(max_examples=10)
@given(
    name=st.sampled_from(["unet", "fpn", "pan", "linknet"]),
    height=st.integers(1, 100),
    width=st.integers(1, 100),
)
def test_any_size_gives_logits_of_that_size_as_if_the_border_went_on(built, name, height, width):
    images = _images(1, 3, height, width)
    padded = functional.pad(images, (0, -width % 32, 0, -height % 32), mode="replicate")
    with torch.inference_mode():
        logits, wanted = built[name](images), built[name](padded)
    assert logits.shape == (1, 3, height, width)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits, wanted[..., :height, :width])


def test_forward_is_coarse_then_upsample(built):
    images = _images(1, 3, 65, 40)
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
        assert _tiny(architecture).eval()(_images(1, 3, 50, 70)).shape == (1, 3, 50, 70)


def test_what_a_model_carries():
    model = build_model(
        "UNET", ["heart", "aorta"], TINY, preprocessing=Preprocessing("standard", (32, 48))
    )
    assert model.name == f"unet-{TINY}"
    assert model.labels == LabelSet(["heart", "aorta"])
    prepared = model.preprocess(np.full((10, 20), 0.5, np.float32))
    assert (prepared.shape, prepared.dtype) == ((3, 32, 48), np.float32)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unett", NAMES), "unknown architecture 'unett'; did you mean 'unet'"),
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
    monkeypatch.setattr(build, "_reachable", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(OSError, match="encoder_weights=null"):
        build_model(architecture, NAMES, "resnet50", "imagenet")


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


def test_save_and_load_give_back_the_model(tmp_path):
    model = build_model("unet", NAMES, TINY, preprocessing=Preprocessing("standard", (64, 32)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(_images(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    save_model(tmp_path / "a.ckpt", model, optimizer=optimizer.state_dict(), epoch=3)
    loaded = load_model(tmp_path / "a.ckpt")
    assert not loaded.training
    assert (loaded.labels, loaded.preprocessing, loaded.config) == (
        NAMES,
        model.preprocessing,
        model.config,
    )
    assert torch.equal(loaded(_images(1, 3, 40, 40)), model.eval()(_images(1, 3, 40, 40)))
    extra = read_extra(tmp_path / "a.ckpt")
    assert extra["epoch"] == 3
    optimizer.load_state_dict(extra["optimizer"])


def test_a_checkpoint_keeps_its_resolution_when_the_default_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "UNET_HEAD_STRIDE", 1)
    model = _tiny().eval()
    save_model(tmp_path / "a.ckpt", model)
    monkeypatch.undo()
    loaded = load_model(tmp_path / "a.ckpt")
    assert loaded.coarse(_images(1, 3, 64, 64)).shape[-2:] == (64, 64)
    assert _tiny().coarse(_images(2, 3, 64, 64)).shape[-2:] == (32, 32)


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    save_model(tmp_path / "a.ckpt", _tiny(), epoch=1)
    with pytest.raises(ValueError, match=r"extra\['best'\]\['iou'\] is a float64"):
        save_model(tmp_path / "a.ckpt", _tiny(), best={"iou": np.float64(0.5)})
    assert read_extra(tmp_path / "a.ckpt") == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def _edited(tmp_path, **changes):
    path = tmp_path / "edited.ckpt"
    save_model(path, _tiny())
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"architecture": "fpn", "encoder": TINY}},
            "does not fit fpn-tu-test_resnet with 3 labels",
        ),
        (
            {"labels": ["heart"]},
            r"does not fit unet-tu-test_resnet with 1 labels: 2 shapes: segmentation_head",
        ),
        ({"labels": []}, "damaged checkpoint"),
        ({"config": {"architecture": 3}}, "damaged checkpoint"),
        ({"config": 5}, "damaged checkpoint"),
        (
            {"config": {"architecture": "unet", "encoder": TINY, "head_stride": torch.ones(3)}},
            "damaged checkpoint",
        ),
        ({"config": {"architecture": "unet", "encoder": "resnet1x"}}, "unknown encoder 'resnet1x'"),
        ({"preprocessing": {"kind": "published"}}, "damaged checkpoint"),
        ({"model": {}}, "does not fit|holds no weights"),
        ({"version": 2}, "version 2, not 1"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = _edited(tmp_path, **changes)
    with pytest.raises(ValueError, match=rf"edited\.ckpt: .*({message})"):
        load_model(path)


def test_labels_and_preprocessing_of_a_checkpoint_cannot_be_replaced(tmp_path):
    path = _edited(tmp_path)
    load_model(path, labels=NAMES, preprocessing=Preprocessing("standard"))
    with pytest.raises(ValueError, match="carries its own labels"):
        load_model(path, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="carries its own preprocessing"):
        load_model(path, preprocessing=Preprocessing("published"))


def _published_state(num_labels=166, prefix=""):
    rows = json.loads((REFERENCE / "published_state_dict.json").read_text())["rows"]
    state = {}
    for key, shape, dtype, _ in rows:
        shape = [num_labels, *shape[1:]] if key.startswith("head.out") else shape
        # one stored element each: the file stays small
        state[prefix + key] = torch.full(
            (), 0.5, dtype=getattr(torch, dtype.removeprefix("torch."))
        ).expand(shape)
    return state


@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_checkpoint_loads_with_and_without_prefix(tmp_path, prefix):
    content = {
        "opt": argparse.Namespace(network="resnet50"),
        "model": _published_state(prefix=prefix),
    }
    torch.save({**content, "optimizer": {"state": {}}, "epoch": 110}, tmp_path / "best.pth")
    model = load_model(tmp_path / "best.pth")
    assert (model.labels, model.preprocessing.kind, model.training) == (LABELS, "published", False)
    assert all(bool((p == 0.5).all()) for p in model.parameters())


def test_plain_published_state_with_other_labels_needs_its_preprocessing(tmp_path):
    path = tmp_path / "cxas.pth"
    torch.save({"model": _published_state(159)}, path)
    with pytest.raises(ValueError, match="159 labels, and nothing says how its input was prepared"):
        load_model(path)
    with pytest.raises(ValueError, match="a network for 159 labels, but 166 names given"):
        load_model(path, labels=LABELS)
    model = load_model(path, preprocessing=Preprocessing("standard"))
    assert (len(model.labels), model.labels[158]) == (159, "label_158")


def test_published_code_on_other_data(tmp_path):
    torch.save({"opt": argparse.Namespace(), "model": _published_state(2)}, tmp_path / "own.pth")
    model = load_model(tmp_path / "own.pth", labels=["heart", "aorta"])
    assert (model.labels.names, model.preprocessing.kind) == (("heart", "aorta"), "published")


def test_published_layout_with_a_missing_and_an_extra_key(tmp_path):
    state = _published_state()
    state["head.more"] = state.pop("head.up4.conv.double_conv.3.weight")
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(
        ValueError, match=r"bad\.pth: .*1 missing: head\.up4\.conv.*1 not known: head\.more"
    ):
        load_model(tmp_path / "bad.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({LAST_LAYER: torch.tensor(1.0)}, tmp_path / "number.pth")
    with pytest.raises(ValueError, match=r"number\.pth: neither a checkpoint of this library"):
        load_model(tmp_path / "number.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: neither a checkpoint of this library"):
        load_model(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="cannot be resumed"):
        read_extra(tmp_path / "other.pth")


def test_missing_file_never_gives_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_model(tmp_path / "none.pth")


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'gpu0' is not available"):
        find_device("gpu0")
    with pytest.raises(ValueError, match="device 'cuda:99' is not available"):
        find_device("cuda:99")
    with pytest.raises(ValueError, match="device 'meta' is not available"):
        find_device("meta")


def _with_statistics(model):
    torch.manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


def test_optimized_model_gives_the_same_logits(tmp_path):
    model = _with_statistics(build_model("unet", NAMES, "mobilenet_v2"))
    keys = list(model.state_dict())
    fast = optimize_for_inference(model)
    with torch.inference_mode():
        wanted = model(_images(2, 3, 70, 64))
        torch.testing.assert_close(
            fast(_images(2, 3, 70, 64)), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())
        )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert list(model.state_dict()) == keys
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="cannot be saved"):
        save_model(tmp_path / "fast.ckpt", fast)


def test_optimized_model_in_bfloat16():
    model = _with_statistics(_tiny())
    fast = optimize_for_inference(model, dtype=torch.bfloat16)
    with torch.inference_mode():
        wanted, found = model(_images(1, 3, 64, 64)), fast(_images(1, 3, 64, 64).bfloat16())
    assert found.dtype == torch.bfloat16
    assert float((found - wanted).abs().mean()) < 0.05 * float(wanted.std())


class _Shared(nn.Module):
    """Folding its BatchNorm would be wrong: the convolution's output is read a second time."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_batch_norm_is_not_folded_where_that_would_change_the_result():
    network = _with_statistics(_Shared())
    images = _images(1, 3, 8, 8)
    torch.testing.assert_close(fold_batch_norm(network)(images), network(images))


_PEAK = """
import resource, sys, torch
from paxray_lib.model import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_model(sys.argv[1])
sys.stdout.write(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak has another unit elsewhere")
def test_optimizer_state_is_not_read_into_memory(tmp_path):
    state = {key: value.clone() for key, value in _published_state().items()}
    optimizer = {"state": {i: {"exp_avg": torch.zeros(100_000_000)} for i in range(2)}}  # 800 MB
    torch.save(
        {"opt": argparse.Namespace(), "model": state, "optimizer": optimizer, "epoch": 1},
        tmp_path / "full.pth",
    )
    result = subprocess.run(
        [sys.executable, "-c", _PEAK, tmp_path / "full.pth"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(result.stdout) < 750  # MB: the weights mapped and copied, 2 x 294
