"""Killed with -9 anywhere and resumed, a training ends bit for bit as if nothing had happened."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from helpers import kill_and_resume
from helpers.sampledata import ROOT, small_training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paxray_lib.models.checkpoints import load_model, read_extra
from paxray_lib.training.checks import MAY_CHANGE, check_resumable
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit


@pytest.fixture(scope="module")
def killed(tiny, tmp_path_factory):
    """A function that lets trainings die in one process and be resumed, beside one that does not
    die, and returns the folder of their folders.
    """
    out = tmp_path_factory.mktemp("killed")
    settings = {
        **small_training(tiny, out),
        "save_every": 2,
        "log_every": 1,
        "noise": 0.1,
        "flip_prob": 0.5,
    }
    settings["architecture"] = "fpn"  # dropout
    profile = out / "profile.yaml"
    profile.write_text(yaml.safe_dump(settings))

    def run(*names: str) -> Path:
        names = (*([] if (out / "whole").exists() else ["whole"]), *names)
        command = [sys.executable, kill_and_resume.__file__, profile, out, *names]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return out

    return run


def assert_same_run(folder: Path, whole: Path):
    for name in ("last.ckpt", "best.ckpt"):
        states = [load_model(run / "checkpoints" / name).state_dict() for run in (folder, whole)]
        different = [
            key for key, value in states[1].items() if not torch.equal(value, states[0][key])
        ]
        assert not different, (
            f"{name}: {len(different)} tensors such as {different[0]} are different"
        )
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in (folder, whole)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert not list(folder.rglob("*.part*")), "what a killed run left half-written is removed"
    logs = EventAccumulator(str(folder / "logs")).Reload()
    assert [event.step for event in logs.Scalars("loss/train")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in logs.Scalars("epoch/val_iou_present")] == [3, 6]


@pytest.mark.slow
def test_killed_during_a_save(killed):
    out = killed("last")
    assert_same_run(out / "last", out / "whole")


@pytest.mark.slow
def test_killed_from_outside_and_during_any_save(killed):
    names = [name for name in kill_and_resume.DEATHS if name != "last"]
    out = killed(*names)
    for name in names:
        assert_same_run(out / name, out / "whole")


def test_raised_epochs_are_written_down(trained, tiny, tmp_path):
    config = TrainConfig(**{**small_training(tiny, tmp_path), "epochs": 1})
    fit(config)
    fit(dataclasses.replace(config, epochs=2), resume=True)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["epochs"] == 2
    assert read_extra(tmp_path / "checkpoints/last.ckpt")["config"]["epochs"] == 2
    tables = [
        pd.read_csv(folder / "metrics.csv").drop(columns="seconds")
        for folder in (tmp_path, trained)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


OTHER = {"lr_milestones": [1], "epochs": 7}


def check(saved, config, processes=1, precision="32-true"):
    check_resumable(saved, config, processes=processes, precision=precision, data={})


@pytest.mark.parametrize("field", dataclasses.fields(TrainConfig), ids=lambda field: field.name)
def test_each_setting_that_matters_is_refused_by_name(field):
    default = field.default
    other = 0.123 if isinstance(default, float) else 7 if isinstance(default, int) else "other"
    old = {**TrainConfig().to_dict(), field.name: OTHER.get(field.name, other)}
    if field.name in MAY_CHANGE:
        check({"config": {**old, "epochs": 110}}, TrainConfig())
        return
    with pytest.raises(ValueError, match=rf"last.ckpt was .* other settings: {field.name} \(was "):
        check({"config": old}, TrainConfig())


def test_epochs_and_processes():
    config = TrainConfig(epochs=5)
    saved = {"config": TrainConfig(epochs=4).to_dict(), "processes": 2}
    check(saved, config, processes=2)
    with pytest.raises(ValueError, match=r"number of processes \(was 2, is 1\)"):
        check(saved, config)
    with pytest.raises(ValueError, match=r"epochs \(was 4, is 3; it may only grow\)"):
        check(saved, TrainConfig(epochs=3), processes=2)
    cyclic = {"config": TrainConfig(epochs=4, schedule="onecycle").to_dict()}
    with pytest.raises(ValueError, match=r"epochs \(was 4, is 5; .*'onecycle' depends on it\)"):
        check(cyclic, TrainConfig(epochs=5, schedule="onecycle"))


def test_the_precision_is_that_of_the_device():
    saved = {"config": TrainConfig().to_dict(), "precision": "32-true"}
    check(saved, TrainConfig(precision="float32"))  # was "auto"
    with pytest.raises(ValueError, match=r"precision \(was 32-true, is bf16-mixed on this device"):
        check(saved, TrainConfig(), precision="bf16-mixed")


def test_settings_that_an_older_checkpoint_lacks_had_their_defaults():
    settings = TrainConfig().to_dict()
    old = {name: settings[name] for name in settings if name not in ("accumulate", "compile")}
    check({"config": old}, TrainConfig())
    with pytest.raises(ValueError, match=r"accumulate \(was 1, is 2\)"):
        check({"config": old}, TrainConfig(accumulate=2))
