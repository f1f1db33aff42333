"""Figures of images with their masks: samples, predictions, and what they differ in."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from paxray_lib.data.dataset import Sample
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import DIFFERENCE_COLORS, compare, render
from paxray_lib.viz.plots import style

_MODES = {"ground truth": "target", "prediction": "prediction", "difference": "difference"}


def plot_samples(samples: Sequence[Sample], names: Sequence[str]) -> Figure:
    """Show each sample as a column: the image, and below it the labels that `names` select.

    `names` are names, groups and patterns, as in `LabelSet.select`. Few labels get a legend.
    """
    images = [style.as_bytes(sample.image) for sample in samples]
    stacks = [_masks_of(sample) for sample in samples]
    drawn = [
        ("", render(pixels, masks, masks.labels.select(*names)))
        for pixels, masks in zip(images, stacks, strict=True)
    ]
    titled = [(sample.name, pixels) for sample, pixels in zip(samples, images, strict=True)]
    figure = style.show_images([titled, drawn], width=2.9 * len(samples), height=6.0)
    style.name_colors(figure, stacks, names)
    return figure


def plot_predictions(
    images: Sequence[np.ndarray],
    predictions: Sequence[PackedMasks],
    titles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Show (H, W) float images in 0..1 with the predicted labels that `names` select.

    `names` are names, groups and patterns, as in `LabelSet.select`. Few labels get a legend.
    """
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
    """Show each sample as a row: image, ground truth, prediction and their difference.

    `names` are names, groups and patterns, as in `LabelSet.select`.
    """
    rows: list[list[tuple[str, np.ndarray]]] = []
    for sample, prediction in zip(samples, predictions, strict=True):
        pixels, masks = style.as_bytes(sample.image), _masks_of(sample)
        indices = masks.labels.select(*names)
        drawn = [
            ("" if rows else title, compare(pixels, masks, prediction, indices, mode=mode))
            for title, mode in _MODES.items()
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
