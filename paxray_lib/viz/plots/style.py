"""Colours, sizes and legends that all plots share."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from paxray_lib.masks import PackedMasks
from paxray_lib.utils import printable

#: One colour per group, dark enough for text on white; chosen by eye.
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
BLUE, ORANGE, RED = "#2f7ebc", "#e0672a", "#c8323f"
SMALL_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8}
_MOST_NAMED = 12  # labels in a legend; chosen by eye


# a notebook shows it without pyplot, whose state and backend it does not need
class _NotebookFigure(Figure):
    def draw(self, renderer: RendererBase) -> None:
        """Draw all texts as they are: a label or file may be named `$x$`, which TeX would read."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, for a notebook to show."""
    return _NotebookFigure(figsize=(width, height), dpi=80, layout="constrained")


def open_axes(width: float, height: float, columns: int = 1) -> tuple[Any, ...]:
    """Return a new figure and its axes in a row, without the upper and right side of frames."""
    figure = new_figure(width, height)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, *axes


def show_images(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]],
    *,
    width: float,
    height: float,
    fontsize: float = 10,
    **style: Any,
) -> Figure:
    """Show rows of titled images in a figure of a size in inches; `style` is that of `imshow`."""
    figure = new_figure(width, height)
    axes = figure.subplots(len(rows), max(map(len, rows)) or 1, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis_row, row in zip(axes, rows, strict=True):
        for axis, (title, image) in zip(axis_row, row, strict=False):
            axis.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 255, **style})
            axis.set_title(title, fontsize=fontsize)
    return figure


def tile_images(tiles: Sequence[tuple[str, np.ndarray]], height: float) -> Figure:
    """Show titled images in rows of four, each row `height` inches high."""
    rows = [tiles[k : k + 4] for k in range(0, len(tiles), 4)] or [[]]
    width = 2.9 * max(1, len(rows[0]))
    return show_images(rows, width=width, height=height * len(rows), fontsize=8)


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8 from float pixels in 0..1."""
    return np.round(pixels * 255).astype(np.uint8)


def as_words(name: str) -> str:
    """Return the name of a label, group or measurement as it is written in a figure."""
    return name.replace("_", " ")


def score_title(score: str) -> str:
    """Return how a column of scores is written in a figure: "iou_present" is "IoU (present)"."""
    name, convention = score.split("_")
    return f"{ {'iou': 'IoU', 'dice': 'Dice'}.get(name, name) } ({convention})"


def color_patches(colors: Mapping[str, Sequence[int]]) -> list[Patch]:
    """Return the handles of a legend, from names and 8-bit colours."""
    return [Patch(color=f"#{bytes(rgb).hex()}", label=name) for name, rgb in colors.items()]


def name_colors(
    figure: Figure, stacks: Iterable[PackedMasks], names: Sequence[str], axis: Axes | None = None
) -> None:
    """Add a legend of the selected labels that some stack has, below the figure or one axis.

    More than a few labels get none, since their colours cannot be told apart.
    """
    colors: dict[str, list[int]] = {}
    for masks in stacks:
        labels, occurs = masks.labels, masks.counts() > 0
        chosen = [i for i in labels.select(*names) if occurs[i]]
        colors |= {as_words(labels.display_names[i]): labels.colors[i].tolist() for i in chosen}
    handles = color_patches(colors)
    if 0 < len(handles) <= _MOST_NAMED and axis is not None:
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), **SMALL_LEGEND)
    elif 0 < len(handles) <= _MOST_NAMED:
        columns = min(len(handles), max(1, int(figure.get_figwidth() / 1.7)))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **SMALL_LEGEND)
