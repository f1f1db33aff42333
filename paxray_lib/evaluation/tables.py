"""Tables of an evaluation: every score by label, group and view, from the counts alone, with
confidence intervals.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.bootstrap import (
    draw_weights,
    interval,
    mean_over_labels,
    patients_scored,
    patients_with,
    resample_per_label,
)
from paxray_lib.metrics.counting import Counts
from paxray_lib.metrics.scores import dice, iou, mean_score, per_label, precision, recall
from paxray_lib.metrics.surface import Surface

COLUMNS = (
    ("iou", "published"),
    ("iou", "present"),
    ("dice", "published"),
    ("dice", "present"),
    ("precision", "present"),
    ("recall", "present"),
    ("nsd", "present"),
)
"""Scores with their convention; their column is called score_convention."""
WITH_INTERVAL = ("iou_present", "dice_present", "nsd_present")
"""Columns that have an interval in the table of labels; in the summary all have one."""


def image_scores(found: Counts, surface: Surface | None = None) -> dict[str, np.ndarray]:
    """Return each score by image and label, (N, L) float64: iou, dice, precision, recall, and with
    a surface nsd.
    """
    scores = {
        "iou": iou(found),
        "dice": dice(found),
        "precision": precision(found),
        "recall": recall(found),
    }
    return scores if surface is None else {**scores, "nsd": surface.nsd}


def columns_of(scores: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, str]]:
    """Return {column: (scores by image and label, convention)} of the scores at hand."""
    return {
        f"{name}_{convention}": (scores[name], convention)
        for name, convention in COLUMNS
        if name in scores
    }


def per_label_table(
    found: Counts,
    labels: LabelSet,
    cases: Sequence[str] | None = None,
    surface: Surface | None = None,
) -> pd.DataFrame:
    """Return one row a label index.

    Columns: index, label, group, side; images (whose target has the label), missed and invented
    (images where only the target, only the prediction has it), pixels (of the target in all
    images); iou_published, iou_present, dice_published, dice_present (means over images, see
    `paxray_lib.metrics`), precision_present (mean over the images with the label in the
    prediction), recall_present (in the target). With `surface`: nsd_present (mean over the images
    with the label in either; tolerance 2 px), hd95_median (pixels, over the same images). With
    `cases`: iou_present_low, iou_present_high and the same for dice and nsd, a 95 % interval (see
    `paxray_lib.bootstrap`)."""
    true, predicted = found.tp + found.fn > 0, found.tp + found.fp > 0
    table = pd.DataFrame(
        {
            "index": range(len(labels)),
            "label": labels.names,
            "group": labels.group,
            "side": labels.side,
        }
    )
    table["images"], table["missed"] = true.sum(axis=0), (true & ~predicted).sum(axis=0)
    table["invented"], table["pixels"] = (
        (predicted & ~true).sum(axis=0),
        (found.tp + found.fn).sum(axis=0),
    )
    columns = columns_of(image_scores(found, surface))
    for column, (values, convention) in columns.items():
        table[column] = per_label(values, convention)
    if surface is not None:
        table["hd95_median"] = [median(values) for values in surface.hd95.T]
    if cases is not None:
        weights = draw_weights(cases)
        for column in [column for column in WITH_INTERVAL if column in columns]:
            values, convention = columns[column]
            enough = patients_with(values, cases) > 1
            for end, numbers in zip(
                ("low", "high"),
                interval(resample_per_label(values, weights, convention)),
                strict=True,
            ):
                table[f"{column}_{end}"] = np.where(enough, numbers, np.nan)
    return table


def summarize(
    found: Counts,
    labels: LabelSet,
    views: Sequence[str],
    cases: Sequence[str],
    surface: Surface | None = None,
) -> dict:
    """Return {"overall": scores, "views": {view: scores}, "groups": {group: scores}}.

    Scores: images, patients, labels; labels_scored (those that are in the prediction or target of
    an image: the means of the convention "present" are over these, those of "published" over all;
    precision and recall may have fewer still); iou_published, iou_present, dice_published,
    dice_present, precision_present, recall_present, with a surface nsd_present: means over images,
    then over labels; each with NAME_interval, the two ends of its 95 % interval (None where a
    single patient has scores). With a surface, over all images and labels where the label is in
    prediction or target: hd95_median in pixels, and hd95_infinite_share, the share of them (0 to 1)
    where it is in one of the two alone, which is an infinite distance. A score without any value is
    None. The median is None too where it is infinite, that is where that share is a half or more.
    """
    views, cases = np.asarray(views), np.asarray(cases)
    groups = {
        group: [i for i, g in enumerate(labels.group) if g == group] for group in labels.groups
    }
    scores, weights = image_scores(found, surface), draw_weights(cases)
    hd95 = None if surface is None else surface.hd95
    resampled = _resampled(scores, weights)
    everywhere = list(range(len(labels)))
    all_images = np.full(len(views), True)
    result: dict = {
        "overall": _scores(scores, hd95, resampled, cases, all_images, everywhere),
        "views": {},
    }
    for view in sorted(set(views.tolist())):
        chosen = views == view
        part = _resampled(
            {name: values[chosen] for name, values in scores.items()}, weights[:, chosen]
        )
        result["views"][view] = _scores(scores, hd95, part, cases, chosen, everywhere)
    result["groups"] = {
        group: _scores(scores, hd95, resampled, cases, all_images, indices)
        for group, indices in groups.items()
    }
    return result


def _resampled(scores: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return {column: (R, L) means over the images of each resample}."""
    columns = columns_of(scores)
    return {
        column: resample_per_label(values, weights, convention)
        for column, (values, convention) in columns.items()
    }


