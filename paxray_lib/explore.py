"""What is in a data set: tidy tables of areas and frequencies, and mean masks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from paxray_lib.common import map_ahead, progress
from paxray_lib.dataset import PaxrayDataset
from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks


def split_table(datasets: Sequence[PaxrayDataset]) -> pd.DataFrame:
    """Return one row a split: images, cases, and images of each view."""
    rows = []
    for dataset in datasets:
        views = [entry.view or "unknown" for entry in dataset.entries]
        cases = {entry.case for entry in dataset.entries}
        counts = {view: views.count(view) for view in ("frontal", "lateral", "unknown")}
        rows.append({"split": dataset.split, "images": len(dataset), "cases": len(cases), **counts})
    return pd.DataFrame(rows).set_index("split")


def area_table(datasets: Sequence[PaxrayDataset]) -> pd.DataFrame:
    """Return one row an image with masks: split, image, case, view, and for each label index the part of the image that
    it covers (0..1)."""
    places = [(dataset, i) for dataset in datasets for i, entry in enumerate(dataset.entries) if entry.target]
    rows = []
    for (dataset, i), masks in zip(places, map_ahead(lambda place: place[0].masks(place[1]), places), strict=True):
        entry, pixels = dataset.entries[i], masks.shape[1] * masks.shape[2]
        rows.append([dataset.split, entry.image, entry.case, entry.view, *(masks.counts() / pixels)])
    labels = datasets[0].labels
    return pd.DataFrame(rows, columns=["split", "image", "case", "view", *range(len(labels))])


def label_table(areas: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    """Return one row a label: name, group, side, images in which it occurs (all, frontal, lateral), and its mean
    area in percent of the image where it occurs.

    Parameters
    ----------
    areas : DataFrame from `area_table`
    """
    values = areas[list(range(len(labels)))].to_numpy()  # (N, L)
    present = values > 0
    frontal, lateral = ((areas["view"] == view).to_numpy() for view in ("frontal", "lateral"))
    occurs = present.sum(axis=0)
    mean = np.divide(100 * values.sum(axis=0), occurs, out=np.full(len(labels), np.nan), where=occurs > 0)
    return pd.DataFrame(
        {
            "label": labels.names,
            "group": labels.group,
            "side": labels.side,
            "images": occurs,
            "frontal": present[frontal].sum(axis=0),
            "lateral": present[lateral].sum(axis=0),
            "area_percent": mean,
        }
    )


def mean_masks(dataset: PaxrayDataset, view: str, size: int) -> np.ndarray:
    """Return the mean of a view's masks, resized to (size, size): (L, size, size) float32 in 0..1."""
    indices = [i for i, entry in enumerate(dataset.entries) if entry.target and entry.view == view]
    total = np.zeros((len(dataset.labels), size, size), np.float32)
    for masks in progress(map_ahead(dataset.masks, indices), f"mean {view} masks", len(indices)):
        total += masks.resize(size, size).unpack()
    return total / max(1, len(indices))


def tree_lines(labels: LabelSet, table: pd.DataFrame | None = None) -> list[str]:
    """Return the label tree as indented lines of text, with the number of images of each label if a table is given."""
    lines = []
    for index, depth in labels.tree():
        count = f"  {table['images'].iloc[index]}" if table is not None else ""
        lines.append(f"{'    ' * depth}{labels.names[index]} ({index}){count}")
    return lines


def thresholded_mean(dataset: PaxrayDataset, view: str, size: int) -> PackedMasks:
    """Return the pixels that each label covers in more than half of a view's images: the best constant guess."""
    return PackedMasks.pack(mean_masks(dataset, view, size) > 0.5, dataset.labels)
