"""Curves of a training."""

import pandas as pd
from matplotlib.figure import Figure

from paxray_lib.viz.plots.style import BLUE, new_figure, open_frame, score_title

_LINE_STYLES = {"iou_present": "-", "dice_present": "--", "iou_published": ":"}


def plot_training(metrics: pd.DataFrame) -> Figure:
    """Plot loss and validation scores of a run, from its `metrics.csv`."""
    figure = new_figure(10.0, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot(metrics["epoch"], metrics["train_loss"], color="#333333")
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy + Dice)")
    for name, style in _LINE_STYLES.items():
        scores = metrics[["epoch", f"val_{name}"]].dropna()
        right.plot(
            scores["epoch"], scores[f"val_{name}"], style, color=BLUE, label=score_title(name)
        )
    right.set(xlabel="epoch", ylabel="validation score (0 to 1)", ylim=(0, 1))
    right.legend(frameon=False)
    open_frame(left, right)
    for axis in (left, right):
        axis.grid(color="#eeeeee")
    return figure
