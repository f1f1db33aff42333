"""Figures of notebook 6."""

import numpy as np
from chestdata import make_chest

from paxray_lib.plots_ct import plot_projected_labels, plot_projections, plot_slices
from paxray_lib.project import project_scan


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
    pixels = figure.axes[0].images[0].get_array()
    heart = projected.views["frontal"][1].union("heart")
    grey = pixels.max(axis=2) == pixels.min(axis=2)
    assert not grey[heart].any()
    assert np.array_equal(pixels[~heart & grey][:, 0], images["frontal"][~heart & grey])
