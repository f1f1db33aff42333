"""Count first, score after: counts, scores under two conventions, surfaces, calibration, bootstrap."""

from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import CONVENTIONS, dice, iou, mean_score

__all__ = ["CONVENTIONS", "Counts", "counts", "dice", "iou", "mean_score"]
