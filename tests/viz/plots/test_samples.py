import numpy as np
import pandas as pd
import pytest
from helpers.figures import drawn, overlaps

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.selection import mean_masks
from paxray_lib.evaluation.evaluate import evaluate_constant
from paxray_lib.labels.table import LABELS
from paxray_lib.quality.statistics import label_table
from paxray_lib.quality.survey import take_survey
from paxray_lib.viz.plots import samples, scores, style, training


@pytest.fixture(scope="module")
def train(tiny):
    return PaxrayDataset(tiny, split="train")


def test_samples_are_titled_by_name(train):
    texts = drawn(samples.plot_samples([train[0], train[1]], ["lungs", "heart"]))
    assert texts == ["case000frontal", "case000lateral"]


def test_colors_of_labels_are_named_if_they_are_few(train):
    def named(names):
        figures = [samples.plot_samples([train[0]], names)]
        figures.append(samples.plot_predictions([train[0].image], [train[0].masks], ["x"], names))
        texts = [
            [text.get_text() for legend in figure.legends for text in legend.get_texts()]
            for figure in figures
        ]
        assert texts[0] == texts[1]
        return texts[0]

    assert named(["heart", "lung_left"]) == ["lung left", "heart"]
    assert named(["ribs"]) == []


def test_by_label_lists_all_labels_legibly(train):
    table = label_table(take_survey(train.datafile))
    figure = samples.plot_by_label({"images": table["images"]}, train.labels, "images")
    texts = drawn(figure)
    for i, name in enumerate(LABELS.names):
        assert f"{name} ({i})" in texts
    assert texts.count("images") == 3
    assert not any(overlaps(axis) for axis in figure.axes)


def test_by_label_shows_each_value_in_its_row():
    values = np.arange(166.0)
    values[3] = np.nan
    figure = samples.plot_by_label({"one": values, "two": values + 1}, LABELS, "n")
    points = np.concatenate([axis.collections[1].get_offsets() for axis in figure.axes])
    np.testing.assert_array_equal(np.ma.filled(points[:, 0], np.nan), values)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]


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
    figure = training.plot_training(metrics)
    texts = drawn(figure)
    assert "training loss (cross-entropy + Dice)" in texts
    assert [line.get_xdata().tolist() for line in figure.axes[1].lines] == [[2]] * 3


def test_groups_show_each_models_scores(tiny, train):
    result = evaluate_constant(train, PaxrayDataset(tiny, split="test"), size=48)
    figure = scores.plot_groups({"mean": result.summary, "again": result.summary})
    drawn(figure)
    heights = [bar.get_height() for bar in figure.axes[0].containers[1]]
    expected = [result.summary["overall"]["iou_present"]]
    expected += [scores["iou_present"] for scores in result.summary["groups"].values()]
    assert heights == pytest.approx(expected)
    (line, *_) = figure.axes[0].collections[0].get_segments()
    assert line[:, 1].tolist() == result.summary["overall"]["iou_present_interval"]


def test_comparison_prediction_and_distribution_can_be_drawn(tiny, train):
    sample = train[0]
    texts = drawn(samples.plot_comparison([sample], [sample.masks], ["heart"]))
    assert texts == ["case000frontal", "ground truth", "prediction", "difference"]
    assert drawn(
        samples.plot_predictions([sample.image], [sample.masks], ["x.png"], ["heart"])
    ) == ["x.png"]
    scores = evaluate_constant(train, PaxrayDataset(tiny, split="test"), size=48).scores_by_image()
    figure = scores.plot_score_distribution(scores)
    assert "images" in drawn(figure)
    assert heights(figure) == 4
    for views in (["unknown"] * 4, ["lateral"] * 3 + ["unknown"]):
        assert heights(scores.plot_score_distribution(scores.assign(view=views))) == 4


def heights(figure):
    return sum(bar.get_height() for bars in figure.axes[0].containers for bar in bars)


def test_mean_masks_in_percent(train):
    means = {view: mean_masks(train, view, 16) for view in ("frontal", "lateral")}
    figure = samples.plot_mean_masks(means, train.labels, ["heart", "spine"])
    assert drawn(figure)[:2] == ["heart, frontal", "spine, frontal"]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, 100 * means["frontal"][LABELS.index("heart")[0]])


def test_bytes_are_rounded():
    np.testing.assert_array_equal(
        style.as_bytes(np.array([0, 0.5 / 255, 0.999, 1])), [0, 0, 255, 255]
    )


def test_a_notebook_can_show_a_figure(train):
    assert samples.plot_samples([train[0]], ["heart"])._repr_png_().startswith(b"\x89PNG")
