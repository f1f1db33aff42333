"""The published table of 166 labels, and ``LabelSet``: names, groups, sides, mirrors, parents, colours."""

from paxray_lib.labels.table import LABELS, LabelSet

__all__ = ["LABELS", "LabelSet"]
