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
from paxray_lib.training.config import MAY_CHANGE, TrainConfig, check_resumable, plain
from paxray_lib.training.loop import fit


@pytest.fixture(scope="module")
def killed(tiny, tmp_path_factory):
    """A function that lets trainings die in one process and be resumed, and returns the folder of
    their folders.
    """
    out = tmp_path_factory.mktemp("killed")
    settings = {
        **small_training(tiny, out),
        "save_every": 2,
        "log_every": 1,
        "noise": 0.1,
        "flip_prob": 0.5,
    }
    settings |= {"architecture": "fpn", "encoder": "mobilenet_v2"}  # small checkpoints, and dropout
    profile = out / "profile.yaml"
    profile.write_text(yaml.safe_dump(settings))

    def run(*names: str) -> Path:
        command = [sys.executable, kill_and_resume.__file__, profile, out, *names]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return out

    run("whole")
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


def test_killed_from_outside_and_during_a_save(killed):
    out = killed("somewhere", "last")
    for name in ("somewhere", "last"):
        assert_same_run(out / name, out / "whole")


@pytest.mark.slow
def test_killed_during_any_save(killed):
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


OTHER = {str: "other", int: 7, float: 0.123}


@pytest.mark.parametrize("field", dataclasses.fields(TrainConfig), ids=lambda field: field.name)
def test_each_setting_that_matters_is_refused_by_name(field):
    config = TrainConfig()
    old = plain(config)
    old[field.name] = (
        [1] if field.name == "lr_milestones" else OTHER.get(type(field.default), "other")
    )
    if field.name in MAY_CHANGE:
        check_resumable({"config": old}, config, 1, "32-true", {}, Path("last.ckpt"))
        return
    with pytest.raises(
        ValueError, match=rf"last.ckpt was trained with other settings: {field.name} \(was .*, is "
    ):
        check_resumable({"config": old}, config, 1, "32-true", {}, Path("last.ckpt"))


def test_epochs_and_processes():
    config, saved = TrainConfig(epochs=5), {"config": plain(TrainConfig(epochs=4)), "processes": 2}
    check_resumable(saved, config, 2, "32-true", {}, Path("last.ckpt"))
    with pytest.raises(ValueError, match=r"number of processes \(was 2, is 1\)"):
        check_resumable(saved, config, 1, "32-true", {}, Path("last.ckpt"))
    with pytest.raises(ValueError, match=r"epochs \(was 4, is 3; it may only grow\)"):
        check_resumable(saved, TrainConfig(epochs=3), 2, "32-true", {}, Path("last.ckpt"))
    cyclic = {"config": plain(TrainConfig(epochs=4, schedule="onecycle")), "processes": 1}
    with pytest.raises(
        ValueError, match=r"epochs \(was 4, is 5; the schedule 'onecycle' depends on it\)"
    ):
        check_resumable(
            cyclic, TrainConfig(epochs=5, schedule="onecycle"), 1, "32-true", {}, Path("last.ckpt")
        )


def test_the_precision_is_that_of_the_device():
    saved = {"config": plain(TrainConfig()), "precision": "32-true"}
    # was "auto"
    check_resumable(saved, TrainConfig(precision="float32"), 1, "32-true", {}, Path("last.ckpt"))
    with pytest.raises(
        ValueError, match=r"precision \(was 32-true, is bf16-mixed on this device\)"
    ):
        check_resumable(saved, TrainConfig(), 1, "bf16-mixed", {}, Path("last.ckpt"))


def test_settings_that_an_older_checkpoint_lacks_had_their_defaults():
    old = {
        key: value
        for key, value in plain(TrainConfig()).items()
        if key not in ("accumulate", "compile")
    }
    check_resumable({"config": old}, TrainConfig(), 1, "32-true", {}, Path("last.ckpt"))
    with pytest.raises(ValueError, match=r"accumulate \(was 1, is 2\)"):
        check_resumable(
            {"config": old}, TrainConfig(accumulate=2), 1, "32-true", {}, Path("last.ckpt")
        )
