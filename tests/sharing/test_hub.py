"""A model as a folder: exactly its weights, and a card that says what is known of it."""

import json
import os

import numpy as np
import pytest
import safetensors
import torch
import yaml
from helpers.portable_files import ABOUT, portable_bytes
from helpers.sampledata import ROOT
from helpers.tiny_models import NAMES, random_images, tiny_model

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models import load_model, predict_image, save_model
from paxray_lib.models.portable import read_portable
from paxray_lib.sharing.hub import export_hub

SETTINGS = {
    "data_root": "/srv/secret/set1",
    "init_from": "runs/before/checkpoints/best.ckpt",
    "run_dir": "/srv/secret/run",
    "threshold": 0.4,
    "epochs": 7,
}
SCORES = {"images": 12, "dice_present": 0.876543, "dice_present_interval": [0.8, 0.9]}


@pytest.fixture
def best(tmp_path):
    """The best checkpoint of a run that was evaluated."""
    path = tmp_path / "run/checkpoints/best.ckpt"
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 96)))
    model(random_images(4, 3, 64, 96))
    path.parent.mkdir(parents=True)
    save_model(path, model, config=SETTINGS)
    write_summary(path)
    return path


def write_summary(checkpoint, **changes):
    summary = {
        "model": load_model(checkpoint).name,
        "datafile": "/srv/secret/set2/paxray.json",
        "split": "test",
        "overall": SCORES,
    }
    path = checkpoint.parent.parent / "evaluation/summary.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(summary | changes))
    return path


def card_of(folder):
    """Return the front matter of a folder's card, and its text."""
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def assert_same(model, other):
    assert (model.labels, model.preprocessing) == (other.labels, other.preprocessing)
    assert model.config == other.config
    theirs = other.network.state_dict()
    for key, value in model.network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, theirs[key]), key


def test_a_checkpoint_gives_the_same_masks(best, tmp_path):
    export_hub(best, tmp_path / "hub", "MIT")
    model, original = load_model(tmp_path / "hub"), load_model(best)
    assert_same(model, original)
    film = np.random.default_rng(0).random((90, 120), np.float32)
    assert np.array_equal(predict_image(model, film).data, predict_image(original, film).data)


def test_the_open_model_comes_whole_with_its_notices(tmp_path):
    export_hub("open", tmp_path / "hub")
    assert_same(load_model(tmp_path / "hub"), load_model("open"))
    names = {path.name for path in (tmp_path / "hub").iterdir()}
    notices = {"LICENSE", "NOTICES.md", "APACHE-2.0.txt"}
    assert names == {"config.json", "model.safetensors", "README.md"} | notices
    size = (tmp_path / "hub/model.safetensors").stat().st_size
    assert size < (ROOT / "paxray_lib/models/open/open.safetensors").stat().st_size
    front, text = card_of(tmp_path / "hub")
    assert front["license"] == "mit"
    assert "| wingspan, heart | 0.9" in text
    assert "| 40 |" in text


def test_a_model_that_began_with_the_open_one_comes_with_its_notices(best, tmp_path):
    save_model(best, load_model(best), config=SETTINGS | {"init_from": "open"})
    export_hub(best, tmp_path / "hub")
    for name in ("LICENSE", "NOTICES.md", "APACHE-2.0.txt"):
        ours = ROOT / "paxray_lib/models/open" / name
        assert (tmp_path / "hub" / f"open.{name}").read_bytes() == ours.read_bytes()
    front, text = card_of(tmp_path / "hub")
    assert front["license"] == "unknown"
    assert "| open | weights that the training started from | MIT, see the files open.* |" in text


def test_other_programs_read_it(best, tmp_path):
    export_hub(best, tmp_path / "hub", "CC BY 4.0")
    config = json.loads((tmp_path / "hub/config.json").read_text())
    assert config["labels"] == list(NAMES.names)
    assert config["preprocessing"] == {"kind": "standard", "size": [64, 96]}
    assert (config["licence"], config["threshold"]) == ("CC BY 4.0", 0.4)
    with safetensors.safe_open(tmp_path / "hub/model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert len(file.keys()) > 50
    front, _ = card_of(tmp_path / "hub")
    assert front["license"] == "cc-by-4.0"
    assert front["library_name"] == "paxray_lib"
    assert front["pipeline_tag"] == "image-segmentation"
    assert "chest-x-ray" in front["tags"]


def test_the_card_has_the_scores_of_the_run_and_no_path_of_the_machine(best, tmp_path):
    export_hub(best, tmp_path / "hub")
    front, text = card_of(tmp_path / "hub")
    assert front["license"] == "unknown"
    assert "| evaluation, overall, dice present | 0.877 | 0.800 to 0.900 | 12 |" in text
    assert "Data set2, split test." in text
    assert "| set1 | data set of the training |" in text
    assert "| runs/before/checkpoints/best.ckpt | weights that the training started from |" in text
    assert "| epochs | 7 |" in text
    assert "phantoms" not in text
    for path in (tmp_path / "hub").iterdir():
        assert b"secret" not in path.read_bytes(), path


def test_scores_on_phantoms_say_so(best, tmp_path):
    write_summary(best, synthetic=True)
    export_hub(best, tmp_path / "hub")
    assert "**On synthetic data (phantoms)" in card_of(tmp_path / "hub")[1]


def test_scores_of_other_weights_are_left_out_and_that_is_said(best, tmp_path, capsys):
    write_summary(best, model="run/checkpoints/last.ckpt")
    export_hub(best, tmp_path / "other")
    assert "evaluate first: paxray evaluate --weights" in capsys.readouterr().err
    os.utime(write_summary(best), (1e9, 1e9))
    export_hub(best, tmp_path / "older")
    assert "older than best.ckpt" in capsys.readouterr().err
    for name in ("other", "older"):
        assert "None are known." in card_of(tmp_path / name)[1]


def test_a_folder_exported_again_is_the_same(best, tmp_path):
    export_hub(best, tmp_path / "a", "My | terms\n---")
    export_hub(tmp_path / "a", tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    front, text = card_of(tmp_path / "a")
    assert (front["license"], front["license_name"]) == ("other", "My | terms\n---")
    assert "weights: My \\| terms ---." in text


def test_a_header_of_a_file_is_the_header_of_the_folder(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(portable_bytes())
    export_hub(tmp_path / "x.safetensors", tmp_path / "hub")
    about = read_portable(tmp_path / "hub")
    assert {key: about[key] for key in ABOUT} == ABOUT


def test_what_is_there_stays_and_what_fails_leaves_nothing(best, tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    with pytest.raises(ValueError, match=r"hub: exists, and is not written over"):
        export_hub(best, tmp_path / "hub")
    with pytest.raises(ValueError, match=r"its licence is MIT; leave --licence out"):
        export_hub("open", tmp_path / "x", "GPL-3.0")
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export_hub(best, tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "run"]


def test_a_folder_that_is_called_open_is_that_folder(best, tmp_path, monkeypatch):
    export_hub(best, tmp_path / "open")
    monkeypatch.chdir(tmp_path)
    assert load_model("open").labels == NAMES
