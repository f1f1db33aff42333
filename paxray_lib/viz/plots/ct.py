"""Figures of notebook 6: slices of a CT with its structures, and projections with labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import render
from paxray_lib.viz.plots.style import name_colors, new_figure

_KIND_COLORS = {
    "lung": (47, 126, 188), "bone": (242, 232, 207), "cartilage": (190, 210, 190), "abdomen": (122, 163, 43),
    "pericardium": (200, 50, 63), "back": (150, 110, 90), "soft": (224, 103, 42),
}  # fmt: skip
_KIND_NAMES = {
    "pericardium": "heart, its vessels, airways",
    "back": "at the spine",
    "soft": "other soft tissue",
}
_WINDOW = (-1000, 500)  # HU: lungs and bones at once


def plot_slices(scan: Scan) -> Figure:
    """The middle axial, coronal and sagittal slice of a scan, and below them its structures,
    coloured by kind.

    The legend names the kinds that the scan has.
    """
    figure = new_figure(9.0, 6.0)
    middle = [length // 2 for length in scan.hu.shape]
    palette = np.zeros((256, 3), np.float32)
    for structure in STRUCTURES:
        palette[structure.code] = _KIND_COLORS[structure.kind]
    grids = figure.subplots(2, 3)
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        grey, codes = (np.take(volume, middle[axis], axis) for volume in (scan.hu, scan.structures))
        spacing = [s for k, s in enumerate(scan.spacing) if k != axis]
        shown = {"aspect": spacing[0] / spacing[1], "interpolation": "nearest"}
        low, high = _WINDOW
        level = np.clip((grey.astype(np.float32) - low) / (high - low), 0, 1)[..., None]
        colored = np.where(
            codes[..., None] > 0, 0.4 * level * 255 + 0.6 * palette[codes], level * 255
        )
        grids[0, axis].imshow(level[..., 0], cmap="gray", vmin=0, vmax=1, **shown)
        grids[1, axis].imshow(colored.astype(np.uint8), **shown)
        grids[0, axis].set_title(f"{name}, slice {middle[axis]}", fontsize=10)
    for plot in grids.ravel():
        plot.set_axis_off()
    _name_kinds(figure, scan)
    return figure


def _name_kinds(figure: Figure, scan: Scan) -> None:
    counts = np.bincount(scan.structures.ravel(), minlength=len(STRUCTURES) + 1)
    there = {structure.kind for structure in STRUCTURES if counts[structure.code]}
    patches = [
        Patch(
            facecolor=np.array(color) / 255, edgecolor="#777777", label=_KIND_NAMES.get(kind, kind)
        )
        for kind, color in _KIND_COLORS.items()
        if kind in there
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=len(_KIND_COLORS),
        frameon=False,
        fontsize=8,
    )


def plot_projections(images: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Images (H, W) uint8 of each view, a row for each name, such as the image formation."""
    views = list(next(iter(images.values())))
    figure = new_figure(3.4 * len(views), 3.5 * len(images))
    grids = figure.subplots(len(images), len(views), squeeze=False)
    for row, (name, by_view) in zip(grids, images.items(), strict=True):
        for plot, view in zip(row, views, strict=True):
            plot.imshow(by_view[view], cmap="gray", vmin=0, vmax=255)
            plot.set_title(f"{view}, {name}", fontsize=10)
            plot.set_axis_off()
    return figure


def plot_projected_labels(
    views: Mapping[str, tuple[np.ndarray, PackedMasks]], selections: Sequence[Sequence[str]]
) -> Figure:
    """The labels of each selection (see `LabelSet.select`) over the image, a row for each view.

    A column bears its selection as title and, below it, a legend if the labels are few.
    """
    figure = new_figure(2.9 * len(selections), 3.0 * len(views) + 0.9)
    grids = figure.subplots(len(views), len(selections), squeeze=False)
    for row, (view, (image, masks)) in zip(grids, views.items(), strict=True):
        for plot, names in zip(row, selections, strict=True):
            plot.imshow(render(image, masks, masks.labels.select(*names)))
            plot.set(xticks=[], yticks=[])
            plot.spines[:].set_visible(False)
        row[0].set_ylabel(view, fontsize=10)
    stacks = [masks for _, masks in views.values()]
    for top, bottom, names in zip(grids[0], grids[-1], selections, strict=True):
        top.set_title("\n".join(names), fontsize=9)
        name_colors(figure, stacks, names, bottom)
    return figure
