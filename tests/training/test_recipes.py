"""The profiles: the published recipe flag by flag, and that they start with `--set` alone."""

import ast
import dataclasses
import json
import shutil
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.augmentation import AugmentConfig
from paxray_lib.evaluation.evaluate import published_verdict
from paxray_lib.models.checkpoints import load_model
from paxray_lib.runs.profiles import build_config
from paxray_lib.runs.run import train_settings
from paxray_lib.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "notebooks/profiles"
# the published command line: run_unet_full.cmd, and what main.py sets by default
RECIPE = {
    "architecture": "paxray_unet",
    "encoder": "resnet50",
    "encoder_weights": "imagenet",
    "image_size": 512,
    "crop_size": 480,
    "resize_prob": 0.6,
    "resize_scale": 1.2,
    "batch_size": 3,
    "epochs": 110,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "schedule": "multistep",
    "lr_milestones": (60, 90, 100),
    "lr_gamma": 0.1,
    "loss": "published",
    "best": "dice_published",
    "val_every": 10,
    "log_every": 100,
    "threshold": 0.5,
    "precision": "float32",
}
DATAFILES = {"full": "paxray.json", "half": "paxray_half.json", "quarter": "paxray_quarter.json"}


@pytest.fixture
def command(monkeypatch):
    """A function that gives a command in the project's root, and returns how it ended."""
    monkeypatch.chdir(ROOT)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize(("part", "datafile"), DATAFILES.items())
def test_the_recipe_is_the_published_one(part, datafile):
    config = build_config(TrainConfig, train_settings(PROFILES / f"paxray_{part}.yaml"))
    assert {name: getattr(config, name) for name in RECIPE} == RECIPE
    assert config.datafile == datafile
    # whose defaults are the published augmentation: nothing else is on
    for field in dataclasses.fields(AugmentConfig):
        assert getattr(config, field.name) == field.default


def test_the_three_differ_only_in_data_and_folder():
    settings = [
        yaml.safe_load((PROFILES / f"paxray_{part}.yaml").read_text()) for part in DATAFILES
    ]
    for other in settings[1:]:
        assert {k for k in other if other[k] != settings[0][k]} == {
            "datafile",
            "run_dir",
            "published",
        }


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_can_be_read(path):
    build_config(TrainConfig, train_settings(path))


def test_verdict_has_both_figures_and_the_tolerance():
    summary = {"overall": {"iou_published": 0.6041}}
    assert published_verdict(summary, 60.6) == (
        "mean IoU 60.41 % (convention 'published') agrees with the published 60.6 %: "
        "difference -0.19, tolerance 0.3"
    )
    assert "DIFFERS FROM" in published_verdict({"overall": {"iou_published": 0.6029}}, 60.6)
    assert "DIFFERS FROM" in published_verdict({"overall": {"iou_published": 0.6095}}, 60.6)
    said = published_verdict({**summary, "synthetic": True}, 60.6)
    assert "60.41 % (convention 'published') on SYNTHETIC data" in said
    assert "agrees" not in said


@pytest.mark.slow
def test_the_recipe_starts_on_other_data_with_set_alone(command, tiny, tmp_path):
    changes = {
        "data_root": tiny,
        "run_dir": tmp_path / "run",
        "encoder_weights": "null",
        "epochs": 1,
    }
    changes |= {"image_size": 64, "crop_size": 48, "workers": 1}
    options = [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]
    done = command("train", "--profile", PROFILES / "paxray_full.yaml", *options)
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "run/metrics.csv")) == 1


@pytest.mark.slow
def test_verification_runs_on_fetched_data_and_weights(command, tiny, tmp_path):
    """All of verify_published.yaml, with random weights in a file as published: it must say that
    they differ.
    """
    from paxray_lib.models.checkpoints import load_model
    from paxray_lib.models.published import PublishedUNet

    torch.manual_seed(0)
    weights = tmp_path / "paxray_full.pth"
    opt = Namespace(model="backbone_unet", classes=166)
    torch.save(
        {"opt": opt, "model": PublishedUNet(166).state_dict(), "optimizer": {}, "epoch": 109},
        weights,
    )
    assert load_model(weights).preprocessing.kind == "published"
    data = shutil.copytree(tiny, tmp_path / "data")
    content = json.loads((data / "paxray.json").read_text())
    # one image of the two views of a case: each passes through a large network
    (data / "paxray.json").write_text(json.dumps(content | {"test": content["test"][:1]}))
    out = ROOT / "runs" / f"verify-{tmp_path.name}"
    try:
        options = ("--set", f"data_root={data}", "--set", f"weights={weights}", "--out", out)
        done = command("run", "--profile", PROFILES / "verify_published.yaml", *options)
        assert done.exit_code == 0, done.output
        assert [path.name for path in (out / "notebooks").glob("*.ipynb")] == ["03_evaluate.ipynb"]
        score = json.loads((out / "evaluation/summary.json").read_text())["overall"][
            "iou_published"
        ]
        text = (out / "notebooks/03_evaluate.ipynb").read_text()
        assert (
            f"mean IoU {100 * score:.2f} % (convention 'published') DIFFERS FROM the published "
            "60.6 %" in text
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_training_goes_to_a_folder_with_the_profiles_name(tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text("epochs: 1\n")
    assert train_settings(profile)["run_dir"] == "runs/mine"
    assert train_settings(profile, ["run_dir=elsewhere"])["run_dir"] == "elsewhere"


@pytest.mark.parametrize("name", ["demo", "finetune"])
def test_trainings_from_the_open_model_have_its_network_and_its_input(name):
    config = build_config(TrainConfig, train_settings(PROFILES / f"{name}.yaml"))
    model = load_model("open")
    assert config.init_from == "open"
    assert (config.architecture, config.encoder) == (
        model.config["architecture"],
        model.config["encoder"],
    )
    assert (config.preprocessing, config.image_size) == (
        model.preprocessing.kind,
        model.preprocessing.size[0],
    )


def test_notebook_two_opened_by_hand_trains_as_the_demonstration_does():
    cells = json.loads((ROOT / "notebooks/02_train.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    by_hand = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse("".join(cell["source"])).body
    }
    fields = {field.name for field in dataclasses.fields(TrainConfig)} - {"run_dir"}
    by_hand |= by_hand.pop("options")
    demo = yaml.safe_load((PROFILES / "demo.yaml").read_text(encoding="utf-8"))
    # by hand another validation score chooses the best checkpoint
    assert {k: v for k, v in by_hand.items() if k in fields} == {
        k: v for k, v in demo.items() if k != "best"
    }
