"""Count first, score after.

counting: pixels in prediction and target; scores: IoU, Dice and their means under two conventions;
surface: how far outlines lie apart; calibration: whether probabilities are what they say;
bootstrap: confidence intervals over patients.
"""

from paxray_lib.metrics.bootstrap import draw_weights, interval, resample_mean
from paxray_lib.metrics.calibration import Reliability, bin_pixels, calibration_error
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import (
    CONVENTIONS,
    dice,
    fill,
    iou,
    known_mean,
    mean_score,
    per_label,
    precision,
    recall,
)
from paxray_lib.metrics.surface import Surface

__all__ = [
    "CONVENTIONS", "Counts", "Reliability", "Surface", "bin_pixels", "calibration_error", "counts",
    "dice", "draw_weights", "fill", "interval", "iou", "known_mean", "mean_score", "per_label",
    "precision", "recall", "resample_mean",
]  # fmt: skip
