"""Labels to choose from: the search of picker and viewer, and what they show at first."""

from collections.abc import Iterable

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


def choose(
    labels: LabelSet, selected: str | Iterable[str] | None, masks: PackedMasks | None
) -> list[int]:
    """Return the indices of what is selected, or else of what is shown at first.

    At first these are lungs and heart as far as they are in the masks, or the first label there.
    """
    if selected is not None:
        return labels.select(selected)
    present = np.flatnonzero(masks.counts()).tolist() if masks is not None else []
    return [i for i in present if labels.names[i] in _SHOWN_FIRST] or present[:1]
