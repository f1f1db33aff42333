"""A training on two data sets that annotate other labels."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers import kill_and_resume
from helpers.datafiles import rewrite
from helpers.sampledata import ROOT, small_training, write_tiny

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.counting import counts
from paxray_lib.metrics.scores import iou, mean_score
from paxray_lib.models.checkpoints import load_model
from paxray_lib.models.inference import predict_image
from paxray_lib.training.batches import TrainingBatches
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import NetworkWithLoss, fit
from paxray_lib.training.losses import dice_bce, enlarge
from paxray_lib.training.setup import set_up

SETS = {
    "phantoms": LabelSet(["heart", "lung_left", "lung_right", "aorta", "trachea"]),
    "films": LabelSet(["lung_right", "pacemaker", "heart", "lung_left"]),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for seed, (name, labels) in enumerate(SETS.items()):
        write_tiny(folder / name, labels=labels, seed=seed)
    return folder


def both(roots, run, **changes) -> dict:
    settings = small_training(roots, run)
    del settings["data_root"]
    data = [
        {"root": str(roots / "phantoms"), "weight": 1},
        {"root": str(roots / "films"), "weight": 2},
    ]
    return {**settings, "data": data, **changes}


@pytest.fixture(scope="module")
def trained_on_both(roots, tmp_path_factory):
    return fit(TrainConfig(**both(roots, tmp_path_factory.mktemp("run"), epochs=3)))


@pytest.mark.parametrize("loss", ["published", "present"])
def test_a_step_is_one_on_the_labels_of_each_set_by_hand(roots, tmp_path, loss):
    plain = {"resize_prob": 0.0, "image_size": 64, "crop_size": 64}
    settings = both(roots, tmp_path, **plain, batch_size=16, loss=loss)
    run = set_up(TrainConfig(**settings), resume=False)
    ((batch,),) = run.batches.epoch(0)
    network = NetworkWithLoss(run.model, loss).double().train()
    images = batch.images.double()
    whole = network(images, batch.targets, batch.known)
    gradients = torch.autograd.grad(whole, list(run.model.parameters()))

    logits, losses = enlarge(run.model.coarse(network.normalize(images)), (64, 64)), []
    united = run.model.labels
    for i, (*_, index) in enumerate(run.batches.plan.keys(0, 0, 1)):
        name = list(SETS)[index // 8]
        sample = PaxrayDataset(roots / name)[index % 8]
        # of names that stand once in each set: where the network has them
        own = logits[i : i + 1, [united.index(label)[0] for label in SETS[name]]]
        target = torch.from_numpy(sample.masks.resize(64, 64).unpack())[None]
        losses.append(dice_bce(own, target, loss))
    by_hand = torch.stack(losses).mean()
    assert torch.allclose(whole, by_hand, rtol=1e-12)
    others = torch.autograd.grad(by_hand, list(run.model.parameters()))
    for one, other in zip(gradients, others, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-10)
    assert len({list(SETS)[index // 8] for *_, index in run.batches.plan.keys(0, 0, 1)}) == 2


def test_each_set_is_validated_by_itself_and_the_best_is_of_their_mean(trained_on_both, roots):
    metrics = pd.read_csv(trained_on_both / "metrics.csv")
    for name in ("iou_present", "dice_published"):
        mean = (metrics[f"val_{name}_1"] + metrics[f"val_{name}_2"]) / 2
        assert np.allclose(metrics[f"val_{name}"], mean)
    for checkpoint, row in (("last", 2), ("best", metrics["val_dice_published"].idxmax())):
        model = load_model(trained_on_both / f"checkpoints/{checkpoint}.ckpt")
        assert model.labels.names == (*SETS["phantoms"].names, "pacemaker")
        for number, (name, labels) in enumerate(SETS.items(), 1):
            samples = list(PaxrayDataset(roots / name, split="val"))
            scores = [
                iou(counts(predict_image(model, one.image).relabel(labels), one.masks))
                for one in samples
            ]
            expected = mean_score(np.concatenate(scores), "present")
            assert metrics[f"val_iou_present_{number}"][row] == pytest.approx(expected, abs=1e-6)


def test_memory_and_workers_give_the_same_batches(roots, tmp_path):
    run = set_up(TrainConfig(**both(roots, tmp_path, flip_prob=0.5)), resume=False)
    kept = [batch for step in run.batches.epoch(1, 2) for batch in step]
    read = TrainingBatches(
        run.batches.samples, run.batches.plan, torch.device("cpu"), workers=1, in_memory=False
    )
    run.batches.samples._kept = []
    with contextlib.closing(read):
        found = [batch for step in read.epoch(1, 2) for batch in step]
    for one, other in zip(kept, found, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.known, other.known)
        assert one.names == other.names


@pytest.mark.slow
def test_killed_and_resumed_it_ends_bit_for_bit_the_same(roots, tmp_path):
    settings = both(roots, tmp_path / "run", save_every=2, noise=0.1, flip_prob=0.5)
    profile = tmp_path / "profile.yaml"
    profile.write_text(yaml.safe_dump(settings))
    command = [sys.executable, kill_and_resume.__file__, profile, tmp_path, "whole", "last"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("last.ckpt", "best.ckpt"):
        states = [
            load_model(tmp_path / run / "checkpoints" / name).state_dict()
            for run in ("whole", "last")
        ]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    tables = [
        pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds")
        for run in ("whole", "last")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_folders_may_move_and_all_else_is_refused_by_name(trained_on_both, roots, tmp_path):
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(roots, moved)
    shutil.copytree(trained_on_both, run)
    config = TrainConfig(**both(moved, run, epochs=3))
    assert fit(config, resume=True) == run
    heavier = dataclasses.replace(config.data[1], weight=5.0)
    for data, said in (
        ((config.data[0], heavier), r"data set 2: weight \(was 2.0, is 5.0\)"),
        (config.data[:1], r"data \(was 2 sets, is 1\)"),
        (config.data[::-1], r"data set 1: weight .*labels of data set 1, "),
    ):
        other = TrainConfig(**both(moved, run, epochs=3, data=data))
        with pytest.raises(ValueError, match=f"trained with other settings: {said}"):
            fit(other, resume=True)


@pytest.fixture
def without_validation(roots, tmp_path):
    """Settings of a training on both sets, the first of which has no validation images."""
    shutil.copytree(roots / "phantoms", tmp_path / "phantoms")
    rewrite(tmp_path / "phantoms", lambda content: content["val"].clear())
    settings = both(roots, tmp_path / "run")
    settings["data"][0]["root"] = str(tmp_path / "phantoms")
    return settings


def test_a_set_without_validation_images_is_not_scored(without_validation, capsys):
    folder = fit(TrainConfig(**{**without_validation, "epochs": 1}))
    folder = fit(TrainConfig(**without_validation), resume=True)
    metrics = pd.read_csv(folder / "metrics.csv")
    assert len(metrics) == 2
    assert metrics["val_iou_present"].equals(metrics["val_iou_present_2"])
    assert "val_iou_present_1" not in metrics
    assert (folder / "checkpoints/best.ckpt").exists()
    said = capsys.readouterr().out
    assert "8 training and 0 validation images, so that it is not scored; 33.3% of" in said
    assert said.count("not scored") == 2  # on resume too


def test_one_of_the_sets_needs_validation_images(without_validation, tmp_path):
    without_validation["data"] = without_validation["data"][:1]
    with pytest.raises(ValueError, match=r"phantoms/paxray.json: split 'val' has no images"):
        fit(TrainConfig(**without_validation))
    assert not (tmp_path / "run").exists()
