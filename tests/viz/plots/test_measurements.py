import numpy as np
import pandas as pd
from helpers.boxes import BOXES, RIBS, boxes
from helpers.figures import drawn, legend_texts

from paxray_lib.measurement.geometry import find_lines
from paxray_lib.viz.plots import draw_measurements, plot_agreement


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
