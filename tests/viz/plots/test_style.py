import os

import numpy as np
import pytest
from helpers.figures import drawn, legend_texts

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.plots import plot_by_label, plot_predictions
from paxray_lib.viz.plots.style import open_axes

TEX = r"half a $\frac{$"


def test_names_are_drawn_as_they_are():
    """Matplotlib reads TeX between two dollars, and stops at what is none."""
    labels = LabelSet([TEX, "$x$", "{{ x }} & <b>"])
    figure = plot_by_label({TEX: np.arange(3.0)}, labels, TEX, columns=1)
    assert {f"{name} ({i})" for i, name in enumerate(labels)} <= set(drawn(figure))
    masks = PackedMasks.pack(np.ones((3, 8, 8), bool), labels)
    figure = plot_predictions([np.ones((8, 8))], [masks], [TEX], labels.names)
    assert drawn(figure)[0] == TEX
    assert legend_texts(figure) == list(labels)


@pytest.mark.parametrize("name", [os.fsdecode(b"x\xff.png"), "x\x1b[2J\a.png", "\u202egnp.x"])
def test_names_of_files_that_no_font_can_show(name):
    figure, axis = open_axes(4, 3)
    axis.plot([1, 2], label=name)
    axis.legend()
    axis.set_title(name)
    (title, *_), (label,) = drawn(figure), legend_texts(axis)
    assert title == label
    assert title.isprintable()
    assert "x" in title
