"""`LabelSet`: names, groups, sides, mirrors, parents and colours; `LABELS`: the 166 of PAXRay."""

from paxray_lib.labels.table import LABELS, LabelSet

__all__ = ["LABELS", "LabelSet"]
