"""Tables of an evaluation: every score by label, group and view, with confidence intervals.

All of them are made from the counts alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from paxray_lib import metrics
from paxray_lib.labels.table import LabelSet

#: Scores with their convention, in the order of files; their column is called score_convention.
COLUMNS = (
    ("iou", "published"), ("iou", "present"), ("dice", "published"), ("dice", "present"),
    ("precision", "present"), ("recall", "present"), ("nsd", "present"),
)  # fmt: skip
#: Columns that have an interval in the table of labels; in the summary all have one.
WITH_INTERVAL = ("iou_present", "dice_present", "nsd_present")


def list_parts(
    labels: LabelSet, views: Iterable[str]
) -> Iterator[tuple[str, str, np.ndarray, list[int]]]:
    """Yield all images and labels, then each view, then each group of labels.

    As scope ("overall", "view", "group"), name, images as (N,) bool, indices of labels.
    """
    views, everything = np.asarray(views), list(range(len(labels)))
    everywhere = np.full(len(views), True)
    yield "overall", "overall", everywhere, everything
    for view in sorted(set(views.tolist())):
        yield "view", view, views == view, everything
    for group in labels.groups:
        yield "group", group, everywhere, [i for i in everything if labels.group[i] == group]


def score_columns(
    counts: metrics.Counts, surface: metrics.Surface | None = None
) -> dict[str, np.ndarray]:
    """Return {column: scores by image and label, (N, L) float64}, filled by its convention.

    NaN where an image has no entry for a label."""
    scores = {
        name: getattr(metrics, name)(counts) for name in ("iou", "dice", "precision", "recall")
    }
    if surface is not None:
        scores["nsd"] = surface.nsd
    return {
        f"{name}_{kind}": metrics.fill(scores[name], kind, counts.known)
        for name, kind in COLUMNS
        if name in scores
    }


def per_label_table(
    counts: metrics.Counts,
    labels: LabelSet,
    cases: Iterable[str] | None = None,
    surface: metrics.Surface | None = None,
) -> pd.DataFrame:
    """Return one row per label index.

    Columns: index, label, group, side, checked (see `LabelSet`); annotated (images in which the
    label is known), images (whose target has the label), missed and invented (images where only the
    target, only the prediction has it), pixels (of the target in all images); iou_published,
    iou_present, dice_published, dice_present (means over images, see `metrics.scores`),
    precision_present (mean over the images with the label in the prediction), recall_present (in
    the target). With
    `surface`: nsd_present (mean over the images with the label in either; tolerance 2 px),
    hd95_median (pixels, over the same images). With `cases`: iou_present_low, iou_present_high and
    the same for dice and nsd, a 95 % interval (see `metrics.bootstrap`).
    """
    true, predicted = counts.tp + counts.fn, counts.tp + counts.fp
    columns: dict[str, Any] = {
        "index": range(len(labels)),
        "label": labels.names,
        "group": labels.group,
        "side": labels.side,
        "checked": labels.checked,
        "annotated": counts.known.sum(axis=0),
        "images": (true > 0).sum(axis=0),
        "missed": ((true > 0) & (predicted == 0)).sum(axis=0),
        "invented": ((true == 0) & (predicted > 0)).sum(axis=0),
        "pixels": true.sum(axis=0),
    }
    scores = score_columns(counts, surface)
    columns |= {name: metrics.known_mean(values, axis=0) for name, values in scores.items()}
    if surface is not None:
        # of an even number the upper one in the middle: a mean with an infinite one is no distance
        columns["hd95_median"] = pd.DataFrame(surface.hd95).quantile(interpolation="higher")
    if cases is not None:
        cases, weights = np.asarray(cases), metrics.draw_weights(cases)
        for name in [name for name in WITH_INTERVAL if name in scores]:
            means = [metrics.resample_mean(v[:, None], weights, cases) for v in scores[name].T]
            low, high = metrics.interval(np.stack(means, axis=1))
            columns |= {f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns)


def summarize(
    counts: metrics.Counts,
    labels: LabelSet,
    views: Iterable[str],
    cases: Iterable[str],
    surface: metrics.Surface | None = None,
) -> dict[str, Any]:
    """Return {"overall": scores, "views": {view: scores}, "groups": {group: scores}}.

    Scores: images, patients, labels; labels_annotated (those that are known in an image: no other
    has a part in any score); labels_scored (those that are in the prediction or target of
    an image: the means of the convention "present" are over these, those of "published" over those
    annotated;
    precision and recall may have fewer still); iou_published, iou_present, dice_published,
    dice_present, precision_present, recall_present, with a surface nsd_present: means over images,
    then over labels; each with NAME_interval, the two ends of its 95 % interval (None where a
    single patient has scores). With a surface, over all images and labels where the label is in
    prediction or target: hd95_median in pixels, and hd95_infinite_share, the share of them (0 to 1)
    where it is in one of the two alone, which is an infinite distance. A score without any value is
    None. The median is None too where it is infinite, that is where that share is a half or more.
    """
    columns, cases = score_columns(counts, surface), np.asarray(cases)
    weights = metrics.draw_weights(cases)
    found: dict[str, dict[str, Any]] = {"overall": {}, "view": {}, "group": {}}
    for scope, name, images, indices in list_parts(labels, views):
        occurs = ~np.isnan(columns["iou_present"][images][:, indices])
        scores = found[scope][name] = {
            "images": len(occurs),
            "patients": len(np.unique(cases[images])),
            "labels": len(indices),
            "labels_annotated": int(counts.known[images][:, indices].any(axis=0).sum()),
            "labels_scored": int(occurs.any(axis=0).sum()),
        }
        for column, values in columns.items():
            part = values[images][:, indices]
            means = metrics.resample_mean(part, weights[:, images], cases[images])
            scores[column] = _json_number(metrics.mean_score(part, "present"))
            scores[f"{column}_interval"] = [_json_number(end) for end in metrics.interval(means)]
        if surface is not None:
            known = pd.Series(surface.hd95[images][:, indices].ravel()).dropna()
            scores["hd95_median"] = _json_number(known.quantile(interpolation="higher"))
            scores["hd95_infinite_share"] = _json_number(np.isinf(known).mean())
    overall = found["overall"]["overall"]
    return {"overall": overall, "views": found["view"], "groups": found["group"]}


def _json_number(value: float | np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None  # JSON has no other


def score_frame(scores: Mapping[str, Any]) -> pd.DataFrame:
    """Return scores of `summarize` as a table for people: one row per score; value, low, high.

    NaN for none; a median distance that is infinite, None in a summary, is infinite here.

    >>> scores = {"iou_present": 0.5, "iou_present_interval": [0.25, 0.75], "nsd_present": None}
    >>> score_frame(scores)
                 value   low  high
    iou_present    0.5  0.25  0.75
    nsd_present    NaN   NaN   NaN
    """
    rows = {
        name: (value, *scores.get(f"{name}_interval", (None, None)))
        for name, value in scores.items()
        if not isinstance(value, (list, int))
    }
    frame = pd.DataFrame.from_dict(rows, "index", columns=["value", "low", "high"], dtype=float)
    if (scores.get("hd95_infinite_share") or 0) >= 0.5:
        frame.loc["hd95_median", "value"] = np.inf
    return frame


def score_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return lines of text for people from scores of `summarize`: name, value, interval.

    >>> score_lines({"images": 2, "iou_present": 0.5, "iou_present_interval": [0.25, 0.75]})
    ['images              2', 'iou_present         0.5000 (95 % interval 0.2500 to 0.7500)']
    >>> score_lines({"hd95_median": None, "hd95_infinite_share": 0.5})[0]
    'hd95_median         infinite: half of the outlines or more are missed or false positives'
    """
    lines = [f"{name:19} {value}" for name, value in scores.items() if isinstance(value, int)]
    for name, value, low, high in score_frame(scores).itertuples():
        text = "none" if np.isnan(value) else f"{value:.4f}"
        if np.isinf(value):
            text = "infinite: half of the outlines or more are missed or false positives"
        ends = "" if np.isnan(low) else f" (95 % interval {low:.4f} to {high:.4f})"
        lines.append(f"{name:19} {text}{ends}")
    return lines
