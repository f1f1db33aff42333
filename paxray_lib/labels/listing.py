"""The label table for people and programs: `paxray labels`."""

import json
from collections.abc import Iterable

from paxray_lib.labels.table import LabelSet

_ROW = "{:>5}  {:22}  {:13}  {:5}  {:>6}  {}"


def label_lines(labels: LabelSet, indices: Iterable[int]) -> list[str]:
    """Return a heading and one line per label, within 100 columns for the published table.

    A mirror is given by its index, and only where it is another label.
    """
    lines = [_ROW.format("index", "name", "group", "side", "mirror", "part of").rstrip()]
    for i in indices:
        mirror = labels.mirror[i] if labels.mirror[i] != i else ""
        wholes = ", ".join(labels.display_names[parent] for parent in labels.parents[i])
        cells = labels.display_names[i], labels.group[i], labels.side[i], mirror, wholes
        lines.append(_ROW.format(i, *cells).rstrip())
    return lines


def label_json(labels: LabelSet, indices: Iterable[int]) -> str:
    """Return a JSON list of objects: index, name, group, side, mirror and parents (indices)."""
    rows = [
        {
            "index": i,
            "name": labels.names[i],
            "group": labels.group[i],
            "side": labels.side[i],
            "mirror": int(labels.mirror[i]),
            "parents": list(labels.parents[i]),
        }
        for i in indices
    ]
    return json.dumps(rows, indent=1)
