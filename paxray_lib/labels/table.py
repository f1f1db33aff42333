"""The label table of PAXRay: 166 anatomy labels with group, side, mirror label, parents and colour.

The names and their order are those of the published `label_dict` (Seibold et al., BMVC 2022, arXiv
2210.03416); everything else in `labels.csv` is added here. Parents are part-whole relations that
hold for every patient: a lobe lies in its lung, `rib_left_anterior_3` in `rib_left_3` and in
`rib_anterior_3`. The aorta, the esophagus and the airways leave the mediastinum (through the
diaphragm, the neck and the hila), so they have no parent."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paxray_lib.utils.errors import did_you_mean


class _Row(NamedTuple):
    group: str
    side: str
    mirror: str
    parents: tuple[str, ...]
    color: tuple[int, int, int]


def _read_table() -> tuple[list[str], dict[str, _Row]]:
    names, rows = [], {}
    with Path(__file__).with_name("labels.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            name = line["name"]
            color = tuple(bytes.fromhex(line["color"].removeprefix("#")))
            names.append(name)
            # the second `mediastinum_upper` is the same part; `colors` makes its own shade
            rows.setdefault(
                name,
                _Row(
                    line["group"],
                    line["side"],
                    line["mirror"],
                    tuple(line["parents"].split()),
                    color,
                ),
            )
    return names, rows


_NAMES, _ROWS = _read_table()
_OTHER_SIDE = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
_OTHER_SIDE |= {right: left for left, right in _OTHER_SIDE.items()}
# neither after nor before a letter
_SIDE_WORD = re.compile(rf"(?<![^\W\d_])({'|'.join(_OTHER_SIDE)})(?![^\W\d_])")


def _side_of(name: str) -> str:
    if name in _ROWS:
        return _ROWS[name].side
    words = {word.lower() for word in _SIDE_WORD.findall(name)}
    return words.pop() if len(words) == 1 else ""  # "left and right lung" has both sides


def _mirror_of(name: str) -> str:
    if name in _ROWS:
        return _ROWS[name].mirror
    return _SIDE_WORD.sub(lambda word: _OTHER_SIDE[word[0]], name) if _side_of(name) else name


class LabelSet(Sequence):
    """An ordered, immutable list of label names with what is known about each.

    Names of the published table get its group, side, mirror, parents and colour. Other names are
    kept with group "other", no parent, and a colour made from their position; one with the word
    "left" or "right" (also "Left" or "LEFT") has that side, and the name with the other word as
    mirror, others no side and themselves as mirror.

    Parameters
    ----------
    names : iterable of str
        Label names in the order of the mask channels. A name may occur more than once
        (`mediastinum_upper` does in the published table); no occurrence is lost.

    Raises
    ------
    ValueError
        If there is no name, or one is not a non-empty string.

    Examples
    --------
    >>> LABELS.index("mediastinum_upper")
    [12, 16]
    >>> [LABELS.names[i] for i in LABELS.select("heart", "rib_left_1?")]
    ['heart', 'rib_left_10', 'rib_left_11', 'rib_left_12']
    """

    def __init__(self, names: Iterable[str]):
        if isinstance(names, str):
            raise ValueError(
                f"label names must be a list of strings, got the string {names!r}; put it in brackets"
            )
        self.names: tuple[str, ...] = tuple(names)
        bad = [name for name in self.names if not isinstance(name, str) or not name]
        if bad or not self.names:
            raise ValueError(
                f"label names must be non-empty strings, got {bad[:3] if bad else 'none at all'}"
            )

    @classmethod
    def from_label_dict(cls, label_dict: Mapping[str, str]) -> "LabelSet":
        """Build from the `label_dict` of a `paxray.json`: keys "0".."L-1" (strings or integers),
        values names.
        """
        if not isinstance(label_dict, Mapping):
            raise ValueError(
                f"label_dict must be an object of index: name, got {type(label_dict).__name__}"
            )
        keyed = {str(key): name for key, name in label_dict.items()}
        missing = [str(i) for i in range(len(keyed)) if str(i) not in keyed]
        if missing:
            raise ValueError(
                f"label_dict must have the keys 0..{len(keyed) - 1}, but {', '.join(missing[:5])} is missing"
            )
        return cls(keyed[str(i)] for i in range(len(keyed)))

    def to_label_dict(self) -> dict[str, str]:
        """Return the `label_dict` of a `paxray.json`."""
        return {str(i): name for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        return self.names[index]

    def __eq__(self, other) -> bool:
        return isinstance(other, LabelSet) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self) > 3 else "")
        return f"LabelSet({len(self)} labels: {shown})"

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            found.setdefault(name, []).append(i)
        return found

    @cached_property
    def display_names(self) -> tuple[str, ...]:
        """Names for people to read and choose from, each unique.

        A name that occurs once stays as it is. One that occurs more often gets its index: the
        published table calls two labels `mediastinum_upper`, at 12 and 16, and nobody could tell
        "mediastinum_upper" from "mediastinum_upper" in a list.

        >>> LABELS.display_names[11:13]
        ('mediastinum_lower', 'mediastinum_upper (12)')
        """
        return tuple(
            name if len(self._indices[name]) == 1 else f"{name} ({i})"
            for i, name in enumerate(self.names)
        )

    @cached_property
    def group(self) -> tuple[str, ...]:
        """Group of each label: lungs, mediastinum, heart, airways, esophagus, great_vessels, bones,
        vertebrae, ribs, diaphragms, or other."""
        return tuple(_ROWS[name].group if name in _ROWS else "other" for name in self.names)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups that occur, in order of first appearance."""
        return tuple(dict.fromkeys(self.group))

    @cached_property
    def side(self) -> tuple[str, ...]:
        """ "left" or "right" (of the patient) for each label, or "" for what has no side."""
        return tuple(_side_of(name) for name in self.names)

    @cached_property
    def mirror(self) -> np.ndarray:
        """(L,) int64 permutation: the label that each becomes in a mirrored frontal image.

        The right middle lobe has no counterpart and maps to itself. So does a label whose
        counterpart is not in the set; `PackedMasks.flip` refuses to mirror such a set."""
        mirror = np.arange(len(self))
        for name, places in self._indices.items():
            mirror[places] = self._counterparts(name) or places
        return mirror

    @cached_property
    def without_mirror(self) -> tuple[str, ...]:
        """Names whose counterpart on the other side is not in the set (or not as often)."""
        return tuple(name for name in self._indices if not self._counterparts(name))

    def _counterparts(self, name: str) -> list[int]:
        """Return the indices of a label's mirror label; none where it is not in the set, or not as
        often.
        """
        other = _mirror_of(name)
        found = self._indices.get(other, [])
        # a name beside the table, lung_left_lobemiddle, say, may lead to one of the table that has
        # no counterpart
        return found if _mirror_of(other) == name and len(found) == len(self._indices[name]) else []

    @cached_property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """Direct wholes of each label, as indices; the nearest ones in the set where a direct one
        is not in it.
        """
        return tuple(tuple(sorted(self._nearest(name))) for name in self.names)

    def _nearest(self, name: str) -> set[int]:
        found: set[int] = set()
        for parent in _ROWS[name].parents if name in _ROWS else ():
            found |= (
                set(self._indices[parent]) if parent in self._indices else self._nearest(parent)
            )
        return found

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Direct parts of each label, as indices: the inverse of `parents`."""
        found: list[list[int]] = [[] for _ in self.names]
        for child, parents in enumerate(self.parents):
            for parent in parents:
                found[parent].append(child)
        return tuple(map(tuple, found))

    @cached_property
    def colors(self) -> np.ndarray:
        """(L, 3) uint8 RGB, the same for fill and outline, distinct within the published table."""
        colors = np.array([_color(name, i) for i, name in enumerate(self.names)], np.uint8)
        for places in self._indices.values():
            # a repeated name: a neighbouring shade, so that none hides another
            for k, i in enumerate(places[1:], 1):
                colors[i] = np.clip(colors[i].astype(int) + 16 * k, 0, 255)
        return colors

    def tree(self) -> list[tuple[int, int]]:
        """Return (index, depth) of every label in display order, each below its first parent."""
        first: list[list[int]] = [[] for _ in self.names]
        for child, parents in enumerate(self.parents):
            if parents:
                first[parents[0]].append(child)
        order: list[tuple[int, int]] = []
        stack = [(i, 0) for i in reversed(range(len(self))) if not self.parents[i]]
        while stack:
            index, depth = stack.pop()
            order.append((index, depth))
            stack += [(child, depth + 1) for child in reversed(first[index])]
        return order

    def index(self, name: str) -> list[int]:
        """Return all indices that bear `name`.

        Raises
        ------
        ValueError
            If no label has that name; the message lists near matches.
        """
        if name not in self._indices:
            raise ValueError(f"unknown label {name!r}{did_you_mean(name, self.names)}")
        return list(self._indices[name])

    def select(self, *wanted: str | Iterable[str]) -> list[int]:
        """Return the indices of names, groups and shell-style patterns, ascending and without
        repetition.

        A group stands for all of its labels; where a label has a group's name (`ribs`) the group is
        meant, and the pattern ``"rib[s]"`` or `index("ribs")` is the label alone.

        Raises
        ------
        ValueError
            If one of them matches nothing, with near matches in the message, or is no text.
        """
        found: set[int] = set()
        for item in wanted:
            if not isinstance(item, str | Iterable):
                raise ValueError(
                    f"label names, groups or patterns are needed, got {item!r}; see LabelSet.names"
                )
            found.update(self._select_one(item) if isinstance(item, str) else self.select(*item))
        return sorted(found)

    def _select_one(self, item: str) -> list[int]:
        item = item.strip()
        hits = [i for i, group in enumerate(self.group) if group == item]
        hits = (
            hits
            or self._indices.get(item, [])
            or [i for i, n in enumerate(self.names) if fnmatchcase(n, item)]
        )
        if not hits:
            raise ValueError(
                f"unknown label, group or pattern {item!r}{did_you_mean(item, self.names + self.groups)}"
            )
        return hits


def _color(name: str, index: int) -> tuple[int, int, int]:
    if name in _ROWS:
        return _ROWS[name].color
    hue = (index * 0.381966) % 1  # the golden section keeps neighbouring positions apart
    return tuple(
        int(95 + 160 * max(0.0, min(1.0, abs((6 * hue + shift) % 6 - 3) - 1)))
        for shift in (0, 4, 2)
    )


LABELS = LabelSet(_NAMES)
"""The published table of 166 labels."""


def tree_pairs(labels: LabelSet) -> list[tuple[int, int]]:
    """Return (child, parent) for every step of the label tree."""
    return [(child, parent) for child, parents in enumerate(labels.parents) for parent in parents]
