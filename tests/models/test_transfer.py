import pytest
import torch
from helpers.tiny_models import random_images, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import save_model
from paxray_lib.models.transfer import last_layer, only_labels, start_from

NAMES = st.lists(st.sampled_from(["heart", "aorta", "lung"]), min_size=1, max_size=5)


@given(NAMES, NAMES)
@settings(max_examples=8)
def test_rows_go_by_name_and_all_else_by_key(tmp_path_factory, names, others):
    path = tmp_path_factory.mktemp("start") / "x.ckpt"
    source, model = tiny_model(labels=LabelSet(others), seed=1), tiny_model(labels=LabelSet(names))
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    save_model(path, source)
    start_from(model, path)
    theirs, layer = source.network.state_dict(), last_layer(model)
    left = list(others)
    for i, name in enumerate(names):
        place = left.index(name) if name in left else None
        if place is not None:
            left[place] = None
        for part in ("weight", "bias"):
            key = f"{layer}.{part}"
            expected = before[key][i] if place is None else theirs[key][place]
            assert torch.equal(model.network.state_dict()[key][i], expected), (name, i)
    for key, value in model.network.state_dict().items():
        assert key.startswith(layer) or torch.equal(value, theirs[key])


@pytest.mark.parametrize("architecture", ["unet", "fpn", "upernet", "pan"])
def test_the_last_layer_gives_the_labels(architecture):
    model = tiny_model(architecture)
    assert len(model.network.get_submodule(last_layer(model)).weight) == len(model.labels)


def test_a_published_file(tmp_path):
    state = build_model("paxray_unet", LABELS).network.state_dict()
    torch.save({"opt": {}, "model": state, "epoch": 3}, tmp_path / "full.pth")
    model = build_model("paxray_unet", ["heart", "pacemaker", "mediastinum_upper"])
    line = start_from(model, tmp_path / "full.pth")
    assert "the rows of 2 labels; anew: 1 labels (pacemaker); left out: 164 of its" in line
    weight = model.network.state_dict()["head.out.conv.weight"]
    for row, index in ((0, LABELS.index("heart")[0]), (2, 12)):
        assert torch.equal(weight[row], state["head.out.conv.weight"][index])


def test_cxas_by_name(tmp_path, monkeypatch):
    state = build_model("paxray_unet", CXAS_LABELS).network.state_dict()
    (tmp_path / "weights").mkdir()
    torch.save({"model": state}, tmp_path / "weights/cxas.pth")
    monkeypatch.chdir(tmp_path)
    model = build_model("paxray_unet", LABELS)
    assert "starts from cxas (paxray_unet)" in start_from(model, "cxas")
    index, source = (labels.index("heart")[0] for labels in (LABELS, CXAS_LABELS))
    weight = model.network.state_dict()["head.out.conv.weight"][index]
    assert torch.equal(weight, state["head.out.conv.weight"][source])


def test_another_network_is_refused_by_name(tmp_path):
    path = tmp_path / "x.ckpt"
    save_model(path, tiny_model("fpn"))
    with pytest.raises(ValueError, match=r"x\.ckpt: .* the architecture 'fpn', not 'unet'"):
        start_from(tiny_model(), path)
    save_model(path, build_model("unet", ["heart"], "resnet18"))
    with pytest.raises(ValueError, match="the encoder 'resnet18', not 'tu-test_resnet'"):
        start_from(tiny_model(), path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from(tiny_model(), tmp_path / "nowhere.ckpt")


def test_a_copy_for_some_labels_gives_their_logits():
    names = ["left_lung", "mediastinum_upper", "heart", "mediastinum_upper", "aorta"]
    model = tiny_model(labels=LabelSet(names)).eval()
    wanted = LabelSet(["heart", "mediastinum_upper", "mediastinum_upper"])
    copy = only_labels(model, wanted).eval()
    assert copy.labels == wanted
    assert copy.preprocessing == model.preprocessing
    with torch.inference_mode():
        images = random_images(1, 3, 64, 64)
        torch.testing.assert_close(copy(images), model(images)[:, [2, 1, 3]], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no labels c7, c6; use another"):
        only_labels(model, LabelSet(["heart", "c7", "c6"]))
