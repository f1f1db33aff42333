"""Figures of measurements: the lines in an image, and how predicted values agree with true ones."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import find_lines, measure, spine_line
from paxray_lib.measurement.tables import agreement, format_measurements
from paxray_lib.viz.plots import style

_LINE_COLORS = {
    "heart_width": "#ff5a5f",
    "thorax_width": "#4fc3f7",
    "heart_height": "#ff9e80",
    "lung_right_height": "#80cbc4",
    "lung_left_height": "#ff7ad9",
    "heart_to_spine": "#ffd54f",
    "airways_to_spine": "#ba9bff",
    "ribs_to_spine": "#a5d66f",
}
_SPINE_STYLE = {
    "color": "#ffffff",
    "linewidth": 1.4,
    "linestyle": ":",
    # a spine is as white as the line
    "path_effects": [withStroke(linewidth=3, foreground="#202020")],
}


def draw_measurements(
    image: np.ndarray,
    masks: PackedMasks,
    view: str | None,
    spacing_mm: tuple[float, float] | None = None,
) -> Figure:
    """Draw the lines that `measurement.geometry.measure` measures, with their values at the right.

    `image` is (H, W) float in 0..1, the other parameters are those of `measure`.
    """
    figure = style.new_figure(8.6, 5.6)
    axis, side = figure.subplots(1, 2, width_ratios=(3, 1))
    height, width = image.shape
    axis.imshow(style.as_bytes(image), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    spine = spine_line(masks) if view == "frontal" else None
    if spine is not None:
        rows = np.array([0, height])
        axis.plot(np.polyval(spine, rows), rows, **_SPINE_STYLE)
        side.plot([], [], label="middle of the spine", **_SPINE_STYLE)
    for name, ((top, left), (bottom, right)) in find_lines(masks, view).items():
        marker = "|" if name.endswith("width") else "_"
        color = _LINE_COLORS[name]
        axis.plot([left, right], [top, bottom], color=color, linewidth=1.6, marker=marker)
        side.plot([], [], color=color, label=style.as_words(name))
    axis.set(xlim=(0, width), ylim=(height, 0), xlabel="column (px)", ylabel="row (px)")
    text = format_measurements(measure(masks, view, spacing_mm)) or ["nothing to measure"]
    font = {"fontsize": 9, "va": "top", "transform": side.transAxes, "linespacing": 1.5}
    side.text(0, 0.98, "\n".join(text), **font)
    if side.lines:
        side.legend(loc="lower left", **style.SMALL_LEGEND)
    side.set_axis_off()
    return figure


def plot_agreement(pairs: pd.DataFrame, name: str) -> Figure:
    """Plot a measurement in predicted masks over the same in the reference masks.

    There is one dot per image, and a line where both agree. `pairs` is the DataFrame of
    `measurement.tables.ctr_pairs`, `name` says what was measured, with its unit if it has one.
    """
    figure = style.new_figure(4.6, 4.4)
    axis, known = figure.subplots(), pairs.dropna()
    values = known[["true", "predicted"]].to_numpy()
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    margin = 0.05 * (high - low) + 0.01
    ends = (low - margin, high + margin)
    axis.plot(ends, ends, color="#555555", linestyle="--", linewidth=1)
    axis.scatter(known["true"], known["predicted"], s=18, color=style.BLUE, alpha=0.7)
    axis.set(xlim=ends, ylim=ends, aspect="equal")
    axis.set(xlabel=f"{name}, reference masks", ylabel=f"{name}, predicted masks")
    found = agreement(pairs)
    numbers = f"bias {found['bias']:+.3f}, mean absolute error {found['mean_absolute_error']:.3f}"
    axis.set_title(f"{found['images']} images: {numbers}", fontsize=10)
    style.open_frame(axis)
    return figure
