"""Figures of notebook 6."""

import numpy as np
from helpers.chestdata import make_chest
from helpers.figures import legend_texts

from paxray_lib.ct.project import project_scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.viz.plots import plot_projected_labels, plot_projections, plot_slices


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
