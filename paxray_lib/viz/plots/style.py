"""Colours and figures that all plots share."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paxray_lib.masks.packed import PackedMasks

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


def name_colors(
    figure: Figure, stacks: Iterable[PackedMasks], names: Sequence[str], axis: Axes | None = None
) -> None:
    """Add a legend of the labels that `names` select and that some of the stacks have, below a
    figure or one axis.

    More than `MOST_NAMED` get none.
    """
    colors = {}
    for masks in stacks:
        occurs = masks.counts() > 0
        chosen = [i for i in masks.labels.select(*names) if occurs[i]]
        colors |= {
            masks.labels.names[i].replace("_", " "): masks.labels.colors[i] / 255 for i in chosen
        }
    if not 0 < len(colors) <= MOST_NAMED:
        return
    patches = [Patch(color=color, label=name) for name, color in colors.items()]
    if axis is None:
        columns = min(len(patches), max(1, int(figure.get_figwidth() / 1.7)))
        figure.legend(
            handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
        )
    else:
        axis.legend(
            handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=8
        )
