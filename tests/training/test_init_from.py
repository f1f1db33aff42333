"""A training that starts from a model, and how that differs from one that is resumed."""

import shutil

import pytest
import torch
from helpers.sampledata import small_training
from helpers.tiny_models import tiny_model

from paxray_lib.labels.table import LABELS
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit
from paxray_lib.training.setup import set_up


def config_from(tiny, folder, start, **changes) -> TrainConfig:
    settings = {**small_training(tiny, folder), "init_from": str(start), "epochs": 1}
    return TrainConfig(**settings | changes)


def test_the_first_step_has_the_weights_of_the_model(trained, tiny, tmp_path, capsys):
    best = trained / "checkpoints/best.ckpt"
    run = set_up(config_from(tiny, tmp_path / "run", best), resume=False)
    weights, start = run.model.state_dict(), load_model(best).state_dict()
    assert all(torch.equal(value, start[key]) for key, value in weights.items())
    assert (run.state.epoch, run.state.rows, run.optimizer.state_dict()["state"]) == (0, [], {})
    assert f"starts from {best} (unet-tu-test_resnet): all layers" in capsys.readouterr().out


def test_the_open_model_is_known_by_its_name(tiny, tmp_path, capsys):
    kind = {"encoder": "tu-tf_efficientnet_lite0", "preprocessing": "per_image"}
    run = set_up(config_from(tiny, tmp_path / "run", "open", **kind), resume=False)
    weights, start = run.model.state_dict(), load_model("open").state_dict()
    assert all(torch.equal(value, start[key]) for key, value in weights.items())
    assert "starts from open (unet-tu-tf_efficientnet_lite0): all" in capsys.readouterr().out
    run.save()  # resumed it goes on from there, and from nothing else
    set_up(run.config, resume=True)
    assert "starts from" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"other settings: init_from \(was "):
        set_up(config_from(tiny, tmp_path / "run", None, **kind), resume=True)


def test_resumed_it_goes_on_from_its_own_checkpoint(trained, tiny, tmp_path):
    start, run = tmp_path / "start.ckpt", tmp_path / "run"
    shutil.copy(trained / "checkpoints/best.ckpt", start)
    config = config_from(tiny, run, start)
    fit(config)
    with pytest.raises(FileExistsError, match="holds a training already"):
        fit(config)
    save_model(start, tiny_model(labels=LABELS, seed=9))  # not read again
    last = load_model(run / "checkpoints/last.ckpt").state_dict()
    resumed = set_up(config_from(tiny, run, start, epochs=2), resume=True)
    assert all(torch.equal(value, last[key]) for key, value in resumed.model.state_dict().items())
    assert resumed.state.epoch == 1
    assert read_extra(run / "checkpoints/last.ckpt")["config"]["init_from"] == str(start)
    for other in (None, str(tmp_path / "other.ckpt")):
        with pytest.raises(ValueError, match=r"other settings: init_from \(was "):
            fit(config_from(tiny, run, start, epochs=2, init_from=other), resume=True)


def test_it_replaces_weights_of_the_encoder_alone():
    with pytest.raises(ValueError, match=r"init_from 'x\.ckpt' and encoder_weights 'imagenet'"):
        TrainConfig(init_from="x.ckpt", encoder_weights="imagenet")


def test_a_network_of_another_kind_is_refused_before_anything_is_written(trained, tiny, tmp_path):
    config = config_from(tiny, tmp_path / "run", trained / "checkpoints/best.ckpt")
    with pytest.raises(ValueError, match="a network with the architecture 'unet', not 'fpn'"):
        fit(config_from(tiny, tmp_path / "run", config.init_from, architecture="fpn"))
    assert not (tmp_path / "run").exists()
