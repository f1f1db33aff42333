"""Figures of the notebooks: each function takes tables or samples and returns a matplotlib Figure."""

import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paxray_lib.dataset import Sample
from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.overlay import compare, render

GROUP_COLORS = {
    "lungs": "#2f7ebc",
    "mediastinum": "#8b5fc7",
    "heart": "#c8323f",
    "airways": "#1aa6b7",
    "esophagus": "#a8790b",
    "great_vessels": "#e0672a",
    "bones": "#6b6b6b",
    "vertebrae": "#b08d57",
    "ribs": "#4d9160",
    "diaphragms": "#7aa32b",
    "other": "#999999",
}
"""One colour a group, dark enough for text on white."""
MOST_NAMED = 12  # colours of more labels than these cannot be told apart


class _NotebookFigure(Figure):
    """A figure that a notebook shows without pyplot, whose state and backend it does not need."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, for a notebook to show."""
    return _NotebookFigure(figsize=(width, height), dpi=80, layout="constrained")


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8 from float pixels in 0..1."""
    return np.round(pixels * 255).astype(np.uint8)


def name_colors(figure: Figure, stacks: Iterable[PackedMasks], names: Sequence[str], axis: Axes | None = None) -> None:
    """Add a legend of the labels that `names` select and that some of the stacks have, below a figure or one axis.

    More than `MOST_NAMED` get none.
    """
    colors = {}
    for masks in stacks:
        occurs = masks.counts() > 0
        chosen = [i for i in masks.labels.select(*names) if occurs[i]]
        colors |= {masks.labels.names[i].replace("_", " "): masks.labels.colors[i] / 255 for i in chosen}
    if not 0 < len(colors) <= MOST_NAMED:
        return
    patches = [Patch(color=color, label=name) for name, color in colors.items()]
    if axis is None:
        columns = min(len(patches), max(1, int(figure.get_figwidth() / 1.7)))
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    else:
        axis.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=8)


def plot_samples(samples: Sequence[Sample], names: Sequence[str]) -> Figure:
    """Each sample as a column: the image, and below it the labels that `names` select (see `LabelSet.select`), with a
    legend if they are few."""
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


def plot_by_label(values: Mapping[str, Sequence[float]], labels: LabelSet, xlabel: str, columns: int = 3) -> Figure:
    """All labels as rows in a few columns, one marker a series; for numbers of images, areas or scores.

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


def plot_mean_masks(means: Mapping[str, np.ndarray], labels: LabelSet, names: Sequence[str]) -> Figure:
    """Where labels lie on average: for each view a row of (size, size) maps in percent of the images.

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


def plot_training(metrics: pd.DataFrame) -> Figure:
    """Loss and validation scores of a run, from its `metrics.csv`."""
    figure = new_figure(10.0, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot(metrics["epoch"], metrics["train_loss"], color="#333333")
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    styles = {"iou_present": "-", "dice_present": "--", "iou_published": ":"}
    for name, style in styles.items():
        scores = metrics[["epoch", f"val_{name}"]].dropna()
        right.plot(scores["epoch"], scores[f"val_{name}"], style, color="#2f7ebc", label=_title(name))
    right.set(xlabel="epoch", ylabel="validation score (0 to 1)", ylim=(0, 1))
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#eeeeee")
    return figure


def plot_groups(summaries: Mapping[str, Mapping], score: str = "iou_present") -> Figure:
    """One score for each group of labels and overall, one bar a model, with its 95 % interval as a line.

    Parameters
    ----------
    summaries : mapping of a model's name to its `Evaluation.summary`
    """
    first = next(iter(summaries.values()))
    groups = ["overall", *first["groups"]]
    figure = new_figure(10.0, 3.4)
    axis = figure.subplots()
    width = 0.8 / len(summaries)
    for k, (name, summary) in enumerate(summaries.items()):
        values = [_score(summary, group, score) for group in groups]
        places = np.arange(len(groups)) + (k - (len(summaries) - 1) / 2) * width
        ends = np.array([_ends(summary, group, score) for group in groups]).T  # (2, groups)
        axis.bar(places, values, width * 0.92, label=name, color=("#2f7ebc", "#b9c4cc", "#e0672a")[k % 3])
        axis.vlines(places, *ends, color="#333333", linewidth=1)
        for place, value, top in zip(places, values, np.fmax(values, ends[1]), strict=True):
            axis.text(place, top + 0.015, f"{value:.2f}", fontsize=7, ha="center")
    axis.set_xticks(range(len(groups)), [group.replace("_", " ") for group in groups], rotation=20)
    axis.set(ylabel=f"{_title(score)}, 0 to 1", ylim=(0, 1.08))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=len(summaries), loc="upper right")
    return figure


def _score(summary: Mapping, group: str, score: str) -> float:
    value = _scores(summary, group)[score]
    return np.nan if value is None else value


def _ends(summary: Mapping, group: str, score: str) -> list[float]:
    return [np.nan if end is None else end for end in _scores(summary, group)[f"{score}_interval"]]


def _scores(summary: Mapping, group: str) -> Mapping:
    return summary["overall"] if group == "overall" else summary["groups"][group]


def plot_comparison(samples: Sequence[Sample], predictions: Sequence[PackedMasks], names: Sequence[str]) -> Figure:
    """Each sample as a row: the image, ground truth, prediction, and their difference for the labels of `names`."""
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
    from paxray_lib.overlay import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE

    kinds = {"in both": TRUE_POSITIVE, "predicted only": FALSE_POSITIVE, "missed": FALSE_NEGATIVE}
    patches = [Patch(color=np.array(color) / 255, label=name) for name, color in kinds.items()]
    figure.legend(handles=patches, loc="outside lower right", ncols=3, frameon=False, title="difference")


def plot_predictions(
    images: Sequence[np.ndarray], predictions: Sequence[PackedMasks], titles: Sequence[str], names: Sequence[str]
) -> Figure:
    """Images of any size with the predicted labels that `names` select, side by side, with a legend if they are few."""
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


def plot_score_distribution(scores: pd.DataFrame, score: str = "iou_present") -> Figure:
    """Histogram of one score by image, the views apart, from `Evaluation.scores_by_image`."""
    figure = new_figure(7.0, 3.0)
    axis = figure.subplots()
    colors = {"frontal": "#2f7ebc", "lateral": "#e0672a", "unknown": "#999999"}
    views = [view for view in colors if view in set(scores["view"])]
    values = [scores.loc[scores["view"] == view, score].dropna() for view in views]
    axis.hist(values, bins=np.linspace(0, 1, 26), label=views, color=[colors[view] for view in views], stacked=True)
    axis.set(xlabel=f"mean {_title(score)} of an image, 0 to 1", ylabel="images", xlim=(0, 1))
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
