"""Labels of several sets by name: equal names pair in order of occurrence."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from paxray_lib.labels.table import LabelSet


def match(labels: LabelSet, others: LabelSet) -> np.ndarray:
    """Return for each of L labels its index among the others, (L,) int64, -1 for none.

    >>> match(LabelSet(["heart", "aorta", "heart"]), LabelSet(["heart", "lung"])).tolist()
    [0, -1, -1]
    """
    places = {key: i for i, key in enumerate(_numbered(others))}
    return np.array([places.get(key, -1) for key in _numbered(labels)], np.int64)


def unite(sets: Iterable[LabelSet]) -> LabelSet:
    """Return the labels of all sets: those of the first, then what each next one adds.

    >>> unite([LabelSet(["heart", "lung"]), LabelSet(["aorta", "heart", "heart"])]).names
    ('heart', 'lung', 'aorta', 'heart')
    """
    return LabelSet(name for name, _ in dict.fromkeys(k for some in sets for k in _numbered(some)))


def _numbered(labels: LabelSet) -> list[tuple[str, int]]:
    """Return each name with how often it came before."""
    seen: Counter[str] = Counter()
    keys = []
    for name in labels.names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys
