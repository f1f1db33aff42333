"""Figures of an evaluation: how scores are distributed, whether probabilities can be trusted, and
what differs.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paxray_lib.measurement.tables import agreement
from paxray_lib.viz.plots.samples import _title
from paxray_lib.viz.plots.style import GROUP_COLORS, new_figure


def plot_groups(summaries: Mapping[str, Mapping], score: str = "iou_present") -> Figure:
    """One score for each group of labels and overall, one bar a model, with its 95 % interval as a
    line.

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
        axis.bar(
            places, values, width * 0.92, label=name, color=("#2f7ebc", "#b9c4cc", "#e0672a")[k % 3]
        )
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


def plot_score_distribution(scores: pd.DataFrame, score: str = "iou_present") -> Figure:
    """Histogram of one score by image, the views apart, from `Evaluation.scores_by_image`."""
    figure = new_figure(7.0, 3.0)
    axis = figure.subplots()
    colors = {"frontal": "#2f7ebc", "lateral": "#e0672a", "unknown": "#999999"}
    views = [view for view in colors if view in set(scores["view"])]
    values = [scores.loc[scores["view"] == view, score].dropna() for view in views]
    axis.hist(
        values,
        bins=np.linspace(0, 1, 26),
        label=views,
        color=[colors[view] for view in views],
        stacked=True,
    )
    axis.set(xlabel=f"mean {_title(score)} of an image, 0 to 1", ylabel="images", xlim=(0, 1))
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


_BLUE, _ORANGE = "#2f7ebc", "#e0672a"
_MARKERS = {"frontal": "o", "lateral": "^", "unknown": "s"}


def plot_group_distribution(scores: pd.DataFrame, ylabel: str) -> Figure:
    """One box a group of labels, and one dot an image, the views beside each other.

    Parameters
    ----------
    scores : DataFrame
        From `Evaluation.scores_by_group`: view, group, and the score in its last column.
    ylabel : what the score is, with its range
    """
    figure = new_figure(10.0, 3.6)
    axis, column = figure.subplots(), scores.columns[-1]
    groups, rng = list(dict.fromkeys(scores["group"])), np.random.default_rng(0)
    views = [view for view in _MARKERS if view in set(scores["view"])]
    step = 0.8 / max(2, len(views))
    for k, group in enumerate(groups):
        for place, view in enumerate(views):
            side = (place - (len(views) - 1) / 2) * step
            chosen = (scores["group"] == group) & (scores["view"] == view)
            values = scores.loc[chosen, column].dropna().to_numpy()
            box = axis.boxplot(
                [values],
                positions=[k + side],
                widths=0.85 * step,
                showfliers=False,
                medianprops={"color": "k"},
            )
            for line in box["boxes"] + box["whiskers"] + box["caps"]:
                line.set_color("#777777")
            # apart, so that each dot can be seen
            places = k + side + step * rng.uniform(-0.28, 0.28, len(values))
            axis.scatter(
                places, values, s=9, alpha=0.55, marker=_MARKERS[view], color=GROUP_COLORS[group]
            )
    axis.set_xticks(range(len(groups)), [group.replace("_", " ") for group in groups], rotation=20)
    axis.set(ylabel=ylabel, ylim=(-0.02, 1.02), xlim=(-0.6, len(groups) - 0.4))
    axis.spines[["top", "right"]].set_visible(False)
    _legend(
        axis,
        {view: {"marker": _MARKERS[view], "color": "#555555"} for view in views},
        "lower right",
    )
    return figure


def _legend(axis: Axes, styles: Mapping[str, Mapping], loc: str, **options) -> None:
    """Name markers, whatever the colours that they have in the figure."""
    dots = [Line2D([], [], linestyle="", label=name, **style) for name, style in styles.items()]
    axis.legend(handles=dots, loc=loc, frameon=False, ncols=len(dots), fontsize=8, **options)


def plot_reliability(table: pd.DataFrame) -> Figure:
    """Left: the share of pixels that have a label over the probability it was given. Right: how
    many pixels that were.

    Parameters
    ----------
    table : DataFrame
        From `reliability.reliability_table`.
    """
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=1, zorder=3)
    for group, rows in table.groupby("group", sort=False):
        whole = group == "overall"
        color, width = ("#000000", 2.4) if whole else (GROUP_COLORS[group], 1.1)
        name = "all labels" if whole else group.replace("_", " ")
        known = rows.dropna()
        left.plot(
            known["probability"], known["fraction"], ".-", color=color, linewidth=width, label=name
        )
        if whole:
            right.bar((rows["bin"] + 0.5) / len(rows), rows["pixels"], 0.9 / len(rows), color=_BLUE)
    left.set(
        xlabel="predicted probability (mean of the bin)", ylabel="pixels with the label (fraction)"
    )
    left.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    right.set(
        xlabel="predicted probability",
        ylabel="pixels and labels looked at",
        yscale="log",
        xlim=(0, 1),
    )
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_differences(table: pd.DataFrame, xlabel: str) -> Figure:
    """One line a row: the difference of two evaluations and its 95 % interval; what contains no
    zero is filled.

    Parameters
    ----------
    table : DataFrame
        Rows of `compare.compare_evaluations`, for instance without those of the single labels.
    xlabel : what the difference is of, and which evaluation is taken from which
    """
    figure = new_figure(7.0, 0.28 * len(table) + 1.1)
    axis, places = figure.subplots(), np.arange(len(table))
    axis.axvline(0, color="#bbbbbb", linewidth=1)
    axis.hlines(places, table["low"], table["high"], color="#777777", linewidth=1.4)
    clear = ((table["low"] > 0) | (table["high"] < 0)).to_numpy()
    colors = np.where(table["difference"] >= 0, _BLUE, _ORANGE)
    axis.scatter(
        table["difference"],
        places,
        s=30,
        zorder=3,
        edgecolors=colors,
        c=np.where(clear, colors, "white"),
    )
    axis.set_yticks(places, [name.replace("_", " ") for name in table["name"]])
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    dot = {"marker": "o", "color": "#555555"}
    styles = {
        "interval without zero": dot,
        "interval with zero, or none": {**dot, "markerfacecolor": "white"},
    }
    _legend(axis, styles, "lower center", bbox_to_anchor=(0.5, 1))
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def plot_agreement(pairs: pd.DataFrame, name: str) -> Figure:
    """A measurement in predicted masks over the same in the reference masks: one dot an image, a
    line where both agree.

    Parameters
    ----------
    pairs : DataFrame
        From `measure.ctr_pairs`: true, predicted, error.
    name : what was measured, with its unit if it has one
    """
    figure = new_figure(4.6, 4.4)
    axis, known = figure.subplots(), pairs.dropna()
    values = known[["true", "predicted"]].to_numpy()
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    ends = [low - 0.05 * (high - low) - 0.01, high + 0.05 * (high - low) + 0.01]
    axis.plot(ends, ends, color="#555555", linestyle="--", linewidth=1)
    axis.scatter(known["true"], known["predicted"], s=18, color=_BLUE, alpha=0.7)
    axis.set(
        xlim=ends,
        ylim=ends,
        aspect="equal",
        xlabel=f"{name}, reference masks",
        ylabel=f"{name}, predicted masks",
    )
    found = agreement(pairs)
    numbers = f"bias {found['bias']:+.3f}, mean absolute error {found['mean_absolute_error']:.3f}"
    axis.set_title(f"{found['images']} images: {numbers}", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
