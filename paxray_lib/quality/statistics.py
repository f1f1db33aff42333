"""What is in a data set: tidy tables of frequencies, areas, positions and overlaps, unusual images,
and mean masks.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LabelSet
from paxray_lib.quality.survey import Survey


def split_table(datasets: Sequence[PaxrayDataset]) -> pd.DataFrame:
    """Return one row a split: images, cases, and images of each view."""
    rows = []
    for dataset in datasets:
        views = [dataset.datafile.view(entry) or "unknown" for entry in dataset.entries]
        cases = {entry.case for entry in dataset.entries}
        counts = {view: views.count(view) for view in ("frontal", "lateral", "unknown")}
        rows.append({"split": dataset.split, "images": len(dataset), "cases": len(cases), **counts})
    return pd.DataFrame(rows).set_index("split")


def area_percent(survey: Survey) -> np.ndarray:
    """Return the area of each label in percent of its image, (N, L) float64; NaN where it does not
    occur.
    """
    pixels = (survey.images["height"] * survey.images["width"]).to_numpy(float)[:, None]
    return 100 * np.where(survey.areas > 0, survey.areas, np.nan) / pixels


def label_table(survey: Survey) -> pd.DataFrame:
    """Return one row a label: name, group, side, images in which it occurs (all, frontal, lateral),
    and its mean area in percent of the image where it occurs."""
    present = survey.areas > 0
    return pd.DataFrame(
        {
            "label": survey.labels.names,
            "group": survey.labels.group,
            "side": survey.labels.side,
            "images": present.sum(axis=0),
            **{view: present[survey.of_view(view)].sum(axis=0) for view in VIEWS},
            "area_percent": _mean(area_percent(survey)),
        }
    )


def position_table(survey: Survey, view: str) -> pd.DataFrame:
    """Return one row a label: name, group, images of the view in which it occurs, and where its
    centroid lies: mean and standard deviation of row and column in percent of height and width
    (from the top, from the left)."""
    chosen = survey.of_view(view)
    rows, columns = (
        100 * survey.rows[chosen].astype(float),
        100 * survey.columns[chosen].astype(float),
    )
    return pd.DataFrame(
        {
            "label": survey.labels.names,
            "group": survey.labels.group,
            "images": (survey.areas[chosen] > 0).sum(axis=0),
            "row": _mean(rows),
            "row_sd": np.sqrt(_mean((rows - _mean(rows)) ** 2)),
            "column": _mean(columns),
            "column_sd": np.sqrt(_mean((columns - _mean(columns)) ** 2)),
        }
    )


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the images without NaN, (L,); NaN where there is no other value."""
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    return np.where(there, values, 0).sum(axis=0) / np.where(count > 0, count, np.nan)


def overlap_matrix(survey: Survey, view: str) -> np.ndarray:
    """Return (L, L) float64: the part of the pixels of label i that also bear label j, in percent,
    over all images of a view; NaN in the rows of labels that do not occur."""
    shared = survey.shared[view]
    areas = np.diag(shared).astype(float)[:, None]
    return 100 * shared / np.where(areas > 0, areas, np.nan)


def overlap_table(survey: Survey, view: str) -> pd.DataFrame:
    """Return the pairs of labels that overlap though none is a part of the other, most first:
    first, second, and the part of the smaller one's pixels that bear the other label too, in
    percent."""
    matrix = overlap_matrix(survey, view)
    kin = _kinship(survey.labels)
    both = np.fmax(matrix, matrix.T)
    first, second = np.nonzero(np.triu(~kin & (both > 0), 1))
    names = np.array([f"{name} ({i})" for i, name in enumerate(survey.labels.names)])
    table = pd.DataFrame(
        {"first": names[first], "second": names[second], "overlap_percent": both[first, second]}
    )
    return table.sort_values("overlap_percent", ascending=False, kind="stable", ignore_index=True)


def _kinship(labels: LabelSet) -> np.ndarray:
    """Return (L, L) bool: whether one of two labels lies in the other by the tree, or both in the
    same way.
    """
    above = np.eye(len(labels), dtype=bool)
    # parents first, but for the second parent: repeat until nothing changes
    for i, _ in labels.tree():
        above[i, list(labels.parents[i])] = True
    while not np.array_equal(grown := above | (above.astype(int) @ above > 0), above):
        above = grown
    return above | above.T


# -- unusual images


def image_features(survey: Survey) -> pd.DataFrame:
    """Return simple numbers of each image with masks, one row an image: number of labels, mean,
    spread, black and white (see `Survey.images`), by how much the lungs are darker than the
    mediastinum, and for each label that is part of no other its area (decadic logarithm of the part
    of the image), and row and column of its centroid (0..1)."""
    features = {"labels": (survey.areas > 0).sum(axis=1)}
    features |= {
        name: survey.images[name].astype(float) for name in ("mean", "spread", "black", "white")
    }
    features["lungs darker by"] = _brightness(survey, "mediastinum_overall") - _brightness(
        survey, "lung_overall"
    )
    areas = np.log10(area_percent(survey) / 100)
    for i in (i for i, parents in enumerate(survey.labels.parents) if not parents):
        for kind, values in (("area", areas), ("row", survey.rows), ("column", survey.columns)):
            features[f"{kind} of {survey.labels.names[i]}"] = values[:, i].astype(float)
    return pd.DataFrame(features, index=survey.images.index)[survey.images["masks"]]


def _brightness(survey: Survey, name: str) -> np.ndarray:
    known = name in survey.labels.names
    return (
        survey.brightness[:, survey.labels.index(name)[0]]
        if known
        else np.full(len(survey.images), np.nan)
    )


def unusual_table(survey: Survey) -> pd.DataFrame:
    """Return one row an image with masks, the most unusual first: split, image, view, and of the
    feature that lies farthest from the median of its view: z, feature, value, usual (that median).

    z is the robust z-score (value - median) / (1.4826 * median absolute deviation), which unusual
    images themselves do not change (Iglewicz and Hoaglin, How to detect and handle outliers, 1993;
    they look twice from 3.5 on). The divisor is at least 0.01, so that what hardly varies raises no
    alarm. Of many images some lie far out by chance: this is the order in which to look at them,
    not a verdict."""
    features = image_features(survey)
    found = [
        _most_unusual(survey, group)
        for _, group in features.groupby(survey.images["view"], dropna=False)
    ]
    table = pd.concat(found) if found else pd.DataFrame(columns=["split", "image", "view", "z"])
    return table.sort_values("z", key=abs, ascending=False, kind="stable", ignore_index=True)


def _most_unusual(survey: Survey, features: pd.DataFrame) -> pd.DataFrame:
    usual = features.median()
    spread = 1.4826 * (features - usual).abs().median()
    z = (features - usual) / spread.clip(lower=0.01)  # (n, features)
    place = z.abs().fillna(0).to_numpy().argmax(axis=1)
    rows = np.arange(len(features))
    table = survey.images.loc[features.index, ["split", "image", "view"]]
    return table.assign(
        z=z.to_numpy()[rows, place],
        feature=features.columns[place],
        value=features.to_numpy()[rows, place],
        usual=usual.to_numpy()[place],
    )


def tree_lines(labels: LabelSet, table: pd.DataFrame | None = None) -> list[str]:
    """Return the label tree as indented lines of text, with the number of images of each label if a
    table is given.
    """
    lines = []
    for index, depth in labels.tree():
        count = f"  {table['images'].iloc[index]}" if table is not None else ""
        lines.append(f"{'    ' * depth}{labels.names[index]} ({index}){count}")
    return lines
