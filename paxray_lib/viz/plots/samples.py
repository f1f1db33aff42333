"""Figures of the notebooks: each function takes tables or samples and returns a matplotlib
Figure.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paxray_lib.data.dataset import Sample
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import compare, render
from paxray_lib.viz.plots.style import GROUP_COLORS, as_bytes, name_colors, new_figure


def plot_samples(samples: Sequence[Sample], names: Sequence[str]) -> Figure:
    """Each sample as a column: the image, and below it the labels that `names` select (see
    `LabelSet.select`), with a legend if they are few."""
    figure = new_figure(2.9 * len(samples), 6.0)
    axes = figure.subplots(2, len(samples), squeeze=False)
    for column, sample in zip(axes.T, samples, strict=True):
        pixels, indices = as_bytes(sample.image), sample.masks.labels.select(*names)
        column[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
        column[1].imshow(render(pixels, sample.masks, indices))
        column[0].set_title(sample.name, fontsize=10)
        for axis in column:
            axis.set_axis_off()
    name_colors(figure, [sample.masks for sample in samples], names)
    return figure


def _title(score: str) -> str:
    """Return "IoU (present)" for "iou_present"."""
    name, convention = score.split("_")
    return f"{name.replace('iou', 'IoU').replace('dice', 'Dice')} ({convention})"


def plot_by_label(
    values: Mapping[str, Sequence[float]], labels: LabelSet, xlabel: str, columns: int = 3
) -> Figure:
    """All labels as rows in a few columns, one marker a series; for numbers of images, areas or
    scores.

    Parameters
    ----------
    values : mapping of a series' name to (L,) numbers; NaN is left out
    labels : LabelSet
    xlabel : str
        What the numbers are, with the unit.
    """
    rows = -(-len(labels) // columns)
    figure = new_figure(4.0 * columns, 0.2 * rows + 1.3)
    top = np.nanmax([np.nanmax(series) for series in values.values()])
    for k, axis in enumerate(np.atleast_1d(figure.subplots(1, columns, sharex=True))):
        part = range(k * rows, min((k + 1) * rows, len(labels)))
        _label_rows(axis, part, labels, values)
        axis.set_xlim(-0.03 * top, 1.03 * top)
        axis.set_xlabel(xlabel)
    if len(values) > 1:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def _label_rows(axis, part: range, labels: LabelSet, values: Mapping[str, Sequence[float]]) -> None:
    places = np.arange(len(part))
    axis.hlines(places, 0, 1, colors="#eeeeee", transform=axis.get_yaxis_transform(), linewidth=0.8)
    for marker, (name, series) in zip("os^D", values.items(), strict=False):
        colors = [GROUP_COLORS[labels.group[i]] for i in part]
        fill = colors if marker == "o" else "none"
        shown = np.asarray(series)[part.start : part.stop]
        axis.scatter(shown, places, s=16, c=fill, marker=marker, label=name, edgecolors=colors)
    axis.set_yticks(places, [f"{labels.names[i]} ({i})" for i in part], fontsize=8)
    for tick, i in zip(axis.get_yticklabels(), part, strict=True):
        tick.set_color(GROUP_COLORS[labels.group[i]])
    axis.set_ylim(len(part) - 0.4, -0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def plot_mean_masks(
    means: Mapping[str, np.ndarray], labels: LabelSet, names: Sequence[str]
) -> Figure:
    """Where labels lie on average: for each view a row of (size, size) maps in percent of the
    images.

    Parameters
    ----------
    means : mapping of view to (L, size, size) float array in 0..1
    """
    figure = new_figure(2.2 * len(names) + 0.6, 2.3 * len(means))
    axes = figure.subplots(len(means), len(names), squeeze=False)
    for row, (view, mean) in zip(axes, means.items(), strict=True):
        for axis, name in zip(row, names, strict=True):
            shown = axis.imshow(100 * mean[labels.index(name)[0]], cmap="magma", vmin=0, vmax=100)
            axis.set_title(f"{name}, {view}", fontsize=9)
            axis.set_axis_off()
    figure.colorbar(shown, ax=axes, label="images (%)", shrink=0.8)
    return figure


def plot_comparison(
    samples: Sequence[Sample], predictions: Sequence[PackedMasks], names: Sequence[str]
) -> Figure:
    """Each sample as a row: the image, ground truth, prediction, and their difference for the
    labels of `names`.
    """
    titles = ("image", "ground truth", "prediction", "difference")
    figure = new_figure(11.0, 2.9 * len(samples) + 0.4)
    axes = figure.subplots(len(samples), len(titles), squeeze=False)
    for row, sample, prediction in zip(axes, samples, predictions, strict=True):
        pixels, indices = as_bytes(sample.image), sample.masks.labels.select(*names)
        row[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
        for axis, mode in zip(row[1:], ("target", "prediction", "difference"), strict=True):
            axis.imshow(compare(pixels, sample.masks, prediction, indices, mode=mode))
        row[0].set_title(sample.name, fontsize=10)
        for axis in row:
            axis.set_axis_off()
    for axis, title in zip(axes[0][1:], titles[1:], strict=True):
        axis.set_title(title, fontsize=10)
    _difference_legend(figure)
    return figure


def _difference_legend(figure: Figure) -> None:
    from paxray_lib.viz.overlay import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE

    kinds = {"in both": TRUE_POSITIVE, "predicted only": FALSE_POSITIVE, "missed": FALSE_NEGATIVE}
    patches = [Patch(color=np.array(color) / 255, label=name) for name, color in kinds.items()]
    figure.legend(
        handles=patches, loc="outside lower right", ncols=3, frameon=False, title="difference"
    )


def plot_predictions(
    images: Sequence[np.ndarray],
    predictions: Sequence[PackedMasks],
    titles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Images of any size with the predicted labels that `names` select, side by side, with a legend
    if they are few.
    """
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(2.9 * columns, 3.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, pixels, masks, title in zip(axes, images, predictions, titles, strict=False):
        axis.imshow(render(as_bytes(pixels), masks, masks.labels.select(*names)))
        axis.set_title(title, fontsize=8)
    name_colors(figure, predictions, names)
    return figure
