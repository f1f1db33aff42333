"""Every entry of per_label.csv and summary.json, computed again from counts.npz alone by loops and
lists.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
from helpers.sampledata import random_evaluation
from helpers.slowscores import (
    slow_distances,
    slow_draws,
    slow_interval,
    slow_labels_scored,
    slow_resamples,
    slow_score,
)

from paxray_lib.evaluation.result import Evaluation
from paxray_lib.evaluation.tables import score_frame, score_lines, summarize
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import dice, iou, precision, recall
from paxray_lib.metrics.surface import Surface


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    random_evaluation().write(folder)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    with np.load(folder / "counts.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def draws(data):
    return list(slow_draws(data["cases"].tolist()))


COLUMNS = (
    "iou_published", "iou_present", "dice_published", "dice_present",
    "precision_present", "recall_present", "nsd_present",
)  # fmt: skip


def test_every_entry_of_per_label_csv(folder, data, draws):
    table = pd.read_csv(folder / "per_label.csv", keep_default_na=False)
    names, images = data["names"].tolist(), range(len(data["images"]))
    labels = LabelSet(names)
    assert len(table) == len(names)
    for k, row in table.iterrows():
        tp, fp, fn = (data[key][:, k].tolist() for key in ("tp", "fp", "fn"))
        expected = {
            "index": k,
            "label": names[k],
            "group": labels.group[k],
            "side": labels.side[k],
            "checked": labels.checked[k],
            "annotated": data["known"][:, k].sum(),
            "images": sum(a + b > 0 for a, b in zip(tp, fn, strict=True)),
            "missed": sum(a + b > 0 and a + c == 0 for a, b, c in zip(tp, fn, fp, strict=True)),
            "invented": sum(a + b == 0 and a + c > 0 for a, b, c in zip(tp, fn, fp, strict=True)),
            "pixels": sum(tp) + sum(fn),
            "hd95_median": slow_distances(data, images, [k])[0],
        }
        expected |= {column: slow_score(data, images, [k], column) for column in COLUMNS}
        for column in ("iou_present", "dice_present", "nsd_present"):
            ends = slow_interval(slow_resamples(data, draws, images, [k], column))
            expected |= dict(zip((f"{column}_low", f"{column}_high"), ends, strict=True))
        assert set(row.index) == set(expected)
        for column, value in expected.items():
            if isinstance(value, str):
                assert row[column] == value
            elif value is None:
                assert row[column] == "", (column, names[k])
            else:
                assert float(row[column]) == pytest.approx(value, abs=1e-6), (column, names[k])


def plain(value):
    return float(value) if value is not None and math.isfinite(value) else None


def expected_scores(data, draws, images, labels):
    patients = {data["cases"][i] for i in images}
    scores = {"images": len(images), "patients": len(patients), "labels": len(labels)}
    scores["labels_annotated"] = sum(data["known"][images][:, labels].any(axis=0).tolist())
    scores["labels_scored"] = slow_labels_scored(data, images, labels, "iou_present")
    for column in COLUMNS:
        scores[column] = slow_score(data, images, labels, column)
        ends = slow_interval(slow_resamples(data, draws, images, labels, column))
        scores[f"{column}_interval"] = list(ends)
    middle, infinite = slow_distances(data, images, labels)
    return {**scores, "hd95_median": plain(middle), "hd95_infinite_share": infinite}


def test_every_entry_of_summary_json(folder, data, draws):
    summary = json.loads((folder / "summary.json").read_text())
    labels = LabelSet(data["names"].tolist())
    images, everything = list(range(len(data["images"]))), list(range(len(labels)))
    groups = sorted(set(labels.group))
    expected = {
        "overall": expected_scores(data, draws, images, everything),
        "views": {
            view: expected_scores(
                data, draws, [i for i in images if data["views"][i] == view], everything
            )
            for view in ("frontal", "lateral")
        },
        "groups": {
            group: expected_scores(
                data, draws, images, [k for k in everything if labels.group[k] == group]
            )
            for group in groups
        },
    }
    pixels, true, probability = (
        np.sum(data[f"bins_{name}"], axis=0) for name in ("pixels", "true", "probability")
    )
    gaps = [n * abs(t / n - p / n) for n, t, p in zip(pixels, true, probability, strict=True) if n]
    assert summary.pop("calibration_error") == pytest.approx(sum(gaps) / pixels.sum())
    assert summary.pop("split") == "test"
    assert set(summary) == set(expected)
    assert set(summary["groups"]) == set(groups)
    assert set(summary["views"]) == {"frontal", "lateral"}
    assert summary["groups"]["ribs"]["iou_present_interval"] == [None, None]  # of one patient
    # one is never present
    assert (summary["overall"]["labels"], summary["overall"]["labels_scored"]) == (6, 5)
    places = [(summary["overall"], expected["overall"])]
    places += [
        (summary[part][name], expected[part][name])
        for part in ("views", "groups")
        for name in expected[part]
    ]
    for found, wanted in places:
        assert set(found) == set(wanted)
        for key, value in wanted.items():
            assert found[key] == (
                value if value is None or value == [None, None] else pytest.approx(value)
            ), key


@pytest.mark.parametrize(
    ("found", "median", "text"), [(2, None, "infinite: half"), (3, 1.0, "1.0000")]
)
def test_a_median_distance_that_is_infinite_is_told_from_none(found, median, text):
    here = np.arange(4)[:, None] < found
    distances = Surface(np.where(here, 4, 0), np.where(here, 4, 2), np.where(here, 1.0, np.inf))
    pixels = Counts(np.where(here, 5, 0), np.zeros((4, 1), int), np.where(here, 0, 5))
    scores = summarize(pixels, LabelSet(["heart"]), ["frontal"] * 4, list("abcd"), distances)[
        "overall"
    ]
    assert (scores["hd95_median"], scores["hd95_infinite_share"]) == (median, 1 - found / 4)
    (line,) = [line for line in score_lines(scores) if line.startswith("hd95_median")]
    assert line.split(maxsplit=1)[1].startswith(text)
    assert score_frame(scores).loc["hd95_median", "value"] == (np.inf if median is None else median)


def test_without_an_outline_there_is_no_median_distance():
    nothing = Counts(*np.zeros((3, 2, 1), int))
    surface = Surface(*np.zeros((2, 2, 1), int), np.full((2, 1), np.nan))
    scores = summarize(nothing, LabelSet(["heart"]), ["frontal"] * 2, list("ab"), surface)[
        "overall"
    ]
    assert (scores["labels_scored"], scores["hd95_median"], scores["hd95_infinite_share"]) == (
        0,
        None,
        None,
    )
    assert "hd95_median         none" in score_lines(scores)
    assert np.isnan(score_frame(scores).loc["hd95_median", "value"])


def test_what_is_read_again_gives_the_same_tables(folder):
    again = Evaluation.read(folder)
    assert again.summary == json.loads((folder / "summary.json").read_text())
    pd.testing.assert_frame_equal(again.per_label, random_evaluation().per_label)
    by_group = again.scores_by_group("nsd")
    assert len(by_group) == len(again.images) * len(again.labels.groups)
    heart = by_group[by_group["group"] == "heart"]
    np.testing.assert_allclose(
        heart["nsd_present"], again.surface.nsd[:, again.labels.index("heart")[0]]
    )


# of torchmetrics.functional.classification.binary_*, version 1.9.0, on the masks of the test below
TORCHMETRICS = {
    iou: [0, 0, 0, 1, 0.510417, 0.102564],
    dice: [0, 0, 0, 1, 0.675862, 0.186047],
    precision: [0, 0, 0, 1, 0.538462, 0.153846],
    recall: [0, 0, 0, 1, 0.907407, 0.235294],
}


@pytest.mark.parametrize("score", TORCHMETRICS, ids=lambda score: score.__name__)
def test_scores_equal_those_of_torchmetrics(score):
    rng = np.random.default_rng(0)
    pred, true = (rng.random((6, 9, 11)) < rng.random((6, 1, 1)) for _ in range(2))
    pred[0] = true[1] = pred[2] = true[2] = False
    true[3] = pred[3]
    # it has 0, as the published convention does, where there is nothing to divide by
    ours = np.nan_to_num(score(counts_of(pred, true))[0])
    np.testing.assert_allclose(ours, TORCHMETRICS[score], atol=1e-6)


def counts_of(pred, true):
    return counts(pred[None], true[None])
