"""Which split an image goes to: by a table, or by the name of an annotation file."""

import csv
import io
import os
import re
from pathlib import Path, PurePosixPath

from paxray_lib.data.datafile import SPLITS
from paxray_lib.importing.names import item_name
from paxray_lib.utils import check_choice, naming_errors, read_bytes

_MAX_BYTES = 1 << 27


def read_splits(path: str | os.PathLike) -> dict[str, str]:
    """Return the split of each id of a CSV with the columns id and split.

    Raises FileNotFoundError or ValueError, naming file and row."""
    path = Path(path)
    with naming_errors(path, "not a readable table"):
        text = read_bytes(path, _MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
    splits: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        if not row.get("id") or not row.get("split"):
            raise ValueError(f"{path}: row {number} has no id or no split; it needs these columns")
        check_choice(row["split"], SPLITS, f"{path}: row {number}: split")
        name = item_name(row["id"].strip())
        if splits.setdefault(name, row["split"]) != row["split"]:
            raise ValueError(f"{path}: row {number}: {name[:80]!r} is in two splits")
    if not splits:
        raise ValueError(f"{path}: no row; it needs the columns id and split")
    return splits


def split_of(name: str, listed: dict[str, str]) -> str | None:
    """Return the split of an item by its name, or by the last part of that."""
    return listed.get(name) or listed.get(PurePosixPath(name).name)


def split_of_file(path: str | os.PathLike) -> str | None:
    """Return the split that the name of an annotation file says, None if it says none or several.

    >>> split_of_file("instances_val2017.json"), split_of_file("paxray_train_val.json")
    ('val', None)
    """
    names = set(re.findall("|".join(SPLITS), Path(path).stem.lower()))
    return names.pop() if len(names) == 1 else None
