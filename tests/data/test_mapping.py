import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.sampledata import write_tiny
from helpers.tiny_models import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.mapping import match_names, read_map
from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image
from paxray_lib.labels.map_files import map_names
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.calibration import calibration_error
from paxray_lib.metrics.scores import dice
from paxray_lib.models.checkpoints import save_model
from paxray_lib.models.inference import predict_image

OURS = LabelSet(["lung_left", "lung_right", "heart", "aorta", "mediastinum_upper"] * 2)
THEIRS = LabelSet(["Left Lung", "heart", "heart", "tip"])
LINES = {
    "Left Lung": "lung_left - heart - great_vessels + lung_r*",
    "heart": "heart",
    "tip": "mediastinum_upper + aorta - lungs",
}


def dense(text, stack, labels):
    """Evaluate an expression over a (L, H, W) stack, word by word."""
    first, *rest = re.split(" ([-+]) ", text)
    value = stack[labels.select(first)].any(axis=0)
    for sign, name in zip(rest[::2], rest[1::2], strict=True):
        other = stack[labels.select(name)].any(axis=0)
        value = value | other if sign == "+" else value & ~other
    return value


@pytest.fixture(scope="module")
def model():
    return tiny_model(labels=OURS, preprocessing=Preprocessing("standard", (32, 32))).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("theirs")
    write_tiny(root, labels=THEIRS)
    return root


def write_map(folder, lines):
    path = folder / "map.yaml"
    text = lines if isinstance(lines, str) else "".join(f"{k}: {v}\n" for k, v in lines.items())
    path.write_text(text)
    return path


@st.composite
def problems(draw):
    count = draw(st.integers(1, 20))
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=count, max_size=count))
    part = st.sampled_from([*names, "[a-d]*", "other", "*"]).filter(
        lambda text: text in ("other", "*") or text in names or set("abcd") & set(names)
    )
    signs = st.sampled_from([" + ", " - "])
    expressions = []
    for _ in range(draw(st.integers(1, 10))):
        text = draw(part)
        for _ in range(draw(st.integers(0, 4))):
            text += draw(signs) + draw(part)
        expressions.append(text)
    return LabelSet(names), expressions, draw(st.integers(0, 2**32 - 1))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_expressions_of_packed_bits_are_those_of_dense_masks(tmp_path_factory, problem):
    labels, expressions, seed = problem
    stack = np.random.default_rng(seed).random((len(labels), 5, 7)) < 0.4
    masks = PackedMasks.pack(stack, labels)
    theirs = LabelSet([f"t{k}" for k in range(len(expressions))])
    lines = {name: json.dumps(text) for name, text in zip(theirs, expressions, strict=True)}
    path = write_map(tmp_path_factory.getbasetemp(), lines)
    label_map = read_map(path, labels, theirs)
    wanted = PackedMasks.pack(
        np.stack([dense(text, stack, labels) for text in expressions]), theirs
    )
    np.testing.assert_array_equal(label_map.map_prediction(masks.data), wanted.data)
    found = label_map.map_prediction(torch.from_numpy(masks.data))
    np.testing.assert_array_equal(found.numpy(), wanted.data)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_map_scores_what_both_sides_mean(model, data, tmp_path, mirror):
    path = write_map(tmp_path, LINES)
    result = evaluate(model, data, map=path, out=tmp_path / "e", mirror=mirror)
    assert result.labels.names == tuple(LINES)
    dataset = PaxrayDataset(data, split="test")
    for row, sample in enumerate(dataset):
        image = read_image(dataset.image_path(row))
        predicted = predict_image(model, image, mirror=mirror).unpack()
        for column, (name, text) in enumerate(LINES.items()):
            pred = dense(text, predicted, OURS)
            true = sample.masks.unpack()[THEIRS.index(name)].any(axis=0)
            expected = (pred & true).sum(), (pred & ~true).sum(), (true & ~pred).sum()
            assert expected == tuple(
                getattr(result.counts, kind)[row, column] for kind in ("tp", "fp", "fn")
            )
    assert result.surface.total.shape == (4, 3)
    assert {"dice_present_low", "nsd_present_high"} <= set(result.per_label)
    summary = json.loads((tmp_path / "e/summary.json").read_text())
    assert summary["map"] == LINES
    assert summary["left_out"] == []
    assert Evaluation.read(tmp_path / "e").summary == result.summary


def test_only_single_labels_have_probabilities(model, data, tmp_path):
    single = tiny_model(labels=LabelSet(OURS.names[:5]), preprocessing=model.preprocessing).eval()
    lines = {"heart": "heart", "Left Lung": "lung_left - heart"}
    result = evaluate(single, data, map=write_map(tmp_path, lines))
    assert (result.reliability.pixels.sum(axis=1) > 0).tolist() == [True, False]
    assert result.summary["calibration_error"] == calibration_error(result.reliability)
    heart = {"heart": "heart"}
    alone = evaluate(single, data, map=write_map(tmp_path, heart)).reliability
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(getattr(result.reliability, name)[:1], values)
    compound = {"Left Lung": "lung_left - heart"}
    result = evaluate(single, data, map=write_map(tmp_path, compound), out=tmp_path / "e")
    assert result.reliability is None
    assert "calibration_error" not in result.summary


def test_what_is_not_known_in_the_data_has_no_entry(model, data, tmp_path):
    content = json.loads((data / "paxray.json").read_text())
    content["test"][1]["known"] = ["tip"]
    (data / "partial.json").write_text(json.dumps(content))
    result = evaluate(model, data, "partial.json", map=write_map(tmp_path, LINES))
    assert result.counts.known.tolist()[:2] == [[True] * 3, [False, False, True]]
    assert result.per_label["annotated"].tolist() == [3, 3, 4]
    whole = evaluate(model, data, map=write_map(tmp_path, LINES))
    np.testing.assert_array_equal(result.counts.tp[[0, 2, 3]], whole.counts.tp[[0, 2, 3]])


