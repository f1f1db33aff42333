"""Scores that order the images of any source, the worst first, without a table of scores."""

from collections.abc import Callable

import numpy as np

from paxray_lib.masks.measures import moments
from paxray_lib.metrics import counts, iou
from paxray_lib.quality.anatomy_rules import rules
from paxray_lib.viewer.scene import Scene


def iou_present(scene: Scene) -> float:
    """Return the mean IoU of the labels that are in either stack; NaN if one is missing."""
    if scene.target is None or scene.prediction is None:
        return np.nan
    scores = iou(counts(scene.prediction, scene.target))[0]
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else np.nan


def rules_kept(scene: Scene) -> float:
    """Return which part of the anatomy rules between labels that are there is kept, 0..1.

    The rules are those of `quality.anatomy_rules`, of the prediction if there is one. NaN if none
    applies.
    """
    masks = scene.target if scene.prediction is None else scene.prediction
    if masks is None:
        return np.nan
    found, spine = moments(masks), masks.labels.find("spine")
    from_spine = np.abs(found.columns - (found.columns[spine[0]] if spine else np.nan))
    places = {"below": found.rows}
    if scene.view == "frontal":
        places["left of"] = found.columns
    if scene.view == "lateral":
        places["before"] = from_spine
    kept = []
    for kind, first, second in rules(masks.labels):
        if kind == "in" and found.areas[first] and found.areas[second]:
            kept.append(found.shared[first, second] / found.areas[first])
        elif kind in places and not np.isnan(places[kind][[first, second]]).any():
            kept.append(float(places[kind][first] > places[kind][second]))
    return float(np.mean(kept)) if kept else np.nan


#: By the name of the column.
RANKS: dict[str, Callable[[Scene], float]] = {
    "iou_present": iou_present,
    "rules_kept": rules_kept,
}


def rank(rule: str, load: Callable[[int], Scene], count: int) -> list[float | None]:
    """Return a score of each of `count` images; None for one that has none or cannot be read."""
    scores: list[float | None] = []
    for index in range(count):
        try:
            score = RANKS[rule](load(index))
        except (ValueError, OSError):  # the viewer says why once the image is opened
            score = np.nan
        scores.append(None if np.isnan(score) else score)
    return scores
