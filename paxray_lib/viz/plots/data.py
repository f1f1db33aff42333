"""Figures of what a data set holds: numbers per label, positions, overlaps, unusual images."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paxray_lib.images import read_image
from paxray_lib.labels import LabelSet
from paxray_lib.viz.plots import style


def plot_by_label(
    values: Mapping[str, Sequence[float]], labels: LabelSet, xlabel: str, columns: int = 3
) -> Figure:
    """Plot one row per label, in a few columns, with one marker per series.

    Parameters
    ----------
    values : mapping of a series' name to (L,) numbers; NaN is left out
    labels : LabelSet
    xlabel : what the numbers are, with the unit
    columns : number of columns that the rows are spread over
    """
    height = -(-len(labels) // columns)
    figure, *axes = style.open_axes(4.0 * columns, 0.2 * height + 1.3, columns)
    top = np.nanmax([np.nanmax(series) for series in values.values()])
    for k, axis in enumerate(axes):
        indices = range(len(labels))[k * height : (k + 1) * height]
        rows = np.arange(len(indices))
        colors = [style.GROUP_COLORS[labels.group[i]] for i in indices]
        line = {"transform": axis.get_yaxis_transform(), "linewidth": 0.8}
        axis.hlines(rows, 0, 1, colors="#eeeeee", **line)
        for marker, (name, series) in zip("os^D", values.items(), strict=False):
            dots = {"c": colors if marker == "o" else "none", "edgecolors": colors}
            shown = np.asarray(series)[indices.start : indices.stop]
            axis.scatter(shown, rows, s=16, marker=marker, label=name, **dots)
        axis.set_yticks(rows, [f"{labels.names[i]} ({i})" for i in indices], fontsize=8)
        for tick, color in zip(axis.get_yticklabels(), colors, strict=True):
            tick.set_color(color)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        limits = {"xlim": (-0.03 * top, 1.03 * top), "ylim": (len(indices) - 0.4, -0.6)}
        axis.set(xlabel=xlabel, **limits)
    if len(values) > 1:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def plot_mean_masks(
    means: Mapping[str, np.ndarray], labels: LabelSet, names: Sequence[str]
) -> Figure:
    """Show where labels lie on average, in percent of the images: one row per view.

    `means` has for each view a (L, size, size) float array in 0..1.
    """
    rows = [
        [(f"{name}, {view}", 100 * mean[labels.index(name)[0]]) for name in names]
        for view, mean in means.items()
    ]
    size = {"width": 2.2 * len(names) + 0.6, "height": 2.3 * len(means)}
    figure = style.show_images(rows, **size, fontsize=9, cmap="magma", vmax=100)
    figure.colorbar(figure.axes[0].images[0], ax=figure.axes, label="images (%)", shrink=0.8)
    return figure


def plot_positions(
    tables: Mapping[str, pd.DataFrame], means: Mapping[str, np.ndarray], labels: LabelSet
) -> Figure:
    """Plot where the centroid of each label lies on average, with its standard deviation.

    Parameters
    ----------
    tables : mapping of view to DataFrame, from `quality.statistics.position_table`
    means : mapping of view to (L, size, size) mean masks; bones and lungs are drawn in grey behind
    labels : LabelSet
    """
    figure = style.new_figure(5.2 * len(tables), 6.3)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for axis, (view, table) in zip(axes, tables.items(), strict=True):
        landmarks = means[view][np.isin(labels.group, ("bones", "lungs"))].max(axis=0, initial=0)
        axis.imshow(landmarks, cmap="Greys", vmin=0, vmax=3, extent=(0, 100, 100, 0))
        for group, rows in table[table["images"] > 0].groupby("group", sort=False):
            dots = {"fmt": "o", "markersize": 3, "elinewidth": 0.4}
            dots |= {"color": style.GROUP_COLORS[group], "label": style.as_words(group)}
            axis.errorbar(rows["column"], rows["row"], rows["row_sd"], rows["column_sd"], **dots)
        axis.set(title=view, xlim=(0, 100), ylim=(100, 0))
        axis.set_xlabel("column of the centroid (% of the width)")
        axis.set_ylabel("row of the centroid (% of the height)")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5, **style.SMALL_LEGEND)
    return figure


def plot_overlaps(matrices: Mapping[str, np.ndarray], labels: LabelSet) -> Figure:
    """Show how much of each label (row) also bears each other label (column), in percent.

    Lines separate the groups. Rows of labels that do not occur stay white. `matrices` has for
    each view the (L, L) array of `quality.statistics.overlap_matrix`.
    """
    inner = [i for i in range(1, len(labels)) if labels.group[i] != labels.group[i - 1]]
    spans = itertools.pairwise([0, *inner, len(labels)])
    # smaller groups have no room for a name
    named = [(start, end) for start, end in spans if end - start >= 5]
    ticks = [(start + end - 1) / 2 for start, end in named]
    texts = [f"{labels.group[start]} {start} to {end - 1}" for start, end in named]
    figure = style.new_figure(5.6 * len(matrices) + 0.8, 5.6)
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (view, matrix) in zip(axes, matrices.items(), strict=True):
        shown = axis.imshow(matrix, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
        axis.set_xticks(ticks, texts, rotation=90, fontsize=7)
        axis.set_yticks(ticks, texts, fontsize=7)
        for start in inner:
            axis.axhline(start - 0.5, color="white", linewidth=0.5)
            axis.axvline(start - 0.5, color="white", linewidth=0.5)
        axis.set(title=view, xlabel="... also bear this label (by index)")
        axis.set_ylabel("pixels of this label ... (by index)")
    figure.colorbar(shown, ax=axes, label="pixels (%)", shrink=0.8)
    return figure


def plot_tree_check(table: pd.DataFrame) -> Figure:
    """Plot each child of the label tree against its parent, from `label_audit.tree_table`.

    Left: in how many images each occurs. Right: how much of the child lies outside.
    """
    figure, left, right = style.open_axes(9.0, 3.8, 2)
    wrong = table["images"] > table["parent_images"]
    top = 1.05 * table[["images", "parent_images"]].to_numpy().max(initial=1)
    left.plot([0, top], [0, top], color="#999999", linewidth=0.8)
    kinds = ((~wrong, style.BLUE, "possible"), (wrong, style.RED, "contradicts the tree"))
    for chosen, color, name in kinds:
        dots = table.loc[chosen, "parent_images"], table.loc[chosen, "images"]
        left.scatter(*dots, s=14, color=color, label=f"{name} ({chosen.sum()})")
    left.set(xlabel="images with the parent", ylabel="images with the child")
    left.set(xlim=(0, top), ylim=(0, top))
    left.legend(loc="upper left", **style.SMALL_LEGEND)
    outside = np.sort(table["outside_percent"].dropna())[::-1]
    right.plot(np.arange(1, len(outside) + 1), outside, "o", markersize=3, color=style.BLUE)
    right.axhline(20, color=style.RED, linewidth=0.8)  # more is suspicious; chosen by eye
    right.set(xlabel="child and parent, by rank", ylabel="pixels of the child outside (%)")
    right.set(ylim=(-2, 102))
    return figure


def plot_unusual(root: str | Path, table: pd.DataFrame, count: int = 8) -> Figure:
    """Show the most unusual images with what is unusual about them.

    `root` is the folder of the data set, `table` that of `quality.statistics.unusual_table`, of
    which the first `count` rows are shown.
    """
    tiles = []
    for row in table.head(count).itertuples():
        numbers = f"{row.feature} {row.value:.2f}\nusual {row.usual:.2f}, z {row.z:.1f}"
        pixels = read_image(Path(root, row.image)).pixels
        tiles.append((f"{Path(row.image).name}\n{numbers}", style.as_bytes(pixels)))
    return style.tile_images(tiles, height=3.5)