def test_without_a_map_equal_names_are_compared_in_order_of_occurrence(tmp_path, capsys):
    ours = LabelSet(["lung_left", "heart", "heart", "aorta"])
    theirs = LabelSet(["tip", "heart", "aorta", "heart", "heart"])
    label_map = match_names(ours, theirs)
    assert label_map.labels.names == ("heart", "aorta", "heart")
    assert label_map.predicted == (((True, (1,)),), ((True, (3,)),), ((True, (2,)),))
    assert label_map.expected == (((True, (1,)),), ((True, (2,)),), ((True, (3,)),))

    write_tiny(tmp_path / "d", labels=theirs)
    model = tiny_model(labels=ours, preprocessing=Preprocessing("standard", (32, 32))).eval()
    result = evaluate(model, tmp_path / "d")
    assert capsys.readouterr().err.splitlines()[:2] == [
        "data: 2 of 5 labels left out: tip, heart",
        "model: 1 of 4 labels left out: lung_left",
    ]
    assert result.summary["left_out"] == ["tip", "heart"]
    assert result.summary["left_out_of_model"] == ["lung_left"]
    sample = PaxrayDataset(tmp_path / "d", split="test")[0]
    predicted = predict_image(model, sample.image).unpack()[[1, 3, 2]]
    true = sample.masks.unpack()[[1, 2, 3]]
    np.testing.assert_array_equal(result.counts.tp[0], (predicted & true).sum((1, 2)))


def test_labels_in_another_order_score_the_same(tmp_path, capsys):
    names = ["lung_left", "heart", "aorta"]
    write_tiny(tmp_path / "d", labels=LabelSet(names))
    first = tiny_model(labels=LabelSet(names)).eval()
    same = evaluate(first, tmp_path / "d")
    first.labels = LabelSet(["aorta", "heart", "lung_left"])
    turned = evaluate(first, tmp_path / "d")
    assert "left out" not in capsys.readouterr().err
    assert turned.labels == same.labels
    np.testing.assert_array_equal(
        turned.counts.tp[:, 1] + turned.counts.fp[:, 1], same.counts.tp[:, 1] + same.counts.fp[:, 1]
    )
    np.testing.assert_array_equal(
        (turned.counts.tp + turned.counts.fp)[:, ::-1], same.counts.tp + same.counts.fp
    )


def test_nothing_in_common_is_an_error(model, tmp_path):
    write_tiny(tmp_path / "d", labels=LabelSet(["Left Lung", "tip"]))
    with pytest.raises(ValueError, match=r"no label of the data.*'Left Lung'.*map"):
        evaluate(model, tmp_path / "d")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"heart": "hart"}, r"map\.yaml: 'heart': unknown label.*did you mean 'heart'"),
        ({"Left lung": "heart"}, r"'Left lung' is no label of the data; did you mean 'Left Lung'"),
        ({"liver": "heart"}, r"'liver' is no label of the data; it has \('Left Lung', 'heart'"),
        ({"heart": ""}, r"'heart': None is no text"),
        ({"heart": "''"}, r"'heart': '' lacks a label"),
        ({"heart": "heart - "}, r"'heart': 'heart -' lacks a label"),
        ({"heart": "[heart]"}, r"'heart': \['heart'\] is no text"),
        ("heart: heart\nheart: aorta\n", r"map\.yaml: .*'heart' stands twice"),
        ("", r"map\.yaml: no line"),
        ("- heart\n", r"map\.yaml: settings are lines"),
    ],
)
def test_wrong_maps_are_refused(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_map(write_map(tmp_path, lines), OURS, THEIRS)


def test_maps_of_the_package_are_known_by_name():
    names = ["chexmask", "jsrt", "montgomery", "shenzhen", "v7", "wingspan"]
    assert map_names() == names
    structures = {"chexmask": ["Left Lung", "Right Lung", "Heart"], "v7": ["lungs"]}
    both = LabelSet(
        ["left_lung", "right_lung", "heart", "lungs", "Left Lung", "Right Lung", "Heart"]
    )
    for name in names:
        found = read_map(name, LABELS, both)
        assert set(found.labels) >= set(structures.get(name, []))
    part = read_map("jsrt", LABELS, LabelSet(["heart", "left clavicle"]))
    assert part.labels.names == ("heart",)
    assert part.info["left_out"] == ["left clavicle"]
    with pytest.raises(ValueError, match=r"v7\.yaml: no line for a label of the data.*'liver'"):
        read_map("v7", LABELS, LabelSet(["liver"]))
    with pytest.raises(FileNotFoundError, match=r"wingspam: no such map; did you mean 'wingspan'"):
        read_map("wingspam", LABELS, both)


def test_the_command(model, data, tmp_path):
    save_model(tmp_path / "m.ckpt", model)
    command = ["evaluate", "--weights", tmp_path / "m.ckpt", "--data-root", data]
    command += ["--map", write_map(tmp_path, LINES), "--out", tmp_path / "e", "--device", "cpu"]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "e/per_label.csv")
    assert table["label"].tolist() == [*LINES]
    result = evaluate(model, data, map=tmp_path / "map.yaml")
    np.testing.assert_allclose(table["dice_present"], dice_means(result), atol=1e-6)


def dice_means(result):
    return np.nanmean(dice(result.counts), axis=0)
