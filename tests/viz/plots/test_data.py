import numpy as np
import pytest
from helpers.boxes import BOXES, RIBS, boxes
from helpers.figures import drawn, overlaps
from helpers.sampledata import write_tiny

from paxray_lib.data.dataset import PaxrayDataset, read_datafile
from paxray_lib.data.selection import mean_masks
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LabelSet
from paxray_lib.measurement.geometry import find_lines
from paxray_lib.quality.label_audit import tree_table
from paxray_lib.quality.statistics import overlap_matrix, position_table, unusual_table
from paxray_lib.quality.survey import take_survey
from paxray_lib.viz.plots import data


@pytest.fixture(scope="module")
def survey(tiny):
    return take_survey(read_datafile(tiny))


def test_positions_of_both_views(tiny, survey):
    train = PaxrayDataset(tiny)
    means = {view: mean_masks(train, view, 16) for view in VIEWS}
    figure = data.plot_positions({v: position_table(survey, v) for v in VIEWS}, means, train.labels)
    texts = drawn(figure)
    assert {"frontal", "lateral", "row of the centroid (% of the height)"} <= set(texts)
    assert len(figure.axes[0].containers) == len(train.labels.groups)


def test_positions_of_labels_that_the_table_does_not_know(tmp_path):
    write_tiny(tmp_path, labels=LabelSet([f"organ {i}" for i in range(120)]))
    train, found = PaxrayDataset(tmp_path), take_survey(read_datafile(tmp_path))
    means = {view: mean_masks(train, view, 16) for view in VIEWS}
    figure = data.plot_positions({v: position_table(found, v) for v in VIEWS}, means, train.labels)
    assert len(figure.axes[0].containers) == 1
    # pandas warns of tables that grow by hundreds of columns
    assert len(unusual_table(found)) == 14


def test_overlaps_show_the_matrix_and_name_the_large_groups(survey):
    matrices = {view: overlap_matrix(survey, view) for view in VIEWS}
    figure = data.plot_overlaps(matrices, survey.labels)
    assert {"ribs 54 to 162", "vertebrae 25 to 53", "pixels (%)"} <= set(drawn(figure))
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), matrices["lateral"])
    assert not overlaps(figure.axes[0])


def test_tree_check_counts_contradictions(survey):
    table = tree_table(survey)
    table.loc[3, "parent_images"] -= 1
    figure = data.plot_tree_check(table)
    assert "images with the child" in drawn(figure)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == [f"possible ({len(table) - 1})", "contradicts the tree (1)"]
    drawn(data.plot_tree_check(table[:0]))  # labels that are no parts of each other


def test_unusual_images_are_titled_by_what_is_unusual(tiny, survey):
    table = unusual_table(survey)
    texts = drawn(data.plot_unusual(tiny, table, 5))
    assert len(texts) == 5
    assert table["feature"][0] in texts[0]


def test_measured_lines_are_drawn_with_their_values():
    masks = boxes()
    figure = data.draw_measurements(np.zeros((64, 80)), masks, "frontal")
    texts = drawn(figure)
    assert "column (px)" in texts
    shown = {text.get_text() for text in figure.axes[1].get_legend().get_texts()}
    assert shown == {name.replace("_", " ") for name in find_lines(masks, "frontal")} | {
        "middle of the spine"
    }
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert lines["middle of the spine"].get_path_effects()  # a dark edge, since a spine is white
    assert len({line.get_color() for line in lines.values()}) == len(lines)
    assert "ctr 0.37\nribs anterior 6" in figure.axes[1].texts[0].get_text()
    empty = data.draw_measurements(np.zeros((64, 80)), boxes(without=[*BOXES, *RIBS]), None)
    assert empty.axes[1].texts[0].get_text() == "nothing to measure"
