"""Count first, score after.

counting: pixels in prediction and target; scores: IoU, Dice and their means under two conventions;
surface: how far outlines lie apart; calibration: whether probabilities are what they say;
bootstrap: confidence intervals over patients.
"""

from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import CONVENTIONS, dice, iou, mean_score

__all__ = ["CONVENTIONS", "Counts", "counts", "dice", "iou", "mean_score"]
