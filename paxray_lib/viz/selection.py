"""Labels to choose from: the search of picker and viewer, and what they show at first."""

import numpy as np

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks

_SHOWN_FIRST = ("lung_left", "lung_right", "heart")


def search_labels(labels: LabelSet, text: str) -> list[int]:
    """Return the indices of the labels that a search finds.

    Every word of the text must occur in the name of the label or of its group, in any order, and
    be it in part. Capital and small letters are the same, and an underscore counts as a space.
    The viewer's JavaScript repeats this rule.

    >>> labels = LabelSet(["rib_left_1", "rib_right_1", "heart"])
    >>> search_labels(labels, "left rib"), search_labels(labels, "RIB_1"), search_labels(labels, "")
    ([0], [0, 1], [0, 1, 2])
    """
    words = _as_searched(text).split()
    names = [_as_searched(f"{name} {labels.group[i]}") for i, name in enumerate(labels.names)]
    return [i for i, name in enumerate(names) if all(word in name for word in words)]


def _as_searched(text: str) -> str:
    return text.lower().replace("_", " ")


def first_selection(masks: PackedMasks) -> list[int]:
    """Return the labels shown at first: lungs and heart, or else the first one present."""
    present = np.flatnonzero(masks.counts()).tolist()
    return [i for i in present if masks.labels.names[i] in _SHOWN_FIRST] or present[:1]
