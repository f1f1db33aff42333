import numpy as np
import pytest
from helpers.boxes import BOXES, RIBS, boxes
from helpers.chestdata import make_chest
from helpers.figures import drawn, legend_texts

from paxray_lib.ct.project import project_scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.measurement.geometry import find_lines
from paxray_lib.viz.plots import (
    draw_measurements,
    plot_comparison,
    plot_predictions,
    plot_projected_labels,
    plot_projections,
    plot_samples,
    plot_slices,
)


@pytest.fixture(scope="module")
def train(tiny):
    return PaxrayDataset(tiny, split="train")


def test_samples_are_titled_by_name(train):
    texts = drawn(plot_samples([train[0], train[1]], ["lungs", "heart"]))
    assert texts == ["case000frontal", "case000lateral"]


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["heart", "lung_left"], ["lung left", "heart"]),
        (["ribs"], []),
        (["mediastinum_upper"], ["mediastinum upper (12)", "mediastinum upper (16)"]),
    ],
)
def test_colors_of_labels_are_named_if_they_are_few(train, names, named):
    sample = train[0]
    assert legend_texts(plot_samples([sample], names)) == named
    assert legend_texts(plot_predictions([sample.image], [sample.masks], ["x"], names)) == named


def test_comparison_and_predictions_can_be_drawn(train):
    sample = train[0]
    figure = plot_comparison([sample], [sample.masks], ["heart"])
    assert drawn(figure) == ["case000frontal", "ground truth", "prediction", "difference"]
    assert legend_texts(figure) == ["true positive", "false positive", "false negative"]
    figure = plot_predictions([sample.image], [sample.masks], ["x.png"], ["heart"])
    assert drawn(figure) == ["x.png"]


def test_measured_lines_are_drawn_with_their_values():
    masks = boxes()
    figure = draw_measurements(np.zeros((64, 80)), masks, "frontal")
    texts = drawn(figure)
    assert "column (px)" in texts
    names = {name.replace("_", " ") for name in find_lines(masks, "frontal")}
    assert set(legend_texts(figure.axes[1])) == {*names, "middle of the spine"}
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert lines["middle of the spine"].get_path_effects()  # a dark edge, since a spine is white
    assert len({line.get_color() for line in lines.values()}) == len(lines)
    assert "ctr 0.37\nribs anterior 6" in figure.axes[1].texts[0].get_text()
    empty = draw_measurements(np.zeros((64, 80)), boxes(without=[*BOXES, *RIBS]), None)
    assert empty.axes[1].texts[0].get_text() == "nothing to measure"


def test_slices_show_three_directions_with_true_proportions():
    figure = plot_slices(make_chest())
    assert [plot.get_title() for plot in figure.axes[:3]] == [
        "axial, slice 25",
        "coronal, slice 24",
        "sagittal, slice 40",
    ]
    assert [plot.get_aspect() for plot in figure.axes[:3]] == [4 / 3, 5 / 3, 5 / 4]
    colored = figure.axes[3].images[0].get_array()
    assert (colored.max(axis=2) > colored.min(axis=2)).any()


def test_slices_name_the_kinds_of_structures_that_the_scan_has():
    scan = make_chest()
    (legend,) = plot_slices(scan).legends
    kinds = {
        structure.kind for structure in STRUCTURES if (scan.structures == structure.code).any()
    }
    assert len(legend.get_texts()) == len(kinds) > 3
    assert {"lung", "bone"} <= {text.get_text() for text in legend.get_texts()}


def test_projections_and_labels():
    projected = project_scan(make_chest(), 64)
    images = {view: image for view, (image, _) in projected.views.items()}
    figure = plot_projections({"one": images, "two": images})
    assert [plot.get_title() for plot in figure.axes] == [
        "frontal, one",
        "lateral, one",
        "frontal, two",
        "lateral, two",
    ]
    figure = plot_projected_labels(projected.views, [["heart"], ["ribs"], ["lungs"]])
    assert len(figure.axes) == 6
    assert [plot.get_title() for plot in figure.axes] == ["heart", "ribs", "lungs", "", "", ""]
    assert [plot.get_ylabel() for plot in figure.axes[::3]] == ["frontal", "lateral"]
    named = [legend_texts(plot) for plot in figure.axes[3:]]
    assert named[0] == ["heart"]
    assert named[1] == []  # too many to be told apart
    assert "lung left" in named[2]
    pixels = figure.axes[0].images[0].get_array()
    heart = projected.views["frontal"][1].union("heart")
    grey = pixels.max(axis=2) == pixels.min(axis=2)
    assert not grey[heart].any()
    assert np.array_equal(pixels[~heart & grey][:, 0], images["frontal"][~heart & grey])
