"""Curves of a training."""

import pandas as pd
from matplotlib.figure import Figure

from paxray_lib.viz.plots.samples import _title
from paxray_lib.viz.plots.style import new_figure


def plot_training(metrics: pd.DataFrame) -> Figure:
    """Loss and validation scores of a run, from its `metrics.csv`."""
    figure = new_figure(10.0, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot(metrics["epoch"], metrics["train_loss"], color="#333333")
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    styles = {"iou_present": "-", "dice_present": "--", "iou_published": ":"}
    for name, style in styles.items():
        scores = metrics[["epoch", f"val_{name}"]].dropna()
        right.plot(
            scores["epoch"], scores[f"val_{name}"], style, color="#2f7ebc", label=_title(name)
        )
    right.set(xlabel="epoch", ylabel="validation score (0 to 1)", ylim=(0, 1))
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#eeeeee")
    return figure
