"""The label tables: anatomy labels with group, side, mirror label, parents and colour.

`labels.csv` has the 166 of PAXRay: the names and their order are those of the published
`label_dict` (Seibold et al., BMVC 2022, arXiv 2210.03416). `cxas_labels.csv` has the 159 of CXAS
0.0.20, trained on PAX-Ray++ (Seibold et al., arXiv 2306.03934). Everything else in them is added
here. Parents are part-whole relations that hold for every patient: `rib_left_anterior_3` lies in
`rib_left_3` and in `rib_anterior_3`, but the aorta, the esophagus and the airways leave the
mediastinum, so they have no parent. A chamber of the heart has no side: the left atrium, which lies
in the middle, is no mirror image of the right one."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.utils.errors import did_you_mean

_TABLE, _CXAS_TABLE = (
    list(csv.DictReader(Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()))
    for name in ("labels.csv", "cxas_labels.csv")
)
# the second `mediastinum_upper` is the same part; `LabelSet.colors` makes its own shade
_ROWS = {row["name"]: row for row in reversed(_TABLE + _CXAS_TABLE)}
# names that both tables have, such as `heart`, have the parents of both
_PARENTS: dict[str, set[str]] = defaultdict(set)
for _labelled in _TABLE + _CXAS_TABLE:
    _PARENTS[_labelled["name"]].update(filter(None, _labelled["parents"].split(";")))
MAX_LABELS = 4096  # more is a damaged or hostile file
MAX_NAME = 256
# neither control characters nor other line ends nor half characters; not blank
_NAME = re.compile(rf"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{1,{MAX_NAME}}}")
_OTHER_SIDE = {
    "left": "right", "Left": "Right", "LEFT": "RIGHT",
    "right": "left", "Right": "Left", "RIGHT": "LEFT",
}  # fmt: skip
# neither after nor before a letter
_SIDE_WORD = re.compile(rf"(?<![^\W\d_])({'|'.join(_OTHER_SIDE)})(?![^\W\d_])")


def _row(name: str) -> dict[str, str]:
    """Return what the table says of a name, or else what the name itself says."""
    if name in _ROWS:
        return _ROWS[name]
    sides = {word.lower() for word in _SIDE_WORD.findall(name)}
    row = {"group": "other", "side": "", "mirror": name}
    if len(sides) == 1:  # "left and right lung" has both
        mirror = _SIDE_WORD.sub(lambda word: _OTHER_SIDE[word[0]], name)
        row |= {"side": sides.pop(), "mirror": mirror}
    return row


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_LABELS:
        got = f"more than {MAX_LABELS}" if count else "none at all"
        raise ValueError(f"1 to {MAX_LABELS} label names are needed, got {got}")


class LabelSet(Sequence[str]):
    """An ordered, immutable list of label names with what is known about each.

    Names of the two tables get their group, side, mirror, parents and colour. Others have group
    "other", no parent, and a colour made from their position. One with the word "left" or "right"
    (also "Left" or "LEFT") has that side, and the name with the other word as mirror; others have
    no side and themselves as mirror.

    Parameters
    ----------
    names : iterable of str
        Label names in the order of the mask channels. A name may occur more than once, as
        `mediastinum_upper` does in the published table.

    Attributes
    ----------
    group, groups : tuple of str
        Group of each label: lungs, mediastinum, heart, airways, esophagus, great_vessels, bones,
        vertebrae, ribs, diaphragms, of CXAS also abdomen and breasts, or other; and those that
        occur, in order of first appearance.
    side : tuple of str
        Side of each label in the patient: "left", "right", or "" for what has no side.
    checked : tuple of str
        What the open model's masks of each were ever compared with: "films" (masks that people drew
        on real films), "ct" (projections of one real CT only), "none" (nothing real), or "" for a
        name that is not in PAXRay's table.

    Raises
    ------
    ValueError
        If there is no name, or more than `MAX_LABELS`, or one is not a text of one line, with 1 to
        `MAX_NAME` characters, not blank, without control characters.

    Examples
    --------
    >>> LABELS.index("mediastinum_upper")
    [12, 16]
    >>> [LABELS.names[i] for i in LABELS.select("heart", "rib_left_1?")]
    ['heart', 'rib_left_10', 'rib_left_11', 'rib_left_12']
    """

    def __init__(self, names: Iterable[str]):
        if isinstance(names, str):
            raise ValueError(f"label names: got the string {names!r:.80}; put it in brackets")
        self.names: tuple[str, ...] = tuple(islice(names, MAX_LABELS + 1))
        _check_count(len(self.names))
        bad = [name for name in self.names if not (isinstance(name, str) and _NAME.fullmatch(name))]
        if bad:
            raise ValueError(
                f"label names must be non-empty strings of one line, of {MAX_NAME} characters at "
                f"most, got {', '.join(f'{name!r:.80}' for name in bad[:3])}"
            )
        self.group = tuple(_row(name)["group"] for name in self.names)
        self.groups = tuple(dict.fromkeys(self.group))
        self.side = tuple(_row(name)["side"] for name in self.names)
        self.checked = tuple(_row(name).get("checked", "") for name in self.names)
        self._indices: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            self._indices.setdefault(name, []).append(i)

    @classmethod
    def from_label_dict(cls, label_dict: Mapping[str, str]) -> "LabelSet":
        """Build from the `label_dict` of a `paxray.json`: {"0": name, ...}, or integers as keys."""
        if not isinstance(label_dict, Mapping):
            raise ValueError(
                f"label_dict must be an object of index: name, got {type(label_dict).__name__}"
            )
        _check_count(len(label_dict))
        keyed = {str(key): name for key, name in label_dict.items()}
        missing = [str(i) for i in range(len(keyed)) if str(i) not in keyed]
        if missing:
            raise ValueError(
                f"label_dict must have the keys 0..{len(keyed) - 1}, "
                f"but {', '.join(missing[:5])} is missing"
            )
        return cls(keyed[str(i)] for i in range(len(keyed)))

    def to_label_dict(self) -> dict[str, str]:
        """Return the `label_dict` of a `paxray.json`."""
        return {str(i): name for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        return self.names[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSet) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self) > 3 else "")
        return f"LabelSet({len(self)} labels: {shown})"

    @cached_property
    def display_names(self) -> tuple[str, ...]:
        """Names for people to read and choose from; one that occurs more often gets its index.

        >>> LABELS.display_names[11:13]
        ('mediastinum_lower', 'mediastinum_upper (12)')
        """
        return tuple(
            name if len(self._indices[name]) == 1 else f"{name} ({i})"
            for i, name in enumerate(self.names)
        )

    @cached_property
    def mirror(self) -> np.ndarray:
        """(L,) int64 permutation: the label that each becomes in a mirrored frontal image.

        The right middle lobe has no counterpart and maps to itself. So does a label whose
        counterpart is not in the set; `PackedMasks.flip` refuses to mirror such a set."""
        mirror = np.arange(len(self))
        for name, indices in self._indices.items():
            mirror[indices] = self._counterparts(name) or indices
        return mirror

    @cached_property
    def without_mirror(self) -> tuple[str, ...]:
        """Names whose counterpart on the other side is not in the set (or not as often)."""
        return tuple(name for name in self._indices if not self._counterparts(name))

    def _counterparts(self, name: str) -> list[int]:
        """Return the indices of the mirror label, or none if it is not in the set as often."""
        other = _row(name)["mirror"]
        indices = self._indices.get(other, [])
        # an unknown name, lung_left_lobemiddle, say, may lead to a known one without counterpart
        is_pair = _row(other)["mirror"] == name and len(indices) == len(self._indices[name])
        return indices if is_pair else []

    @cached_property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """Direct wholes of each label, as indices; the nearest in the set for one that is not."""
        return tuple(tuple(sorted(self._nearest(name))) for name in self.names)

    def _nearest(self, name: str) -> set[int]:
        parents = _PARENTS.get(name, ())
        return {i for p in parents for i in self._indices.get(p) or self._nearest(p)}

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Direct parts of each label, as indices: the inverse of `parents`."""
        children: list[list[int]] = [[] for _ in self.names]
        for child, parent in tree_pairs(self):
            children[parent].append(child)
        return tuple(map(tuple, children))

    @cached_property
    def colors(self) -> np.ndarray:
        """(L, 3) uint8 RGB, the same for fill and outline, distinct within the published table."""
        colors = np.array([_color(name, i) for i, name in enumerate(self.names)], np.uint8)
        for indices in self._indices.values():
            # a repeated name: a neighbouring shade, so that none hides another
            for k, i in enumerate(indices[1:], 1):
                colors[i] = np.clip(colors[i].astype(int) + 16 * k, 0, 255)
        return colors

    def tree(self) -> list[tuple[int, int]]:
        """Return (index, depth) of every label in display order, each below its first parent."""
        below: dict[int | None, list[int]] = defaultdict(list)
        for i, parents in enumerate(self.parents):
            below[parents[0] if parents else None].append(i)

        def nodes(parent: int | None, depth: int) -> list[tuple[int, int]]:
            return [node for i in below[parent] for node in ((i, depth), *nodes(i, depth + 1))]

        return nodes(None, 0)

    def index(self, name: str) -> list[int]:  # type: ignore[override]  # a name may occur twice
        """Return all indices that bear `name`; ValueError, with near matches, if no label does."""
        if name not in self._indices:
            raise ValueError(f"unknown label {name[:80]!r}{did_you_mean(name, self.names)}")
        return list(self._indices[name])

    def find(self, name: str) -> list[int]:
        """Return all indices that bear `name`; an empty list if no label does."""
        return list(self._indices.get(name, ()))

    def select(self, *wanted: str | Iterable[str]) -> list[int]:
        """Return the indices of names, groups and shell-style patterns, ascending, each once.

        A group stands for all of its labels. Where a label has a group's name (`ribs`) the group is
        meant; the pattern ``"rib[s]"`` or `index("ribs")` is the label alone. What matches nothing
        is a ValueError, with near matches."""
        selected: set[int] = set()
        for item in wanted:
            if not isinstance(item, str | Iterable):
                raise ValueError(
                    f"names, groups or patterns are needed, got {item!r:.80}; see LabelSet.names"
                )
            selected.update(self._select_one(item) if isinstance(item, str) else self.select(*item))
        return sorted(selected)

    def _select_one(self, item: str) -> list[int]:
        item = item.strip()
        names = self.names if len(item) <= 2 * MAX_NAME else ()  # a longer pattern is hostile
        matches = (
            [i for i, group in enumerate(self.group) if group == item]
            or self._indices.get(item)
            or [i for i, name in enumerate(names) if fnmatchcase(name, item)]
        )
        if not matches:
            near = did_you_mean(item, self.names + self.groups)
            raise ValueError(f"unknown label, group or pattern {item[:80]!r}{near}")
        return matches


def _color(name: str, index: int) -> tuple[int, ...]:
    if name in _ROWS:
        return tuple(bytes.fromhex(_ROWS[name]["color"].removeprefix("#")))
    hue = (index * 0.381966) % 1  # the golden section keeps neighbouring positions apart
    return tuple(
        int(95 + 160 * max(0.0, min(1.0, abs((6 * hue + shift) % 6 - 3) - 1)))
        for shift in (0, 4, 2)
    )


#: The published table of 166 labels.
LABELS = LabelSet(row["name"] for row in _TABLE)

#: The 159 labels of CXAS.
CXAS_LABELS = LabelSet(row["name"] for row in _CXAS_TABLE)


def tree_pairs(labels: LabelSet) -> list[tuple[int, int]]:
    """Return (child, parent) for every step of the label tree."""
    return [(child, parent) for child, parents in enumerate(labels.parents) for parent in parents]
