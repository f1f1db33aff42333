"""Figures of a CT: slices with their structures, projections, and projected labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import render
from paxray_lib.viz.plots.style import (
    GRAY_IMAGE,
    color_patches,
    image_grid,
    name_colors,
    new_figure,
)

_KINDS = {
    "lung": ("lung", (47, 126, 188)),
    "bone": ("bone", (242, 232, 207)),
    "cartilage": ("cartilage", (190, 210, 190)),
    "abdomen": ("abdomen", (122, 163, 43)),
    "pericardium": ("heart, its vessels, airways", (200, 50, 63)),
    "back": ("at the spine", (150, 110, 90)),
    "soft": ("other soft tissue", (224, 103, 42)),
}
"""Name and colour of each kind of structure; chosen by eye."""
_WINDOW = (-1000, 500)  # HU: lungs and bones at once
_FILL = 0.6  # opacity of the structures; chosen by eye


def plot_slices(scan: Scan) -> Figure:
    """Show the middle axial, coronal and sagittal slice of a scan.

    Below them are the structures, coloured by kind. The legend names the kinds that occur.
    """
    figure, axes = image_grid(2, 3, width=9.0, height=6.0)
    palette = np.zeros((256, 3))
    for structure in STRUCTURES:
        palette[structure.code] = _KINDS[structure.kind][1]
    low, high = _WINDOW
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        middle = scan.hu.shape[axis] // 2
        hu, codes = (np.take(volume, middle, axis) for volume in (scan.hu, scan.structures))
        gray = 255 * np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
        mixed = (1 - _FILL) * gray[..., None] + _FILL * palette[codes]
        colored = np.where(codes[..., None] > 0, mixed, gray[..., None]).astype(np.uint8)
        across, along = (spacing for k, spacing in enumerate(scan.spacing) if k != axis)
        upper, lower = axes[:, axis]
        upper.imshow(gray, **GRAY_IMAGE, aspect=across / along, interpolation="nearest")
        lower.imshow(colored, aspect=across / along, interpolation="nearest")
        upper.set_title(f"{name}, slice {middle}", fontsize=10)
    occurring = np.bincount(scan.structures.ravel(), minlength=256) > 0
    kinds = {structure.kind for structure in STRUCTURES if occurring[structure.code]}
    patches = color_patches(
        {name: color for kind, (name, color) in _KINDS.items() if kind in kinds}
    )
    for patch in patches:
        patch.set_edgecolor("#777777")
    figure.legend(
        handles=patches, loc="outside lower center", ncols=len(_KINDS), frameon=False, fontsize=8
    )
    return figure


def plot_projections(images: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Show projections: one row per name, such as the image formation, one column per view.

    Parameters
    ----------
    images : mapping of a name to a mapping of view to (H, W) uint8 array
    """
    views = list(next(iter(images.values())))
    figure, axes = image_grid(
        len(images), len(views), width=3.4 * len(views), height=3.5 * len(images)
    )
    for row, (name, by_view) in zip(axes, images.items(), strict=True):
        for axis, view in zip(row, views, strict=True):
            axis.imshow(by_view[view], **GRAY_IMAGE)
            axis.set_title(f"{view}, {name}", fontsize=10)
    return figure


def plot_projected_labels(
    views: Mapping[str, tuple[np.ndarray, PackedMasks]], selections: Sequence[Sequence[str]]
) -> Figure:
    """Show projected labels over the image: one row per view, one column per selection.

    A column has its selection as title and, below it, a legend if the labels are few.

    Parameters
    ----------
    views : mapping of view to an (H, W) uint8 array and its PackedMasks
    selections : sequence of names, groups and patterns, as in `LabelSet.select`
    """
    figure = new_figure(2.9 * len(selections), 3.0 * len(views) + 0.9)
    axes = figure.subplots(len(views), len(selections), squeeze=False)
    for row, (view, (image, masks)) in zip(axes, views.items(), strict=True):
        for axis, names in zip(row, selections, strict=True):
            axis.imshow(render(image, masks, masks.labels.select(*names)))
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(view, fontsize=10)
    stacks = [masks for _, masks in views.values()]
    for column, names in zip(axes.T, selections, strict=True):
        column[0].set_title("\n".join(names), fontsize=9)
        name_colors(figure, stacks, names, column[-1])
    return figure
