"""Scores that order the images of any source, the worst first, without a table of scores."""

from collections.abc import Callable, Iterable

import numpy as np

from paxray_lib.masks import PackedMasks
from paxray_lib.masks.measures import moments
from paxray_lib.metrics import counts, iou
from paxray_lib.quality.anatomy_rules import count_broken
from paxray_lib.viewer.scene import Scene


def iou_present(scene: Scene) -> float:
    """Return the mean IoU of the labels that are in either stack; NaN if one is missing.

    A label that one of the two does not know takes no part.
    """
    target, prediction = scene.target, scene.prediction
    if target is None or prediction is None:
        return np.nan
    scores = iou(counts(prediction, target.knowing(target.known & prediction.known)))[0]
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else np.nan


def rules_kept(masks: PackedMasks | None, view: str | None) -> float:
    """Return which part of the anatomy rules between labels that are there is kept, 0..1.

    The rules are those of `quality.anatomy_rules`. NaN if none applies.
    """
    if masks is None:
        return np.nan
    broken, rules = count_broken(moments(masks), masks.labels, view)
    return 1 - broken / rules if rules else np.nan


def score(rule: str, scene: Scene, of_target: bool) -> float:
    """Return the score of a scene: `iou_present`, `disagreement` (1 - that) or `rules_kept`.

    The anatomy rules are those of the prediction, if there is one and not the target is asked for.
    """
    if rule == "iou_present":
        return iou_present(scene)
    if rule == "disagreement":
        return 1 - iou_present(scene)
    is_target = of_target or scene.prediction is None
    return rules_kept(scene.target if is_target else scene.prediction, scene.view)


def rank(
    rule: str, load: Callable[[int], Scene], positions: Iterable[int], of_target: bool = False
) -> dict[int, float | None]:
    """Return a score for each position; None for an image that has none or cannot be read."""
    scores: dict[int, float | None] = {}
    for position in positions:
        try:
            value = score(rule, load(position), of_target)
        except (ValueError, OSError):  # the viewer says why once the image is opened
            value = np.nan
        scores[position] = None if np.isnan(value) else value
    return scores
