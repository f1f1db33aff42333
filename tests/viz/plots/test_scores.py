import numpy as np
import pandas as pd
import pytest
from helpers.figures import drawn, legend_texts
from helpers.sampledata import random_evaluation

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.compare import compare_evaluations
from paxray_lib.evaluation.evaluate import evaluate_constant
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.metrics.calibration import reliability_table
from paxray_lib.metrics.counting import Counts
from paxray_lib.viz.plots import (
    plot_agreement,
    plot_differences,
    plot_group_distribution,
    plot_groups,
    plot_reliability,
    plot_score_distribution,
    plot_training,
)


@pytest.fixture(scope="module")
def result():
    return random_evaluation()


@pytest.mark.parametrize(
    "views", [{}, {"lateral": "unknown"}, {"lateral": "unknown", "frontal": "unknown"}]
)
def test_distribution_has_a_dot_for_each_image_with_a_score(result, views):
    scores = result.scores_by_group()
    scores["view"] = scores["view"].replace(views)
    figure = plot_group_distribution(scores, "mean IoU, 0 to 1")
    assert "mean IoU, 0 to 1" in drawn(figure)
    dots = sum(len(part.get_offsets()) for part in figure.axes[0].collections)
    assert dots == scores["iou_present"].notna().sum() > 30
    names = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert names == list(result.labels.groups)
    assert legend_texts(figure.axes[0]) == [
        view for view in ("frontal", "lateral", "unknown") if view in set(scores["view"])
    ]


def test_one_patient_with_one_view_can_be_drawn(result):
    alone = Evaluation(result.counts[:1], result.labels, result.images[:1], {}, result.surface[:1])
    drawn(plot_group_distribution(alone.scores_by_group("nsd"), "surface Dice"))
    drawn(plot_differences(compare_evaluations(alone, alone), "IoU"))
    drawn(plot_groups({"model": alone.summary}))


def test_reliability_shows_the_curve_of_all_labels(result):
    figure = plot_reliability(reliability_table(result.reliability, result.labels))
    assert not any("$" in text for text in drawn(figure))  # TeX is switched off
    assert "pixels with the label (fraction)" in drawn(figure)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    fractions = result.reliability.true.sum(0) / result.reliability.pixels.sum(0)
    np.testing.assert_allclose(lines["all labels"].get_ydata(), fractions)
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    np.testing.assert_array_equal(heights, result.reliability.pixels.sum(0))


def test_differences_are_filled_where_the_interval_leaves_out_zero(result):
    true = result.counts.tp + result.counts.fn
    tp = np.random.default_rng(0).integers(true // 3, true + 1)
    tp[:, :2] = true[:, :2]
    other = Evaluation(
        Counts(tp, result.counts.fp, true - tp, result.counts.known), result.labels, result.images
    )
    table = compare_evaluations(result, other).query("scope != 'label'")
    figure = plot_differences(table, "IoU, second - first")
    assert "IoU, second - first" in drawn(figure)
    dots = figure.axes[0].collections[-1]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], table["difference"])
    white = (dots.get_facecolors()[:, :3] == 1).all(axis=1)
    np.testing.assert_array_equal(white, ~((table["low"] > 0) | (table["high"] < 0)))
    assert white[table["low"].isna()].all()  # of one patient
    assert 0 < white.sum() < len(table)
    assert legend_texts(figure.axes[0]) == ["interval without zero", "interval with zero, or none"]


def test_groups_show_each_models_scores(tiny):
    train, test = PaxrayDataset(tiny, split="train"), PaxrayDataset(tiny, split="test")
    summary = evaluate_constant(train, test, size=48).summary
    figure = plot_groups({"mean": summary, "again": summary})
    drawn(figure)
    heights = [bar.get_height() for bar in figure.axes[0].containers[1]]
    expected = [summary["overall"], *summary["groups"].values()]
    assert heights == pytest.approx([scores["iou_present"] for scores in expected])
    (line, *_) = figure.axes[0].collections[0].get_segments()
    assert line[:, 1].tolist() == summary["overall"]["iou_present_interval"]


@pytest.mark.parametrize("view", [None, "lateral", "unknown"])
def test_the_histogram_counts_each_image_once(result, view):
    scores = result.scores_by_image()
    scores["view"] = scores["view"] if view is None else ["unknown"] + [view] * (len(scores) - 1)
    figure = plot_score_distribution(scores)
    assert "images" in drawn(figure)
    bars = [bar for container in figure.axes[0].containers for bar in container]
    assert sum(bar.get_height() for bar in bars) == scores["iou_present"].notna().sum()


def test_training_curves_show_only_validated_epochs():
    metrics = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [1.0, 0.5, 0.4],
            "val_iou_present": [None, 0.4, None],
            "val_dice_present": [None, 0.5, None],
            "val_iou_published": [None, 0.3, None],
        }
    )
    figure = plot_training(metrics)
    assert "training loss (cross-entropy + Dice)" in drawn(figure)
    assert [line.get_xdata().tolist() for line in figure.axes[1].lines] == [[2]] * 3


def test_agreement_has_a_dot_for_each_image_with_both_values():
    pairs = pd.DataFrame({"true": [0.4, 0.5, np.nan], "predicted": [0.5, 0.45, 0.4]})
    pairs["error"] = pairs["predicted"] - pairs["true"]
    figure = plot_agreement(pairs, "ctr")
    assert {"ctr, reference masks", "ctr, predicted masks"} <= set(drawn(figure))
    np.testing.assert_allclose(
        figure.axes[0].collections[0].get_offsets(), [[0.4, 0.5], [0.5, 0.45]]
    )
    assert figure.axes[0].get_title() == "2 images: bias +0.025, mean absolute error 0.075"
    drawn(plot_agreement(pairs[2:], "ctr"))  # none with both
