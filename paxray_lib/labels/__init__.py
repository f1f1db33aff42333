"""`LabelSet`: names, groups, sides, mirrors, parents, colours and what was checked.

`LABELS` are the 166 of PAXRay, `CXAS_LABELS` the 159 of CXAS.
"""

from paxray_lib.labels.listing import CHECK_MARKS
from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet

__all__ = ["CHECK_MARKS", "CXAS_LABELS", "LABELS", "LabelSet"]
