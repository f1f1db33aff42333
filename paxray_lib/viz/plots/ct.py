"""Figures of a CT: slices with their structures, projections, and projected labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import render
from paxray_lib.viz.plots import style

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
    """Show the middle axial, coronal and sagittal slice of a scan, and its structures below them.

    Structures are coloured by kind; the legend names the kinds that occur.
    """
    palette = np.zeros((256, 3))
    for structure in STRUCTURES:
        palette[structure.code] = _KINDS[structure.kind][1]
    low, high = _WINDOW
    upper, lower = [], []
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        middle = scan.hu.shape[axis] // 2
        hu, codes = (np.take(volume, middle, axis) for volume in (scan.hu, scan.structures))
        gray = 255 * np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
        mixed = (1 - _FILL) * gray[..., None] + _FILL * palette[codes]
        colored = np.where(codes[..., None] > 0, mixed, gray[..., None])
        upper.append((f"{name}, slice {middle}", gray))
        lower.append(("", colored.astype(np.uint8)))
    figure = style.show_images([upper, lower], width=9.0, height=6.0, interpolation="nearest")
    z, y, x = scan.spacing
    for plot, aspect in zip(figure.axes, 2 * (y / x, z / x, z / y), strict=True):
        plot.set_aspect(aspect)
    codes = np.unique(scan.structures)
    kinds = {structure.kind for structure in STRUCTURES if structure.code in codes}
    patches = style.color_patches(dict(_KINDS[kind] for kind in _KINDS if kind in kinds))
    for patch in patches:
        patch.set_edgecolor("#777777")
    figure.legend(
        handles=patches, loc="outside lower center", ncols=len(_KINDS), **style.SMALL_LEGEND
    )
    return figure


def plot_projections(images: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Show (H, W) uint8 projections: one row per name, such as the image formation.

    `images` has for each name the image of each view, one column per view.
    """
    rows = [[(f"{view}, {name}", by[view]) for view in by] for name, by in images.items()]
    return style.show_images(rows, width=3.4 * len(rows[0]), height=3.5 * len(rows))


def plot_projected_labels(
    views: Mapping[str, tuple[np.ndarray, PackedMasks]], selections: Sequence[Sequence[str]]
) -> Figure:
    """Show projected labels over the image: one row per view, one column per selection.

    `views` has for each view an (H, W) uint8 image and its masks. A selection is a sequence of
    names, groups and patterns, the title of its column. Few labels get a legend below it.
    """
    figure = style.new_figure(2.9 * len(selections), 3.0 * len(views) + 0.9)
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
        style.name_colors(figure, stacks, names, column[-1])
    return figure
