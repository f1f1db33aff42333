"""Figures of pages, as SVG: members differ by colour, marker and line, so that grey will do too."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paxray_lib.viz.plots.style import open_axes, score_title

COLORS = ("#0b62b0", "#d1600a", "#1a7f45", "#a4378f", "#5d6874", "#b08d00", "#b3261e", "#1aa6b7")
MARKERS, LINES = "osD^vP*X", ("-", "--", "-.", ":")


def plot_curves(metrics: Mapping[str, pd.DataFrame]) -> bytes | None:
    """Plot training loss and validation score by epoch; None if nothing was trained yet.

    `metrics` holds by member the table of metrics.csv, empty without one.
    """
    if all(table.empty for table in metrics.values()):
        return None
    figure, left, right = open_axes(9.0, 3.4, 2)
    for number, (name, table) in enumerate(metrics.items()):
        if not table.empty:
            style = _style(number)
            left.plot(table["epoch"], table["train_loss"], **{**style, "marker": None})
            scores = table[["epoch", "val_iou_present"]].dropna()
            right.plot(scores["epoch"], scores["val_iou_present"], **style, label=name)
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    right.set(xlabel="epoch", ylabel="validation IoU (present), 0 to 1", ylim=(0, 1))
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, len(metrics) if len(metrics) > 1 else 0, left, right)


def plot_parts(table: pd.DataFrame, members: Sequence[str], score: str = "iou_present") -> bytes:
    """Plot one score of all members for the whole, each view and each group, with its interval.

    `table` is that of `score_table`; `members` names all in order, also those without scores.
    """
    rows = table[table["score"] == score]
    parts, names = rows["part"].unique().tolist(), rows["member"].unique().tolist()
    figure, axis = open_axes(9.0, 0.3 * len(parts) + 0.075 * len(rows) + 1.0)
    for number, name in enumerate(names):
        member = rows[rows["member"] == name].set_index("part").reindex(parts)
        style = _style(members.index(name))  # as in the other figures
        heights = np.arange(len(parts)) + (number - (len(names) - 1) / 2) * 0.7 / len(names)
        axis.hlines(heights, member["low"], member["high"], color=style["color"], linewidth=1.4)
        axis.plot(member["value"], heights, **{**style, "linestyle": "none"}, label=name)
    axis.set_yticks(range(len(parts)), [part.replace("_", " ") for part in parts])
    axis.set(xlabel=f"{score_title(score)}, 0 to 1", xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    return _svg(figure, len(names), axis)


def plot_fractions(points: pd.DataFrame) -> bytes:
    """Plot mean IoU by number of training images, both conventions, and published figures.

    Columns of `points`: train_images, member; for each of iou_present and iou_published NAME,
    NAME_low, NAME_high; and paper, the published mean IoU in percent, or NaN.
    """
    figure, axis = open_axes(6.4, 3.8)
    points = points.sort_values("train_images")
    images, paper = points["train_images"], points.dropna(subset=["paper"])
    for number, score in enumerate(("iou_present", "iou_published")):
        style = _style(number)
        value, low, high = (100 * points[f"{score}{end}"] for end in ("", "_low", "_high"))
        axis.vlines(images, low, high, color=style["color"], linewidth=1.4)
        axis.plot(images, value, **style, label=f"{score_title(score)}, this sweep")
        offset = (6, 5) if number == 0 else (6, -12)  # the two conventions can lie close together
        text: dict[str, Any] = {"fontsize": 8, "color": style["color"]}
        for x, y in zip(images, value, strict=True):
            axis.annotate(f"{y:.1f}", (x, y), offset, textcoords="offset points", **text)
    if len(paper):
        label = "IoU (published), as published by Seibold et al. 2022"
        cross: dict[str, Any] = {"marker": "x", "color": "black", "markersize": 8}
        axis.plot(paper["train_images"], paper["paper"], linestyle="none", label=label, **cross)
    axis.set_xscale("log", base=2)
    axis.set_xticks(images, [str(number) for number in images])
    axis.minorticks_off()
    axis.margins(x=0.12)
    axis.set(xlabel="training images", ylabel="mean IoU on the test images (%)", ylim=(0, 100))
    return _svg(figure, 1 if len(paper) else 2, axis)


def _style(number: int) -> dict[str, Any]:
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 4.5,
        "linewidth": 1.4,
    }


def _svg(figure: Figure, columns: int, *axes: Axes) -> bytes:
    """Return a figure as SVG, with a legend of at most 4 columns if there are any."""
    if columns:
        figure.legend(loc="outside lower center", ncols=min(4, columns), frameon=False)
    for axis in axes:
        axis.grid(color="#e6e6e6", linewidth=0.7)
        axis.set_axisbelow(True)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "paxray"}):  # the same figure gives the same bytes
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()
