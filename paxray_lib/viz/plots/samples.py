"""Figures of images with their masks: samples, predictions, and what they differ in."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from paxray_lib.data.dataset import Sample
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    compare,
    render,
)
from paxray_lib.viz.plots.style import (
    GRAY_IMAGE,
    as_bytes,
    color_patches,
    image_grid,
    name_colors,
)


def plot_samples(samples: Sequence[Sample], names: Sequence[str]) -> Figure:
    """Show each sample as a column: the image, and below it the selected labels.

    Parameters
    ----------
    samples : sequence of Sample, with masks
    names : sequence of str
        Names, groups and patterns, as in `LabelSet.select`. Few labels get a legend.
    """
    figure, axes = image_grid(2, len(samples), width=2.9 * len(samples), height=6.0)
    stacks = [_masks_of(sample) for sample in samples]
    for (upper, lower), sample, masks in zip(axes.T, samples, stacks, strict=True):
        pixels = as_bytes(sample.image)
        upper.imshow(pixels, **GRAY_IMAGE)
        lower.imshow(render(pixels, masks, masks.labels.select(*names)))
        upper.set_title(sample.name, fontsize=10)
    name_colors(figure, stacks, names)
    return figure


def plot_predictions(
    images: Sequence[np.ndarray],
    predictions: Sequence[PackedMasks],
    titles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Show images of any size with the selected labels that were predicted, four in a row.

    Parameters
    ----------
    images : sequence of (H, W) float arrays in 0..1
    predictions : sequence of PackedMasks of the images' sizes
    titles : sequence of str
    names : sequence of str
        Names, groups and patterns, as in `LabelSet.select`. Few labels get a legend.
    """
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure, axes = image_grid(rows, columns, width=2.9 * columns, height=3.1 * rows)
    for axis, pixels, masks, title in zip(axes.flat, images, predictions, titles, strict=False):
        axis.imshow(render(as_bytes(pixels), masks, masks.labels.select(*names)))
        axis.set_title(title, fontsize=8)
    name_colors(figure, predictions, names)
    return figure


def plot_comparison(
    samples: Sequence[Sample], predictions: Sequence[PackedMasks], names: Sequence[str]
) -> Figure:
    """Show each sample as a row: image, ground truth, prediction and their difference.

    Parameters
    ----------
    samples : sequence of Sample, with masks
    predictions : sequence of PackedMasks of the samples' sizes
    names : sequence of str
        Names, groups and patterns, as in `LabelSet.select`.
    """
    figure, axes = image_grid(len(samples), 4, width=11.0, height=2.9 * len(samples) + 0.4)
    for row, sample, prediction in zip(axes, samples, predictions, strict=True):
        pixels, masks = as_bytes(sample.image), _masks_of(sample)
        indices = masks.labels.select(*names)
        row[0].imshow(pixels, **GRAY_IMAGE)
        row[0].set_title(sample.name, fontsize=10)
        for axis, mode in zip(row[1:], ("target", "prediction", "difference"), strict=True):
            axis.imshow(compare(pixels, masks, prediction, indices, mode=mode))
    for axis, title in zip(axes[0, 1:], ("ground truth", "prediction", "difference"), strict=True):
        axis.set_title(title, fontsize=10)
    colors = {"in both": TRUE_POSITIVE, "predicted only": FALSE_POSITIVE, "missed": FALSE_NEGATIVE}
    figure.legend(
        handles=color_patches(colors),
        loc="outside lower right",
        ncols=3,
        frameon=False,
        title="difference",
    )
    return figure


def _masks_of(sample: Sample) -> PackedMasks:
    if sample.masks is None:
        raise ValueError(f"{sample.name}: no masks to show; choose samples that have a target")
    return sample.masks
