"""Choices among samples and labels, and mean masks over a split."""

import contextlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from paxray_lib.data.datafile import SPLITS, read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.console import map_ahead, progress


def open_splits(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> dict[str, PaxrayDataset]:
    """Return the splits that have images, by name: train, val and test first, then others.

    Raises
    ------
    ValueError
        If no split has images.
    """
    data = read_datafile(data_root, datafile)
    filled = [name for name in dict.fromkeys((*SPLITS, *data.splits)) if data.splits.get(name)]
    if not filled:
        raise ValueError(f"{data.path}: no split has an image; list some in train, val or test")
    return {name: PaxrayDataset(data_root, datafile, name) for name in filled}


def choose_labels(wanted: Iterable[str], masks: Sequence[PackedMasks], count: int = 4) -> list[str]:
    """Return those of the wanted labels that there are, or else the names of the largest ones.

    Figures made for one set of labels thus show something with any other.

    Parameters
    ----------
    wanted : names, groups and patterns, as for `LabelSet.select`
    masks : at least one, all of the same labels; where labels are largest
    count : how many labels to return, at most, if none of the wanted ones exist

    Returns
    -------
    list of str
        In the order of `wanted`, or the largest first.
    """
    labels, there = masks[0].labels, []
    for name in wanted:
        with contextlib.suppress(ValueError):
            labels.select(name)
            there.append(name)
    areas = np.sum([stack.counts() for stack in masks], axis=0)  # (L,)
    largest = dict.fromkeys(labels.names[i] for i in np.argsort(-areas, kind="stable"))
    return there or list(largest)[:count]


def mean_masks(dataset: PaxrayDataset, view: str, size: int) -> np.ndarray:
    """Return the mean of a view's resized masks, (L, size, size) float32 in 0..1.

    Each label's is over the images in which it is known; 0 where it is in none."""
    entries, view_of = dataset.entries, dataset.datafile.view
    indices = [i for i, entry in enumerate(entries) if entry.target and view_of(entry) == view]
    total = np.zeros((len(dataset.labels), size, size), np.float32)
    images = np.zeros((len(dataset.labels), 1, 1), np.float32)
    for masks in progress(map_ahead(dataset.masks, indices), f"mean {view} masks", len(indices)):
        if masks is not None:
            total += masks.resize(size, size).unpack()
            images += masks.known[:, None, None]
    return total / np.maximum(images, 1)


def thresholded_mean(dataset: PaxrayDataset, view: str, size: int) -> PackedMasks:
    """Return what each label covers in more than half of a view's images: the best constant."""
    return PackedMasks.pack(mean_masks(dataset, view, size) > 0.5, dataset.labels)
