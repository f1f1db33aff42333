"""Models saved and loaded."""

import argparse
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.checkpoints import changed, with_weight
from helpers.sampledata import ROOT
from helpers.tiny_models import NAMES, TINY, random_images, tiny_model
from torch import nn

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import CXAS_LABELS, LABELS
from paxray_lib.models import build
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.published import LAST_LAYER

REFERENCE = ROOT / "tests/reference"
UNET = {"architecture": "unet", "encoder": TINY}


def test_save_and_load_give_back_the_model(tmp_path):
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 32)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(random_images(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    save_model(tmp_path / "a.ckpt", model, optimizer=optimizer.state_dict(), epoch=3)
    loaded = load_model(tmp_path / "a.ckpt")
    assert not loaded.training
    assert (loaded.labels, loaded.preprocessing, loaded.config) == (
        NAMES,
        model.preprocessing,
        model.config,
    )
    assert torch.equal(
        loaded(random_images(1, 3, 40, 40)), model.eval()(random_images(1, 3, 40, 40))
    )
    extra = read_extra(tmp_path / "a.ckpt")
    assert extra["epoch"] == 3
    optimizer.load_state_dict(extra["optimizer"])


def test_a_checkpoint_keeps_its_resolution_when_the_default_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "UNET_HEAD_STRIDE", 1)
    model = tiny_model().eval()
    save_model(tmp_path / "a.ckpt", model)
    monkeypatch.undo()
    loaded = load_model(tmp_path / "a.ckpt")
    assert loaded.coarse(random_images(1, 3, 64, 64)).shape[-2:] == (64, 64)
    assert tiny_model().coarse(random_images(2, 3, 64, 64)).shape[-2:] == (32, 32)


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    save_model(tmp_path / "a.ckpt", tiny_model(), epoch=1)
    with pytest.raises(ValueError, match=r"extra\['best'\]\['iou'\] is a float64"):
        save_model(tmp_path / "a.ckpt", tiny_model(), best={"iou": np.float64(0.5)})
    assert read_extra(tmp_path / "a.ckpt") == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def _edited(tmp_path, **changes):
    path = tmp_path / "edited.ckpt"
    path.write_bytes(changed(**changes))
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
        ({"config": {**UNET, "decoder_channels": 10**9}}, "damaged checkpoint .*decoder_channels"),
        ({"config": {**UNET, "encoder": "x" * 1_000_000}}, "damaged checkpoint .{,250}$"),
        ({"config": {**UNET, "architecture": "fpn", "head_stride": 2}}, "head_stride is 2: must"),
        ({"config": {**UNET, "head_stride": 10**9}}, "head_stride is 1000000000: must be 1"),
        (
            {"config": {**UNET, "head_stride": torch.ones(3)}},
            "damaged checkpoint",
        ),
        ({"config": {**UNET, "encoder": "resnet1x"}}, "unknown encoder 'resnet1x'"),
        ({"config": {**UNET, "encoder": "tu-test_resnet.../../x"}}, "does not work with the enc"),
        ({"preprocessing": {"kind": "published"}}, "damaged checkpoint"),
        ({"model": {}}, "does not fit|holds no weights"),
        ({"preprocessing": {"kind": "standard", "size": [60000, 60000]}}, "60000.* up to 4096"),
        ({"version": 2}, "version 2, not 1"),
        ({"version": torch.ones(3)}, r"damaged checkpoint \(version tensor"),
        ({"signed": False, "digests": torch.ones(3)}, "damaged checkpoint"),
        ({"signed": False, "labels": ["lungs", "heart", "aorta"]}, "digest says that labels was"),
        ({"signed": False, "preprocessing": {"kind": "published", "size": [512, 512]}}, "digest"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = _edited(tmp_path, **changes)
    with pytest.raises(ValueError, match=rf"edited\.ckpt: .*({message})"):
        load_model(path)


def test_a_checkpoint_of_before_has_no_digests(tmp_path):
    path = _edited(tmp_path, signed=False, digests=None)
    assert load_model(path).labels == NAMES
    assert read_extra(path) == {"epoch": 3}


def test_a_resume_notices_what_was_changed(tmp_path):
    path = _edited(tmp_path, signed=False, extra={"epoch": 4})
    load_model(path)  # which does not read it
    with pytest.raises(ValueError, match=r"edited\.ckpt: .*digest says that extra was changed"):
        read_extra(path)
    with pytest.raises(ValueError, match=r"edited\.ckpt: damaged checkpoint \(KeyError: 'extra'"):
        read_extra(_edited(tmp_path, signed=False, extra=None))
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"edited\.ckpt: damaged checkpoint \(RecursionError"):
        read_extra(_edited(tmp_path, signed=False, extra=endless))


@pytest.mark.parametrize(
    ("value", "message"),
    [(math.nan, "not finite"), (-math.inf, "not finite"), (-0.1, "negative variance")],
)
def test_weights_that_cannot_be_are_named(tmp_path, value, message):
    path = tmp_path / "a.ckpt"
    path.write_bytes(with_weight(value))
    with pytest.raises(ValueError, match=rf"a\.ckpt: encoder\.\S+\.running_var has .*{message}"):
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
    path = tmp_path / "own.pth"
    torch.save({"model": _published_state(158)}, path)
    with pytest.raises(ValueError, match="158 labels, and nothing says how its input was prepared"):
        load_model(path)
    with pytest.raises(ValueError, match="a network for 158 labels, but 166 names given"):
        load_model(path, labels=LABELS)
    model = load_model(path, preprocessing=Preprocessing("standard"))
    assert (len(model.labels), model.labels[157]) == (158, "label_157")


@pytest.mark.parametrize("extra", [{}, {"opt": argparse.Namespace(), "epoch": 3}])
def test_published_keys_with_159_outputs_are_cxas_whatever_the_file_is_called(tmp_path, extra):
    path = tmp_path / "any.pth"
    torch.save({"model": _published_state(159, "module."), **extra}, path)
    model = load_model(path)
    assert (model.labels, model.preprocessing) == (CXAS_LABELS, Preprocessing("cxas"))
    model = load_model(path, labels=map(str, range(159)), preprocessing=Preprocessing("published"))
    assert (model.labels[158], model.preprocessing.kind) == ("158", "published")


def test_cxas_by_name_is_the_file_in_weights_or_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="paxray fetch weights --which cxas"):
        load_model("cxas")
    (tmp_path / "weights").mkdir()
    torch.save(_published_state(159), "weights/cxas.pth")
    assert load_model("cxas").labels == CXAS_LABELS
    torch.save(_published_state(166), "cxas")  # a file of the name is that file
    assert load_model("cxas").labels == LABELS


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


_PEAK = """
import resource, sys, torch
from paxray_lib.models.checkpoints import load_model
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
