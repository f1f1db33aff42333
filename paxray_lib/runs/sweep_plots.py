"""Figures of a sweep's page, as SVG: members differ by colour, marker and line, so that they do in
grey too.
"""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paxray_lib.runs.sweep_scores import Member

COLORS = ("#0b62b0", "#d1600a", "#1a7f45", "#a4378f", "#5d6874", "#b08d00", "#b3261e", "#1aa6b7")
MARKERS, LINES = "osD^vP*X", ("-", "--", "-.", ":")
TITLES = {
    "iou_present": "IoU (present)",
    "iou_published": "IoU (published)",
    "dice_present": "Dice (present)",
    "dice_published": "Dice (published)",
}


def _style(place: int) -> dict:
    return {
        "color": COLORS[place % len(COLORS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": LINES[place % len(LINES)],
        "markersize": 4.5,
        "linewidth": 1.4,
    }


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "paxray"}):  # the same figure gives the same bytes
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def _finish(*axes) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e6e6e6", linewidth=0.7)
        axis.set_axisbelow(True)


def plot_curves(members: Sequence[Member]) -> bytes | None:
    """Training loss and validation score of all members by epoch; None if there is no metrics.csv
    yet.
    """
    if all(member.metrics.empty for member in members):
        return None
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, member in enumerate(members):
        if not member.metrics.empty:
            metrics, style = member.metrics, _style(place)
            left.plot(
                metrics["epoch"],
                metrics["train_loss"],
                **{**style, "marker": None},
                label=member.name,
            )
            scores = metrics[["epoch", "val_iou_present"]].dropna()
            right.plot(scores["epoch"], scores["val_iou_present"], **style, label=member.name)
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    right.set(xlabel="epoch", ylabel="validation IoU (present), 0 to 1", ylim=(0, 1))
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(left, right)
    figure.legend(
        *right.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(members)),
        frameon=False,
    )
    return _svg(figure)


def plot_parts(members: Sequence[Member], table: pd.DataFrame, score: str = "iou_present") -> bytes:
    """One score of all members for the whole and each view and group of labels, with its interval
    as a line.
    """
    rows = table[table["score"] == score]
    parts = list(dict.fromkeys(rows["part"]))
    figure = Figure(figsize=(9.0, 0.3 * len(parts) + 0.075 * len(rows) + 1.0), layout="constrained")
    axis = figure.subplots()
    names = [member.name for member in members if member.name in set(rows["member"])]
    for place, member in enumerate(members):
        mine = rows[rows["member"] == member.name].set_index("part")
        if mine.empty:
            continue
        mine, offset = (
            mine.reindex(parts),
            (names.index(member.name) - (len(names) - 1) / 2) * 0.7 / len(names),
        )
        style = _style(place)
        places = np.arange(len(parts)) + offset
        axis.hlines(places, mine["low"], mine["high"], color=style["color"], linewidth=1.4)
        axis.plot(mine["value"], places, **{**style, "linestyle": "none"}, label=member.name)
    axis.set_yticks(range(len(parts)), [part.replace("_", " ") for part in parts])
    axis.set(xlabel=f"{TITLES[score]}, 0 to 1", xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    _finish(axis)
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(names)),
        frameon=False,
    )
    return _svg(figure)


def plot_fractions(points: pd.DataFrame) -> bytes:
    """Mean IoU by number of training images, both conventions with intervals, and published figures
    where they belong.

    Parameters
    ----------
    points : DataFrame of train_images, member; for each of iou_present and iou_published NAME,
    NAME_low, NAME_high; and
        paper, the published mean IoU in percent, or NaN
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    points = points.sort_values("train_images")
    for place, score in enumerate(("iou_present", "iou_published")):
        style, x, y = _style(place), points["train_images"], 100 * points[score]
        axis.vlines(
            x,
            100 * points[f"{score}_low"],
            100 * points[f"{score}_high"],
            color=style["color"],
            linewidth=1.4,
        )
        axis.plot(x, y, **style, label=f"{TITLES[score]}, this sweep")
        for a, b in zip(x, y, strict=True):
            # the two conventions can lie close together
            beside = (6, 5) if place == 0 else (6, -12)
            axis.annotate(
                f"{b:.1f}",
                (a, b),
                beside,
                textcoords="offset points",
                fontsize=8,
                color=style["color"],
            )
    paper = points.dropna(subset=["paper"])
    if len(paper):
        label = "IoU (published), as published by Seibold et al. 2022"
        axis.plot(
            paper["train_images"], paper["paper"], "x", color="black", markersize=8, label=label
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(points["train_images"], [str(number) for number in points["train_images"]])
    axis.minorticks_off()
    axis.margins(x=0.12)
    axis.set(xlabel="training images", ylabel="mean IoU on the test images (%)", ylim=(0, 100))
    _finish(axis)
    figure.legend(loc="outside lower center", ncols=1 if len(paper) else 2, frameon=False)
    return _svg(figure)
