"""Figures of a training and an evaluation: curves, scores, calibration, differences, agreement."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from paxray_lib.measurement.tables import agreement
from paxray_lib.viz.plots import style

_MODEL_COLORS = (style.BLUE, "#b9c4cc", style.ORANGE)
_VIEW_COLORS = {"frontal": style.BLUE, "lateral": style.ORANGE, "unknown": "#999999"}
_VIEW_MARKERS = {"frontal": "o", "lateral": "^", "unknown": "s"}
_CURVES = {"iou_present": "-", "dice_present": "--", "iou_published": ":"}


def plot_training(metrics: pd.DataFrame) -> Figure:
    """Plot loss and validation scores of a run, from its `metrics.csv`."""
    figure, left, right = style.open_axes(10.0, 3.4, 2)
    left.plot(metrics["epoch"], metrics["train_loss"], color="#333333")
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    for name, line in _CURVES.items():
        scores = metrics[["epoch", f"val_{name}"]].dropna()
        title = style.score_title(name)
        look = {"marker": ".", "color": style.BLUE, "label": title}
        right.plot("epoch", f"val_{name}", line, data=scores, **look)
    right.set(xlabel="epoch", ylabel="validation score (0 to 1)", ylim=(0, 1))
    right.legend(frameon=False)
    for axis in (left, right):
        axis.grid(color="#eeeeee")
        axis.locator_params("x", integer=True)
    return figure


def plot_groups(summaries: Mapping[str, Mapping], score: str = "iou_present") -> Figure:
    """Plot one score of each group of labels and overall: one bar per model and its interval.

    `summaries` has for each model's name its `Evaluation.summary`, `score` is one of its scores,
    such as "dice_published".
    """
    groups = ["overall", *next(iter(summaries.values()))["groups"]]
    figure, axis = style.open_axes(10.0, 3.4)
    width = 0.8 / len(summaries)
    for k, (name, summary) in enumerate(summaries.items()):
        rows = [summary["overall"], *(summary["groups"][group] for group in groups[1:])]
        # None, where a group does not occur, becomes NaN
        values = np.array([row[score] for row in rows], float)
        ends = np.array([row[f"{score}_interval"] for row in rows], float).T  # (2, groups)
        places = np.arange(len(groups)) + (k - (len(summaries) - 1) / 2) * width
        axis.bar(places, values, width * 0.92, label=name, color=_MODEL_COLORS[k % 3])
        axis.vlines(places, *ends, color="#333333", linewidth=1)
        for place, value, top in zip(places, values, np.fmax(values, ends[1]), strict=True):
            axis.text(place, top + 0.015, f"{value:.2f}", fontsize=7, ha="center")
    axis.set_xticks(range(len(groups)), [style.as_words(group) for group in groups], rotation=20)
    axis.set(ylabel=f"{style.score_title(score)}, 0 to 1", ylim=(0, 1.08))
    axis.legend(frameon=False, ncols=len(summaries), loc="upper right")
    return figure


def plot_score_distribution(scores: pd.DataFrame, score: str = "iou_present") -> Figure:
    """Plot a histogram of one score per image, the views in different colours.

    `score` is a column of `scores`, which are those of `Evaluation.scores_by_image`.
    """
    figure, axis = style.open_axes(7.0, 3.0)
    views = [view for view in _VIEW_COLORS if view in set(scores["view"])]
    values = [scores.loc[scores["view"] == view, score].dropna() for view in views]
    look = {"label": views, "color": [_VIEW_COLORS[view] for view in views]}
    axis.hist(values, bins=np.linspace(0, 1, 26).tolist(), stacked=True, **look)
    axis.set(xlabel=f"mean {style.score_title(score)} of an image, 0 to 1", ylabel="images")
    axis.set_xlim(0, 1)
    axis.legend(frameon=False)
    return figure


def plot_group_distribution(scores: pd.DataFrame, ylabel: str) -> Figure:
    """Plot one box per group of labels and view, and one dot per image.

    `scores` are those of `Evaluation.scores_by_group`, with the score in the last column; `ylabel`
    says what it is, with its range.
    """
    figure, axis = style.open_axes(10.0, 3.6)
    groups, rng = list(dict.fromkeys(scores["group"])), np.random.default_rng(0)
    views = [view for view in _VIEW_MARKERS if view in set(scores["view"])]
    step = 0.8 / max(2, len(views))
    box: dict[str, Any] = {
        f"{part}props": {"color": "#777777"} for part in ("box", "whisker", "cap")
    }
    for (k, group), (n, view) in itertools.product(enumerate(groups), enumerate(views)):
        middle = k + (n - (len(views) - 1) / 2) * step
        chosen = (scores["group"] == group) & (scores["view"] == view)
        values = scores.loc[chosen, scores.columns[-1]].dropna().to_numpy()
        box |= {"positions": [middle], "widths": 0.85 * step, "medianprops": {"color": "k"}}
        axis.boxplot([values], showfliers=False, **box)
        # apart, so that each dot can be seen
        columns = middle + step * rng.uniform(-0.28, 0.28, len(values))
        look: dict[str, Any] = {"marker": _VIEW_MARKERS[view], "color": style.GROUP_COLORS[group]}
        axis.scatter(columns, values, s=9, alpha=0.55, **look)
    axis.set_xticks(range(len(groups)), [style.as_words(group) for group in groups], rotation=20)
    axis.set(ylabel=ylabel, ylim=(-0.02, 1.02), xlim=(-0.6, len(groups) - 0.4))
    dots = [_dot(view, marker=_VIEW_MARKERS[view]) for view in views]
    axis.legend(handles=dots, loc="lower right", ncols=len(dots), **style.SMALL_LEGEND)
    return figure


def plot_reliability(table: pd.DataFrame) -> Figure:
    """Plot how far probabilities can be trusted, from `metrics.calibration.reliability_table`.

    Left: the share of pixels that have a label over the probability it was given. Right: the
    number of pixels of each probability.
    """
    figure, left, right = style.open_axes(10.0, 4.0, 2)
    left.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=1, zorder=3)
    for group, rows in table.groupby("group", sort=False):
        line: dict[str, Any] = {"color": "#000000", "linewidth": 2.4, "label": "all labels"}
        if group == "overall":
            bins, width = (rows["bin"] + 0.5) / len(rows), 0.9 / len(rows)
            right.bar(bins, rows["pixels"], width, color=style.BLUE)
        else:
            line = {"color": style.GROUP_COLORS[group], "linewidth": 1.1}
            line["label"] = style.as_words(group)
        left.plot("probability", "fraction", ".-", data=rows.dropna(), **line)
    left.set(xlabel="predicted probability (mean of the bin)")
    left.set(ylabel="pixels with the label (fraction)", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    right.set(xlabel="predicted probability", ylabel="pixels and labels looked at")
    right.set(xlim=(0, 1), yscale="log")
    right.yaxis.set_major_formatter(EngFormatter(sep=""))  # 10k, 1M; powers would need TeX
    right.yaxis.set_minor_formatter("")
    return figure


def plot_differences(table: pd.DataFrame, xlabel: str) -> Figure:
    """Plot one line per row: the difference of two evaluations and its 95 % interval.

    Dots of intervals that leave out zero are filled. `table` has rows of
    `evaluation.compare.compare_evaluations`, `xlabel` says which is taken from which.
    """
    figure, axis = style.open_axes(7.0, 0.28 * len(table) + 1.1)
    rows = np.arange(len(table))
    axis.axvline(0, color="#bbbbbb", linewidth=1)
    axis.hlines(rows, table["low"], table["high"], color="#777777", linewidth=1.4)
    is_clear = (table["low"] > 0) | (table["high"] < 0)
    colors = np.where(table["difference"] >= 0, style.BLUE, style.ORANGE)
    fill = {"c": np.where(is_clear, colors, "white"), "edgecolors": colors.tolist()}
    axis.scatter(table["difference"], rows, s=30, zorder=3, **fill)
    axis.set_yticks(rows, [style.as_words(name) for name in table["name"]])
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    hollow = _dot("interval with zero, or none", markerfacecolor="white")
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), **style.SMALL_LEGEND}
    axis.legend(handles=[_dot("interval without zero"), hollow], ncols=2, **place)
    axis.spines["left"].set_visible(False)
    return figure


def plot_agreement(pairs: pd.DataFrame, name: str) -> Figure:
    """Plot a measurement in predicted masks over the same in the reference masks.

    There is one dot per image, and a line where both agree. `pairs` is the DataFrame of
    `measurement.tables.ctr_pairs`, `name` says what was measured, with its unit if it has one.
    """
    figure, axis = style.open_axes(4.6, 4.4)
    known, found = pairs.dropna(), agreement(pairs)
    values = known[["true", "predicted"]].to_numpy()
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    margin = 0.05 * (high - low) + 0.01
    ends = (low - margin, high + margin)
    axis.plot(ends, ends, color="#555555", linestyle="--", linewidth=1)
    axis.scatter(known["true"], known["predicted"], s=18, color=style.BLUE, alpha=0.7)
    axis.set(xlim=ends, ylim=ends, aspect="equal")
    axis.set(xlabel=f"{name}, reference masks", ylabel=f"{name}, predicted masks")
    numbers = f"bias {found['bias']:+.3f}, mean absolute error {found['mean_absolute_error']:.3f}"
    axis.set_title(f"{found['images']} images: {numbers}", fontsize=10)
    return figure


def _dot(name: str, **marker: Any) -> Line2D:
    # for a legend, whatever the colours that it has in the figure
    dot = {"color": "#555555", "marker": "o", **marker}
    return Line2D([], [], linestyle="", label=name, **dot)
