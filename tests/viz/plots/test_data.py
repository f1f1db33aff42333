import numpy as np
import pytest
from helpers.figures import drawn, legend_texts, overlaps
from helpers.sampledata import write_tiny

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.selection import mean_masks
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.quality.label_audit import tree_table
from paxray_lib.quality.statistics import (
    label_table,
    overlap_matrix,
    position_table,
    unusual_table,
)
from paxray_lib.quality.survey import take_survey
from paxray_lib.viz.plots import (
    plot_by_label,
    plot_mean_masks,
    plot_overlaps,
    plot_positions,
    plot_tree_check,
    plot_unusual,
)


@pytest.fixture(scope="module")
def survey(tiny):
    return take_survey(read_datafile(tiny))


def test_positions_of_both_views(tiny, survey):
    train = PaxrayDataset(tiny)
    means = {view: mean_masks(train, view, 16) for view in VIEWS}
    figure = plot_positions({v: position_table(survey, v) for v in VIEWS}, means, train.labels)
    texts = drawn(figure)
    assert {"frontal", "lateral", "row of the centroid (% of the height)"} <= set(texts)
    assert len(figure.axes[0].containers) == len(train.labels.groups)


def test_positions_of_labels_that_the_table_does_not_know(tmp_path):
    write_tiny(tmp_path, labels=LabelSet([f"organ {i}" for i in range(120)]))
    train, found = PaxrayDataset(tmp_path), take_survey(read_datafile(tmp_path))
    means = {view: mean_masks(train, view, 16) for view in VIEWS}
    figure = plot_positions({v: position_table(found, v) for v in VIEWS}, means, train.labels)
    assert len(figure.axes[0].containers) == 1
    # pandas warns of tables that grow by hundreds of columns
    assert len(unusual_table(found)) == 14


def test_overlaps_show_the_matrix_and_name_the_large_groups(survey):
    matrices = {view: overlap_matrix(survey, view) for view in VIEWS}
    figure = plot_overlaps(matrices, survey.labels)
    assert {"ribs 54 to 162", "vertebrae 25 to 53", "pixels (%)"} <= set(drawn(figure))
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), matrices["lateral"])
    assert not overlaps(figure.axes[0])


def test_tree_check_counts_contradictions(survey):
    table = tree_table(survey)
    table.loc[3, "parent_images"] -= 1
    figure = plot_tree_check(table)
    assert "images with the child" in drawn(figure)
    assert legend_texts(figure.axes[0]) == [
        f"possible ({len(table) - 1})",
        "contradicts the tree (1)",
    ]
    drawn(plot_tree_check(table[:0]))  # labels that are no parts of each other


def test_unusual_images_are_titled_by_what_is_unusual(tiny, survey):
    table = unusual_table(survey)
    texts = drawn(plot_unusual(tiny, table, 5))
    assert len(texts) == 5
    assert table["feature"][0] in texts[0]


def test_by_label_lists_all_labels_legibly(survey):
    figure = plot_by_label({"images": label_table(survey)["images"]}, survey.labels, "images")
    texts = drawn(figure)
    assert {f"{name} ({i})" for i, name in enumerate(LABELS.names)} <= set(texts)
    assert texts.count("images") == 3
    assert not any(overlaps(axis) for axis in figure.axes)


def test_by_label_shows_each_value_in_its_row():
    values = np.arange(166.0)
    values[3] = np.nan
    figure = plot_by_label({"one": values, "two": values + 1}, LABELS, "n")
    points = np.concatenate([axis.collections[1].get_offsets() for axis in figure.axes])
    np.testing.assert_array_equal(np.ma.filled(points[:, 0], np.nan), values)
    assert legend_texts(figure) == ["one", "two"]


def test_mean_masks_in_percent(tiny):
    train = PaxrayDataset(tiny, split="train")
    means = {view: mean_masks(train, view, 16) for view in VIEWS}
    figure = plot_mean_masks(means, train.labels, ["heart", "spine"])
    assert drawn(figure)[:2] == ["heart, frontal", "spine, frontal"]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, 100 * means["frontal"][LABELS.index("heart")[0]])
