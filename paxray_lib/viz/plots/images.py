"""Figures of images: samples, predictions, measured lines, and a CT with its projections."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.data.dataset import Sample
from paxray_lib.masks import PackedMasks
from paxray_lib.measurement.geometry import find_lines, measure, spine_line
from paxray_lib.measurement.tables import format_measurements
from paxray_lib.viz.overlay import DIFFERENCE_COLORS, PANELS, compare, render
from paxray_lib.viz.plots import style

_LINE_COLORS = {
    "heart_width": "#ff5a5f",
    "thorax_width": "#4fc3f7",
    "heart_height": "#ff9e80",
    "lung_right_height": "#80cbc4",
    "lung_left_height": "#ff7ad9",
    "heart_to_spine": "#ffd54f",
    "airways_to_spine": "#ba9bff",
    "ribs_to_spine": "#a5d66f",
}
_SPINE_STYLE = {
    "color": "#ffffff",
    "linewidth": 1.4,
    "linestyle": ":",
    # a spine is as white as the line
    "path_effects": [withStroke(linewidth=3, foreground="#202020")],
}
#: Name and colour of each kind of structure; chosen by eye.
_KINDS = {
    "lung": ("lung", (47, 126, 188)),
    "bone": ("bone", (242, 232, 207)),
    "cartilage": ("cartilage", (190, 210, 190)),
    "abdomen": ("abdomen", (122, 163, 43)),
    "pericardium": ("heart, its vessels, airways", (200, 50, 63)),
    "back": ("at the spine", (150, 110, 90)),
    "soft": ("other soft tissue", (224, 103, 42)),
}
_LOW, _HIGH = -1000, 500  # HU: lungs and bones at once
_FILL = 0.6  # opacity of the structures; chosen by eye


def plot_samples(samples: Sequence[Sample], names: Sequence[str]) -> Figure:
    """Show each sample as a column: the image, and below it the labels that `names` select.

    `names` are names, groups and patterns, as in `LabelSet.select`. Few labels get a legend.
    """
    stacks = [_masks_of(sample) for sample in samples]
    titled = [(sample.name, style.as_bytes(sample.image)) for sample in samples]
    drawn = [
        ("", render(pixels, masks, masks.labels.select(*names)))
        for (_, pixels), masks in zip(titled, stacks, strict=True)
    ]
    figure = style.show_images([titled, drawn], width=2.9 * len(samples), height=6.0)
    style.name_colors(figure, stacks, names)
    return figure


def plot_predictions(
    images: Sequence[np.ndarray],
    predictions: Sequence[PackedMasks],
    titles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Show (H, W) float images in 0..1 with predicted labels; `names` as for `plot_samples`."""
    tiles = [
        (title, render(style.as_bytes(pixels), masks, masks.labels.select(*names)))
        for title, pixels, masks in zip(titles, images, predictions, strict=False)
    ]
    figure = style.tile_images(tiles, height=3.1)
    style.name_colors(figure, predictions, names)
    return figure


def plot_comparison(
    samples: Sequence[Sample], predictions: Sequence[PackedMasks], names: Sequence[str]
) -> Figure:
    """Show each sample as a row: image, ground truth, prediction and difference.

    `names` are those of `plot_samples`.
    """
    rows: list[list[tuple[str, np.ndarray]]] = []
    for sample, prediction in zip(samples, predictions, strict=True):
        pixels, masks = style.as_bytes(sample.image), _masks_of(sample)
        indices = masks.labels.select(*names)
        drawn = [
            ("" if rows else title, compare(pixels, masks, prediction, indices, mode=mode))
            for title, mode in PANELS.items()
        ]
        rows.append([(sample.name, pixels), *drawn])
    figure = style.show_images(rows, width=11.0, height=2.9 * len(samples) + 0.4)
    patches = style.color_patches(DIFFERENCE_COLORS)
    figure.legend(
        handles=patches, loc="outside lower right", ncols=3, frameon=False, title="difference"
    )
    return figure


def _masks_of(sample: Sample) -> PackedMasks:
    if sample.masks is None:
        raise ValueError(f"{sample.name}: no masks to show; choose samples that have a target")
    return sample.masks


def draw_measurements(
    image: np.ndarray,
    masks: PackedMasks,
    view: str | None,
    spacing_mm: tuple[float, float] | None = None,
) -> Figure:
    """Draw the lines that `measurement.geometry.measure` measures, with their values at the right.

    `image` is (H, W) float in 0..1, the other parameters are those of `measure`.
    """
    figure = style.new_figure(8.6, 5.6)
    axis, side = figure.subplots(1, 2, width_ratios=(3, 1))
    height, width = image.shape
    axis.imshow(style.as_bytes(image), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    spine = spine_line(masks) if view == "frontal" else None
    if spine is not None:
        rows = np.array([0, height])
        axis.plot(np.polyval(spine, rows), rows, **_SPINE_STYLE)
        side.plot([], [], label="middle of the spine", **_SPINE_STYLE)
    for name, ((top, left), (bottom, right)) in find_lines(masks, view).items():
        line = {"color": _LINE_COLORS[name], "marker": "|" if name.endswith("width") else "_"}
        axis.plot([left, right], [top, bottom], linewidth=1.6, **line)
        side.plot([], [], color=_LINE_COLORS[name], label=style.as_words(name))
    axis.set(xlim=(0, width), ylim=(height, 0), xlabel="column (px)", ylabel="row (px)")
    text = format_measurements(measure(masks, view, spacing_mm)) or ["nothing to measure"]
    font = {"fontsize": 9, "va": "top", "transform": side.transAxes, "linespacing": 1.5}
    side.text(0, 0.98, "\n".join(text), **font)
    if side.lines:
        side.legend(loc="lower left", **style.SMALL_LEGEND)
    side.set_axis_off()
    return figure


def plot_slices(scan: Scan) -> Figure:
    """Show the middle axial, coronal and sagittal slice of a scan, and its structures below them.

    Structures are coloured by kind; the legend names the kinds that occur.
    """
    palette = np.zeros((256, 3))
    for structure in STRUCTURES:
        palette[structure.code] = _KINDS[structure.kind][1]
    upper, lower = [], []
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        middle = scan.hu.shape[axis] // 2
        hu, codes = (np.take(volume, middle, axis) for volume in (scan.hu, scan.structures))
        gray = 255 * np.clip((hu.astype(np.float32) - _LOW) / (_HIGH - _LOW), 0, 1)
        mixed = (1 - _FILL) * gray[..., None] + _FILL * palette[codes]
        upper.append((f"{name}, slice {middle}", gray))
        colored = np.where(codes[..., None] > 0, mixed, gray[..., None])
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
    for column, names in zip(axes.T, selections, strict=True):
        column[0].set_title("\n".join(names), fontsize=9)
        style.name_colors(figure, [masks for _, masks in views.values()], names, column[-1])
    return figure
