import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.sampledata import write_tiny
from helpers.tiny_models import tiny_model
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.ablation import VARIANTS, gains_table
from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.hierarchy import close_tree
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import iou, mean_score
from paxray_lib.models.checkpoints import save_model
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import predict_image
from paxray_lib.prediction.predict import predict


@pytest.fixture(scope="module")
def plain_model():
    return tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (32, 32))).eval()


@pytest.fixture(scope="module")
def model(plain_model):
    """The model as every function below would optimize it, once for all."""
    return optimize_for_inference(plain_model)


@pytest.fixture(scope="module")
def gains(tiny, model):
    return gains_table(model, tiny)


def test_gains_are_differences_of_scores_of_predictions(tiny, model, gains):
    table = gains
    assert table.index.tolist() == list(VARIANTS.values())
    val = PaxrayDataset(tiny, split="val")
    for (mirror, close), name in VARIANTS.items():
        found = []
        for i in range(len(val)):
            masks = predict_image(model, read_image(val.image_path(i)), mirror=mirror)
            found.append(counts(close_tree(masks) if close else masks, val.masks(i)))
        expected = mean_score(iou(Counts.concat(found)), "present")
        assert table.loc[name, "iou_present"] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(
        table["gain"], table["iou_present"] - table["iou_present"]["baseline"]
    )
    assert table.loc["baseline", "gain"] == 0
    assert not table.loc["baseline", "helps"]


def test_an_evaluation_with_options_scores_what_the_table_says(tiny, model, gains):
    for (mirror, close), name in VARIANTS.items():
        result = evaluate(model, tiny, split="val", mirror=mirror, close_tree=close)
        assert result.summary["overall"]["iou_present"] == pytest.approx(
            gains.loc[name, "iou_present"], abs=1e-4
        )
        assert (result.summary["mirror"], result.summary["close_tree"]) == (mirror, close)


@pytest.mark.parametrize("close", [False, True])
def test_pictures_are_of_the_masks_that_are_scored(tiny, model, close):
    options = {"threshold": 0.4, "close_tree": close}
    result = evaluate(model, tiny, split="val", **options)
    for i, sample in enumerate(PaxrayDataset(tiny, split="val")):
        found = counts(predict_image(model, sample.image, **options), sample.masks)
        np.testing.assert_array_equal(
            [found.tp[0], found.fp[0]], [result.counts.tp[i], result.counts.fp[i]]
        )


def test_intervals_need_several_patients(tiny, model, gains):
    assert gains["low"].isna().all()  # one patient in val
    table = gains_table(model, tiny, split="train", score="dice_published")
    assert (table["low"] <= table["gain"]).all()
    assert (table["gain"] <= table["high"]).all()
    assert table["helps"].tolist() == (table["low"] > 0).tolist()


def test_other_labels_are_refused(tmp_path, model):
    write_tiny(tmp_path, labels=LabelSet(["a", "b"]))
    with pytest.raises(ValueError, match="label"):
        gains_table(model, tmp_path)


def test_labels_that_the_data_lack_do_not_count(tiny):
    options = {"labels": LABELS, "preprocessing": Preprocessing("standard", (32, 32))}
    few, more = tiny_model(**options), tiny_model(**options | {"labels": [*LABELS, "pacemaker"]})
    weights, own = few.network.state_dict(), more.network.state_dict()
    for key in ("segmentation_head.weight", "segmentation_head.bias"):
        weights[key] = torch.cat([weights[key], own[key][-1:]])
    more.network.load_state_dict(weights)
    tables = [gains_table(model.eval(), tiny) for model in (few, more)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("labels", [None, ["rib_3", "lung_left"]])
def test_predictions_can_be_closed(tmp_path, tiny, model, labels):
    image = tiny / "images/case000frontal.png"
    predict(model, image, tmp_path, close_tree=True, labels=labels)
    written = PackedMasks.read(tmp_path / "case000frontal.pxm")
    closed = close_tree(predict_image(model, read_image(image)))
    differs = written.unpack() != closed.unpack(labels)
    assert differs.mean() < 1e-4  # rounding depends on the way
    with pytest.raises(ValueError, match="other close_tree"):
        predict(model, image, tmp_path, labels=labels)


def test_the_command_measures_and_closes(tmp_path, tiny, plain_model):
    weights = str(tmp_path / "model.ckpt")
    save_model(weights, plain_model)
    command = [
        "predict",
        "--images",
        str(tiny / "images/case000frontal.png"),
        "--out",
        str(tmp_path / "out"),
    ]
    command += ["--weights", weights, "--device", "cpu", "--measure", "--close-tree"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(pd.read_csv(tmp_path / "out/measurements.csv")) == 1
    assert json.loads((tmp_path / "out/settings.json").read_text())["close_tree"]
