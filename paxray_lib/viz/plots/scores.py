"""Figures of an evaluation: scores and their spread, calibration, and what two models differ in."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paxray_lib.viz.plots.style import (
    BLUE,
    GROUP_COLORS,
    ORANGE,
    as_words,
    new_figure,
    open_frame,
    score_title,
)

_MODEL_COLORS = (BLUE, "#b9c4cc", ORANGE)
_VIEW_COLORS = {"frontal": BLUE, "lateral": ORANGE, "unknown": "#999999"}
_VIEW_MARKERS = {"frontal": "o", "lateral": "^", "unknown": "s"}
_HISTOGRAM_EDGES = np.linspace(0, 1, 26).tolist()


def plot_groups(summaries: Mapping[str, Mapping], score: str = "iou_present") -> Figure:
    """Plot one score of each group of labels and overall: one bar per model.

    A line spans the 95 % interval.

    Parameters
    ----------
    summaries : mapping of a model's name to its `Evaluation.summary`
    score : str
        A score of the summary, such as "iou_present" or "dice_published".
    """
    groups = ["overall", *next(iter(summaries.values()))["groups"]]
    figure = new_figure(10.0, 3.4)
    axis = figure.subplots()
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
    axis.set_xticks(range(len(groups)), [as_words(group) for group in groups], rotation=20)
    axis.set(ylabel=f"{score_title(score)}, 0 to 1", ylim=(0, 1.08))
    axis.legend(frameon=False, ncols=len(summaries), loc="upper right")
    open_frame(axis)
    return figure


def plot_score_distribution(scores: pd.DataFrame, score: str = "iou_present") -> Figure:
    """Plot a histogram of one score per image, the views in different colours.

    Parameters
    ----------
    scores : DataFrame
        From `Evaluation.scores_by_image`.
    score : str
        A column of it.
    """
    figure = new_figure(7.0, 3.0)
    axis = figure.subplots()
    views = [view for view in _VIEW_COLORS if view in set(scores["view"])]
    axis.hist(
        [scores.loc[scores["view"] == view, score].dropna() for view in views],
        bins=_HISTOGRAM_EDGES,
        label=views,
        color=[_VIEW_COLORS[view] for view in views],
        stacked=True,
    )
    axis.set(xlabel=f"mean {score_title(score)} of an image, 0 to 1", ylabel="images", xlim=(0, 1))
    axis.legend(frameon=False)
    open_frame(axis)
    return figure


def plot_group_distribution(scores: pd.DataFrame, ylabel: str) -> Figure:
    """Plot one box per group of labels and view, and one dot per image.

    Parameters
    ----------
    scores : DataFrame
        From `Evaluation.scores_by_group`: view, group, and the score in its last column.
    ylabel : str
        What the score is, with its range.
    """
    figure = new_figure(10.0, 3.6)
    axis, score = figure.subplots(), scores.columns[-1]
    groups, rng = list(dict.fromkeys(scores["group"])), np.random.default_rng(0)
    views = [view for view in _VIEW_MARKERS if view in set(scores["view"])]
    step = 0.8 / max(2, len(views))
    for (k, group), (n, view) in itertools.product(enumerate(groups), enumerate(views)):
        middle = k + (n - (len(views) - 1) / 2) * step
        chosen = (scores["group"] == group) & (scores["view"] == view)
        values = scores.loc[chosen, score].dropna().to_numpy()
        gray = {"color": "#777777"}
        axis.boxplot(
            [values],
            positions=[middle],
            widths=0.85 * step,
            showfliers=False,
            medianprops={"color": "k"},
            boxprops=gray,
            whiskerprops=gray,
            capprops=gray,
        )
        # apart, so that each dot can be seen
        places = middle + step * rng.uniform(-0.28, 0.28, len(values))
        marker, color = _VIEW_MARKERS[view], GROUP_COLORS[group]
        axis.scatter(places, values, s=9, alpha=0.55, marker=marker, color=color)
    axis.set_xticks(range(len(groups)), [as_words(group) for group in groups], rotation=20)
    axis.set(ylabel=ylabel, ylim=(-0.02, 1.02), xlim=(-0.6, len(groups) - 0.4))
    dots = [_dot(view, marker=_VIEW_MARKERS[view]) for view in views]
    axis.legend(handles=dots, loc="lower right", frameon=False, ncols=len(dots), fontsize=8)
    open_frame(axis)
    return figure


def plot_reliability(table: pd.DataFrame) -> Figure:
    """Plot how far probabilities can be trusted.

    Left: the share of pixels that have a label over the probability it was given. Right: the
    number of pixels of each probability.

    Parameters
    ----------
    table : DataFrame
        From `metrics.calibration.reliability_table`.
    """
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=1, zorder=3)
    for group, rows in table.groupby("group", sort=False):
        known = rows.dropna()
        style: dict[str, Any] = {"color": GROUP_COLORS.get(group), "label": as_words(group)}
        if group == "overall":
            style = {"color": "#000000", "linewidth": 2.4, "label": "all labels"}
            right.bar((rows["bin"] + 0.5) / len(rows), rows["pixels"], 0.9 / len(rows), color=BLUE)
        left.plot(known["probability"], known["fraction"], ".-", **{"linewidth": 1.1, **style})
    left.set_xlabel("predicted probability (mean of the bin)")
    left.set_ylabel("pixels with the label (fraction)")
    left.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    right.set(xlabel="predicted probability", ylabel="pixels and labels looked at")
    right.set(xlim=(0, 1), yscale="log")
    open_frame(left, right)
    return figure


def plot_differences(table: pd.DataFrame, xlabel: str) -> Figure:
    """Plot one line per row: the difference of two evaluations and its 95 % interval.

    Dots of intervals that leave out zero are filled.

    Parameters
    ----------
    table : DataFrame
        Rows of `evaluation.compare.compare_evaluations`, for instance without the single labels.
    xlabel : str
        What the difference is of, and which evaluation is taken from which.
    """
    figure = new_figure(7.0, 0.28 * len(table) + 1.1)
    axis, rows = figure.subplots(), np.arange(len(table))
    axis.axvline(0, color="#bbbbbb", linewidth=1)
    axis.hlines(rows, table["low"], table["high"], color="#777777", linewidth=1.4)
    is_clear = (table["low"] > 0) | (table["high"] < 0)
    colors = np.where(table["difference"] >= 0, BLUE, ORANGE)
    fill = np.where(is_clear, colors, "white")
    axis.scatter(table["difference"], rows, s=30, zorder=3, edgecolors=colors.tolist(), c=fill)
    axis.set_yticks(rows, [as_words(name) for name in table["name"]])
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    dots = [
        _dot("interval without zero"),
        _dot("interval with zero, or none", markerfacecolor="white"),
    ]
    axis.legend(
        handles=dots,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        frameon=False,
        ncols=2,
        fontsize=8,
    )
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _dot(name: str, *, marker: str = "o", markerfacecolor: str = "#555555") -> Line2D:
    """Return a legend's handle for a marker, whatever the colours that it has in the figure."""
    return Line2D(
        [],
        [],
        linestyle="",
        color="#555555",
        label=name,
        marker=marker,
        markerfacecolor=markerfacecolor,
    )
