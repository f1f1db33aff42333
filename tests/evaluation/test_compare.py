"""Differences of two evaluations against a loop over resamples."""

import numpy as np
import pandas as pd
import pytest
from helpers.sampledata import random_evaluation

from paxray_lib.evaluation.compare import compare_evaluations, largest_changes
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.counting import Counts


@pytest.fixture(scope="module")
def pair():
    first = random_evaluation(seed=1)
    true = first.counts.tp + first.counts.fn
    tp = np.minimum(true, first.counts.tp + true // 8)
    better = Counts(tp, first.counts.fp, true - tp, first.counts.known)
    return first, Evaluation(better, first.labels, first.images, {}, first.surface)


def mean_present(tp, fp, fn):
    """Mean IoU over images, then labels, of (N, L) lists of numbers."""
    means = []
    for label in range(tp.shape[1]):
        values = [
            tp[i, label] / (tp[i, label] + fp[i, label] + fn[i, label])
            for i in range(len(tp))
            if tp[i, label] + fp[i, label] + fn[i, label]
        ]
        if values:
            means.append(sum(values) / len(values))
    return sum(means) / len(means) if means else np.nan


def test_the_interval_is_that_of_a_loop_over_resamples(pair):
    table = compare_evaluations(*pair).set_index(["scope", "name"])
    cases = sorted(set(pair[0].images["case"]))
    rows_of = {case: np.flatnonzero(pair[0].images["case"] == case) for case in cases}
    differences = []
    for draws in np.random.default_rng(0).integers(0, len(cases), (2000, len(cases))):
        rows = np.concatenate([rows_of[cases[draw]] for draw in draws])
        one, two = (
            mean_present(*(getattr(e.counts, n)[rows] for n in ("tp", "fp", "fn"))) for e in pair
        )
        differences.append(two - one)
    row = table.loc[("overall", "overall")]
    assert row["low"] == pytest.approx(np.percentile(differences, 2.5))
    assert row["high"] == pytest.approx(np.percentile(differences, 97.5))
    one, two = (mean_present(e.counts.tp, e.counts.fp, e.counts.fn) for e in pair)
    assert (row["first"], row["second"]) == (pytest.approx(one), pytest.approx(two))
    assert row["difference"] == pytest.approx(two - one)


def test_rows_are_overall_views_groups_and_labels(pair):
    table = compare_evaluations(*pair)
    labels = pair[0].labels
    assert table["scope"].value_counts().to_dict() == {
        "overall": 1, "view": 2, "group": len(labels.groups), "label": len(labels)
    }  # fmt: skip
    by_label = table[table["scope"] == "label"]
    assert by_label["index"].tolist() == list(range(len(labels)))
    assert by_label["name"].tolist() == list(labels.names)
    np.testing.assert_allclose(by_label["second"], pair[1].per_label["iou_present"])
    assert by_label["images"].tolist() == pair[1].per_label["images"].tolist()
    ribs = table[table["name"] == "ribs"]
    assert ribs["images"].tolist() == [1]  # its only label is in one image
    for view, scores in pair[1].summary["views"].items():
        (row,) = table[table["name"] == view].itertuples()
        assert row.second == pytest.approx(scores["iou_present"])
        assert row.images == scores["images"]


def test_a_run_does_not_differ_from_itself(pair):
    table = compare_evaluations(pair[0], pair[0], "nsd_present")
    known = table.dropna(subset="first")
    assert len(known) >= 6
    assert (known[["difference", "low", "high"]].fillna(0) == 0).all(axis=None)
    assert known["low"].isna().sum() <= 2  # a label and a group that one patient has


def test_the_paired_interval_is_narrower_than_that_of_the_scores(pair):
    row = compare_evaluations(*pair).iloc[0]
    low, high = pair[0].summary["overall"]["iou_present_interval"]
    assert row["high"] - row["low"] < 0.5 * (high - low)
    assert row["low"] > 0


def test_one_patient_gives_no_interval(pair):
    alone = [
        Evaluation(
            e.counts[:2], e.labels, e.images[:2].assign(case="a"), {}, e.surface and e.surface[:2]
        )
        for e in pair
    ]
    table = compare_evaluations(*alone)
    assert table[["low", "high"]].isna().all(axis=None)
    assert not np.isnan(table["difference"][0])


def test_a_label_that_one_patient_has_gives_no_interval(pair):
    """Its resamples all are the same, which would look like a certain difference."""
    table = compare_evaluations(*pair).set_index(["scope", "name"])
    for place in (("label", "rib_left_1"), ("group", "ribs")):
        assert table.loc[place, "difference"] > 0
        assert table.loc[place, ["low", "high"]].isna().all()
    published = compare_evaluations(*pair, "iou_published").set_index(["scope", "name"])
    assert published.loc[("label", "rib_left_1"), "low"] == 0


def change_of(evaluation, **change):
    parts = {
        "counts": evaluation.counts,
        "labels": evaluation.labels,
        "images": evaluation.images,
        **change,
    }
    return Evaluation(**parts)


def test_what_cannot_be_compared_is_refused(pair):
    first = pair[0]
    swapped = first.images.iloc[::-1].reset_index(drop=True)
    other = first.images.assign(image=["new.png", *first.images["image"][1:]])
    names = LabelSet([f"new {i}" for i in range(len(first.labels))])
    more = Counts(
        first.counts.tp,
        first.counts.fp,
        first.counts.fn + np.eye(*first.counts.tp.shape, dtype=int),
    )
    for change, words in (
        ({"images": swapped}, "another order"),
        ({"images": other}, "in one of them alone"),
        ({"labels": names}, "other names"),
        ({"counts": more}, "masks are not the same"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_evaluations(first, change_of(first, **change))
    with pytest.raises(ValueError, match=r"'iou_presnt'.*did you mean 'iou_present'"):
        compare_evaluations(first, first, "iou_presnt")
    with pytest.raises(ValueError, match="score 'nsd_present'"):
        compare_evaluations(first, change_of(first), "nsd_present")


def test_largest_changes_leave_out_what_does_not_change(pair):
    names = ["heart", "aorta", "spine", "t1", "t2", "c1"]
    first, second = [0.5, 0.25, 0, 0.5, np.nan, 0.5], [0.75, 1, 0, 0.5, np.nan, 0.25]
    rows = [
        ("label", name, i, 3, a, b, b - a, a, b)
        for i, (name, a, b) in enumerate(zip(names, first, second, strict=True))
    ]
    rows.insert(0, ("overall", "overall", -1, 3, 0.5, 0.25, -0.25, 0, 1))
    columns = ["scope", "name", "index", "images", "first", "second", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    text, most = largest_changes(table)
    assert text == "2 labels gain, 1 label loses, 2 stay the same (1 of them at 0)"
    assert most.index.tolist() == ["c1", "heart", "aorta"]
    assert most["difference"].tolist() == [-0.25, 0.25, 0.75]
    assert largest_changes(table, 1)[1].index.tolist() == ["c1", "aorta"]
    text, most = largest_changes(table[table["name"] != "c1"])
    assert text.startswith("2 labels gain, no label loses, 2 stay")
    assert (most["difference"] > 0).all()
    text, most = largest_changes(compare_evaluations(pair[0], pair[0]))
    assert text == "no label gains, no label loses, 5 stay the same"
    assert most.empty


def test_the_table_is_tidy(pair):
    assert pd.api.types.is_integer_dtype(compare_evaluations(*pair)["images"])
