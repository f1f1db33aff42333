"""Tables of what is in a data set: frequencies, areas, positions, overlaps, unusual images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LabelSet
from paxray_lib.quality.survey import Survey


def split_table(datasets: Sequence[PaxrayDataset]) -> pd.DataFrame:
    """Return one row per split: images, cases, and images of each view."""
    rows = {}
    for dataset in datasets:
        views = [dataset.datafile.view(entry) or "unknown" for entry in dataset.entries]
        rows[dataset.split] = {
            "images": len(dataset),
            "cases": len({entry.case for entry in dataset.entries}),
            **{view: views.count(view) for view in (*VIEWS, "unknown")},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def area_percent(survey: Survey) -> np.ndarray:
    """Return each label's area in percent of its image, (N, L) float64; NaN where absent."""
    pixels = (survey.images["height"] * survey.images["width"]).to_numpy(float)[:, None]
    return 100 * np.where(survey.areas > 0, survey.areas, np.nan) / pixels


def label_table(survey: Survey) -> pd.DataFrame:
    """Return one row per label: label, group, side, annotated, images, frontal, ..., area_percent.

    The label is known in `annotated` images. `images` are those in which it occurs, all and of each
    view, and its area is the mean over them, in percent of the image.
    """
    present = survey.areas > 0
    return pd.DataFrame(
        {
            "label": survey.labels.names,
            "group": survey.labels.group,
            "side": survey.labels.side,
            "annotated": survey.known.sum(axis=0),
            "images": present.sum(axis=0),
            **{view: present[survey.of_view(view)].sum(axis=0) for view in VIEWS},
            "area_percent": _mean(area_percent(survey)),
        }
    )


def position_table(survey: Survey, view: str) -> pd.DataFrame:
    """Return one row per label: label, group, images, row, row_sd, column, column_sd.

    Images are those of the view in which the label occurs. Row and column are the mean position of
    its centroid in percent of height and width, from the top and from the left, with their standard
    deviations.
    """
    chosen = survey.of_view(view)
    columns = {
        "label": survey.labels.names,
        "group": survey.labels.group,
        "images": (survey.areas[chosen] > 0).sum(axis=0),
    }
    for name, positions in (("row", survey.rows), ("column", survey.columns)):
        percent = 100 * positions[chosen].astype(float)
        columns[name] = _mean(percent)
        columns[f"{name}_sd"] = np.sqrt(_mean((percent - columns[name]) ** 2))
    return pd.DataFrame(columns)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the rows without NaN, (columns,); NaN where there is no other value."""
    return pd.DataFrame(values).mean().to_numpy()


def overlap_matrix(survey: Survey, view: str) -> np.ndarray:
    """Return (L, L) float64: the part of the pixels of label i that also bear label j, in percent.

    Over all images of a view in which j is known; NaN where i does not occur in them.
    """
    chosen = survey.images["view"].fillna("unknown") == view
    areas = survey.possible(chosen.to_numpy())
    return 100 * survey.shared[view] / np.where(areas > 0, areas, np.nan)


def overlap_table(survey: Survey, view: str) -> pd.DataFrame:
    """Return the pairs of labels that overlap though none is a part of the other, most first.

    Columns: first, second, and overlap_percent: the part of the smaller one's pixels that bear the
    other label too.
    """
    matrix = overlap_matrix(survey, view)
    overlap = np.fmax(matrix, matrix.T)
    first, second = np.nonzero(np.triu(~_related(survey.labels) & (overlap > 0), 1))
    table = pd.DataFrame(
        {
            "first": survey.titles[first],
            "second": survey.titles[second],
            "overlap_percent": overlap[first, second],
        }
    )
    return table.sort_values("overlap_percent", ascending=False, kind="stable", ignore_index=True)


def _related(labels: LabelSet) -> np.ndarray:
    """Return (L, L) bool: whether one of two labels is a part of the other, or of its parts."""
    above = np.eye(len(labels), dtype=bool)
    for i, parents in enumerate(labels.parents):
        above[i, list(parents)] = True
    above = np.linalg.matrix_power(above, len(labels))  # of bool: whether any path leads there
    return above | above.T


# -- unusual images


def image_features(survey: Survey) -> pd.DataFrame:
    """Return simple numbers of each image with masks, one row per image.

    The number of labels; mean, spread, black and white (see `Survey.images`); by how much the lungs
    are darker than the mediastinum; and of each label that is part of no other its area (decadic
    logarithm of the part of the image), and row and column of its centroid (0..1).
    """
    mediastinum, lungs = (
        _mean(survey.brightness[:, survey.labels.find(name)[:1]].T)  # (N,), NaN without the label
        for name in ("mediastinum_overall", "lung_overall")
    )
    features = {
        "labels": (survey.areas > 0).sum(axis=1),
        **survey.images[["mean", "spread", "black", "white"]].astype(float),
        "lungs darker by": mediastinum - lungs,
    }
    areas = np.log10(area_percent(survey) / 100)
    for i in (i for i, parents in enumerate(survey.labels.parents) if not parents):
        for kind, values in (("area", areas), ("row", survey.rows), ("column", survey.columns)):
            features[f"{kind} of {survey.labels.names[i]}"] = values[:, i].astype(float)
    return pd.DataFrame(features, index=survey.images.index)[survey.images["masks"]]


def unusual_table(survey: Survey) -> pd.DataFrame:
    """Return one row per image with masks, the most unusual first.

    Columns: split, image, view, and of the feature that lies farthest from the median of its view:
    z, feature, value, usual (that median).

    z is the robust z-score (value - median) / (1.4826 * median absolute deviation), which unusual
    images themselves do not change (Iglewicz and Hoaglin, How to detect and handle outliers, 1993;
    they look twice from 3.5 on). Of many images some lie far out by chance: this is the order in
    which to look at them, not a verdict.
    """
    views = image_features(survey).groupby(survey.images["view"], dropna=False)
    tables = [_most_unusual(survey, group) for _, group in views]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=["split", "image", "view", "z"])
    return table.sort_values("z", key=abs, ascending=False, kind="stable", ignore_index=True)


def _most_unusual(survey: Survey, features: pd.DataFrame) -> pd.DataFrame:
    usual = features.median()
    spread = 1.4826 * (features - usual).abs().median()  # as a standard deviation, if normal
    # (n, features); the least spread is chosen by eye: what hardly varies raises no alarm
    z = (features - usual) / spread.clip(lower=0.01)
    farthest = z.abs().fillna(0).to_numpy().argmax(axis=1)
    rows = np.arange(len(features))
    return survey.images.loc[features.index, ["split", "image", "view"]].assign(
        z=z.to_numpy()[rows, farthest],
        feature=features.columns[farthest],
        value=features.to_numpy()[rows, farthest],
        usual=usual.to_numpy()[farthest],
    )


def tree_lines(labels: LabelSet, table: pd.DataFrame | None = None) -> list[str]:
    """Return the label tree as indented lines, with each label's images if a table is given.

    A label that is annotated in no image says so."""
    lines = []
    for index, depth in labels.tree():
        count = ""
        if table is not None:
            row = table.iloc[index]
            count = f"  {row['images'] if row['annotated'] else 'not annotated'}"
        lines.append(f"{'    ' * depth}{labels.names[index]} ({index}){count}")
    return lines