def _scores(
    scores, hd95, resampled, cases: np.ndarray, images: np.ndarray, labels: list[int]
) -> dict:
    """Return the scores of some images (a boolean array) and labels (indices)."""
    result: dict = {
        "images": int(images.sum()),
        "patients": len(set(cases[images].tolist())),
        "labels": len(labels),
    }
    result["labels_scored"] = labels_scored(scores["iou"][images][:, labels], "present")
    for column, (values, convention) in columns_of(scores).items():
        chosen = values[images][:, labels]
        result[column] = _plain(mean_score(chosen, convention))
        enough = patients_scored(chosen, cases[images], convention) > 1
        ends = (
            interval(mean_over_labels(resampled[column][:, labels])) if enough else (np.nan, np.nan)
        )
        result[f"{column}_interval"] = [_plain(end) for end in ends]
    if hd95 is not None:
        distances = hd95[images][:, labels]
        known = distances[~np.isnan(distances)]
        result["hd95_median"] = _plain(median(distances))
        result["hd95_infinite_share"] = float(np.isinf(known).mean()) if len(known) else None
    return result


def labels_scored(values: np.ndarray, convention: str) -> int:
    """Return how many labels have a mean, of (N, L) scores by image and label with NaN where both
    sides are empty.
    """
    return int((~np.isnan(per_label(values, convention))).sum())


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None  # JSON has no other


def median(values: np.ndarray) -> float:
    """Return the median of the values that are not NaN, among them infinite ones; NaN if there is
    none.

    Of an even number the upper one of the two in the middle is taken: the mean with an infinite one
    is no distance."""
    known = np.sort(values[~np.isnan(values)])
    return float(known[len(known) // 2]) if len(known) else float("nan")


def score_frame(scores: Mapping) -> pd.DataFrame:
    """Return scores of `summarize` as a table for people: one row a score; value, low, high; NaN
    for none.

    A median distance that is infinite, for which a summary has None, is infinite here.

    >>> score_frame({"images": 2, "iou_present": 0.5, "iou_present_interval": [0.25, 0.75], "nsd_present": None})
                 value   low  high
    iou_present    0.5  0.25  0.75
    nsd_present    NaN   NaN   NaN
    """
    rows = {
        name: (
            np.inf if _is_infinite(scores, name) else value,
            *scores.get(f"{name}_interval", (None, None)),
        )
        for name, value in scores.items()
        if not isinstance(value, (list, int))
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).astype(
        np.float64
    )


def score_lines(scores: Mapping) -> list[str]:
    """Return lines of text for people from scores of `summarize`: a name, its value, and its
    interval.

    >>> score_lines({"images": 2, "iou_present": 0.5, "iou_present_interval": [0.25, 0.75], "nsd_present": None})
    ['images              2', 'iou_present         0.5000 (95 % interval 0.2500 to 0.7500)', 'nsd_present         none']
    >>> score_lines({"hd95_median": None, "hd95_infinite_share": 0.5})[0]
    'hd95_median         infinite: half of the outlines or more are missed or invented'
    """
    lines = []
    for name, value in scores.items():
        if isinstance(value, list):
            continue
        low, high = scores.get(f"{name}_interval", (None, None))
        ends = "" if low is None else f" (95 % interval {low:.4f} to {high:.4f})"
        text = "none" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"
        if _is_infinite(scores, name):
            text = "infinite: half of the outlines or more are missed or invented"
        lines.append(f"{name:19} {text}{ends}")
    return lines


def _is_infinite(scores: Mapping, name: str) -> bool:
    """Say whether a score is the median distance, and None in the summary because it is
    infinite.
    """
    return (
        name == "hd95_median"
        and scores[name] is None
        and (scores.get("hd95_infinite_share") or 0) >= 0.5
    )
