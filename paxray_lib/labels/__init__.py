"""`LabelSet`: names, groups, sides, mirrors, parents and colours.

`LABELS` are the 166 of PAXRay, `CXAS_LABELS` the 159 of CXAS.
"""

from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet

__all__ = ["CXAS_LABELS", "LABELS", "LabelSet"]
