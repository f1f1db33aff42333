"""The label table for people and programs: `paxray labels`."""

import json
from collections.abc import Iterable

from paxray_lib.labels.table import LabelSet

#: What stands behind the name of a label by what it was checked with, see `LabelSet.checked`.
CHECK_MARKS = {"films": "", "ct": " *", "none": " **", "": ""}
_ROW = "{:>5}  {:22}  {:13}  {:5}  {:>6}  {:7}  {}"


def label_lines(labels: LabelSet, indices: Iterable[int]) -> list[str]:
    """Return a heading and one line per label, within 100 columns for the published table.

    A mirror is given by its index, and only where it is another label.
    """
    lines = [_ROW.format("index", "name", "group", "side", "mirror", "checked", "part of").rstrip()]
    for i in indices:
        mirror = labels.mirror[i] if labels.mirror[i] != i else ""
        wholes = ", ".join(labels.display_names[parent] for parent in labels.parents[i])
        about = labels.group[i], labels.side[i], mirror, labels.checked[i], wholes
        lines.append(_ROW.format(i, labels.display_names[i], *about).rstrip())
    return lines


def label_json(labels: LabelSet, indices: Iterable[int]) -> str:
    """Return a JSON list of objects: the same by name, mirror and parents as indices."""
    rows = [
        {
            "index": i,
            "name": labels.names[i],
            "group": labels.group[i],
            "side": labels.side[i],
            "mirror": int(labels.mirror[i]),
            "checked": labels.checked[i],
            "parents": list(labels.parents[i]),
        }
        for i in indices
    ]
    return json.dumps(rows, indent=1)
