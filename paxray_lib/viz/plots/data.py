"""Figures of what is in data: positions and overlaps of labels, the label tree, unusual images,
measurements.
"""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import find_lines, measure, spine_line
from paxray_lib.measurement.tables import format_measurements
from paxray_lib.viz.plots.style import GROUP_COLORS, as_bytes, new_figure


def plot_positions(
    tables: Mapping[str, pd.DataFrame], means: Mapping[str, np.ndarray], labels: LabelSet
) -> Figure:
    """Where the centroid of each label lies on average, one panel a view, with bars of one standard
    deviation.

    Parameters
    ----------
    tables : mapping of view to the table of `explore.position_table`
    means : mapping of view to (L, size, size) mean masks, drawn in grey behind: the labels of bones
    and lungs"""
    figure = new_figure(5.2 * len(tables), 6.3)
    for axis, (view, table) in zip(
        figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True
    ):
        behind = means[view][[group in ("bones", "lungs") for group in labels.group]].max(
            axis=0, initial=0
        )
        axis.imshow(behind, cmap="Greys", vmin=0, vmax=3, extent=(0, 100, 100, 0))
        for group, rows in table[table["images"] > 0].groupby("group", sort=False):
            style = {
                "fmt": "o",
                "markersize": 3,
                "color": GROUP_COLORS[group],
                "elinewidth": 0.4,
                "label": group,
            }
            axis.errorbar(rows["column"], rows["row"], rows["row_sd"], rows["column_sd"], **style)
        axis.set(xlim=(0, 100), ylim=(100, 0), title=view)
        axis.set(
            xlabel="column of the centroid (% of the width)",
            ylabel="row of the centroid (% of the height)",
        )
    handles, names = figure.axes[0].get_legend_handles_labels()
    names = [name.replace("_", " ") for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure


def plot_overlaps(matrices: Mapping[str, np.ndarray], labels: LabelSet) -> Figure:
    """How much of each label (row) also bears each other label (column), in percent, one panel a
    view; groups are separated by lines. Rows of labels that do not occur stay white.

    Parameters
    ----------
    matrices : mapping of view to the (L, L) array of `explore.overlap_matrix`
    """
    starts = [
        0,
        *(np.flatnonzero(np.array(labels.group[1:]) != np.array(labels.group[:-1])) + 1),
        len(labels),
    ]
    # smaller groups have no room for a name
    large = [(a, b) for a, b in itertools.pairwise(starts) if b - a > 4]
    ticks = (
        [(a + b - 1) / 2 for a, b in large],
        [f"{labels.group[a]} {a} to {b - 1}" for a, b in large],
    )
    figure = new_figure(5.6 * len(matrices) + 0.8, 5.6)
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (view, matrix) in zip(axes, matrices.items(), strict=True):
        shown = axis.imshow(matrix, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
        axis.set_xticks(*ticks, rotation=90, fontsize=7)
        axis.set_yticks(*ticks, fontsize=7)
        for start in starts[1:-1]:
            axis.axhline(start - 0.5, color="white", linewidth=0.5)
            axis.axvline(start - 0.5, color="white", linewidth=0.5)
        axis.set(
            title=view,
            xlabel="... also bear this label (by index)",
            ylabel="pixels of this label ... (by index)",
        )
    figure.colorbar(shown, ax=axes, label="pixels (%)", shrink=0.8)
    return figure


def plot_tree_check(table: pd.DataFrame) -> Figure:
    """Each child against its parent: in how many images each occurs, and how much of the child lies
    outside.

    Parameters
    ----------
    table : DataFrame of `audit.tree_table`
    """
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    wrong = table["images"] > table["parent_images"]
    top = 1.05 * table[["images", "parent_images"]].to_numpy().max(initial=1)
    left.plot([0, top], [0, top], color="#999999", linewidth=0.8)
    for chosen, color, name in (
        (~wrong, "#2f7ebc", "possible"),
        (wrong, "#c8323f", "contradicts the tree"),
    ):
        rows = table[chosen]
        left.scatter(
            rows["parent_images"], rows["images"], s=14, color=color, label=f"{name} ({len(rows)})"
        )
    left.set(
        xlabel="images with the parent",
        ylabel="images with the child",
        xlim=(0, top),
        ylim=(0, top),
    )
    left.legend(frameon=False, loc="upper left", fontsize=8)
    outside = np.sort(table["outside_percent"].dropna())[::-1]
    right.plot(np.arange(1, len(outside) + 1), outside, "o", markersize=3, color="#2f7ebc")
    right.axhline(20, color="#c8323f", linewidth=0.8)
    right.set(
        xlabel="child and parent, by rank", ylabel="pixels of the child outside (%)", ylim=(-2, 102)
    )
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_unusual(root: str | os.PathLike, table: pd.DataFrame, count: int = 8) -> Figure:
    """The most unusual images with what is unusual about them.

    Parameters
    ----------
    root : folder of the data set
    table : DataFrame of `statistics.unusual_table`
    count : how many of its first rows to show, at most
    """
    table = table.head(count)
    columns = min(4, max(1, len(table)))
    rows = max(1, -(-len(table) // columns))
    figure = new_figure(2.9 * columns, 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, row in zip(axes, table.itertuples(), strict=False):
        pixels = read_image(Path(root, row.image)).pixels
        axis.imshow(as_bytes(pixels), cmap="gray", vmin=0, vmax=255)
        name = row.image.rsplit("/", 1)[-1]
        axis.set_title(
            f"{name}\n{row.feature} {row.value:.2f}\nusual {row.usual:.2f}, z {row.z:.1f}",
            fontsize=8,
        )
    return figure


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


def draw_measurements(
    image: np.ndarray,
    masks: PackedMasks,
    view: str | None,
    spacing_mm: tuple[float, float] | None = None,
) -> Figure:
    """The lines that `measure.measure` measures, over the image, with their values beside it.

    Parameters
    ----------
    image : (H, W) float array in 0..1
    masks, view, spacing_mm : as for `measure.measure`
    """
    figure = new_figure(8.6, 5.6)
    axis, beside = figure.subplots(1, 2, width_ratios=(3, 1))
    height, width = image.shape
    axis.imshow(as_bytes(image), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    line = spine_line(masks) if view == "frontal" else None
    if line is not None:
        rows = np.array([0, height])
        edge = [withStroke(linewidth=3, foreground="#202020")]  # a spine is as white as the line
        style = {"color": "#ffffff", "linewidth": 1.4, "linestyle": ":", "path_effects": edge}
        axis.plot(np.polyval(line, rows), rows, **style)
        beside.plot([], [], label="middle of the spine", **style)
    for name, (start, end) in find_lines(masks, view).items():
        columns, rows = zip(start[::-1], end[::-1], strict=True)
        color = _LINE_COLORS[name]
        axis.plot(
            columns, rows, color=color, linewidth=1.6, marker="|" if name.endswith("width") else "_"
        )
        beside.plot([], [], color=color, label=name.replace("_", " "))
    axis.set(xlim=(0, width), ylim=(height, 0), xlabel="column (px)", ylabel="row (px)")
    text = format_measurements(measure(masks, view, spacing_mm)) or ["nothing to measure"]
    beside.text(
        0, 0.98, "\n".join(text), fontsize=9, va="top", transform=beside.transAxes, linespacing=1.5
    )
    if beside.lines:
        beside.legend(loc="lower left", frameon=False, fontsize=8)
    beside.set_axis_off()
    return figure
