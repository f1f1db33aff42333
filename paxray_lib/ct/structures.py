"""The structures of a CT segmentation: the table `totalseg.csv`, and reading the names of a label
volume's values.

The table lists the structures of TotalSegmentator v2, task `total`, with their values, and a few of
its other tasks and of other segmentations (without a value), with the label of ours that each is or
is a part of, and a kind that the rules in derive.py go by. A structure's code, its row counted from
1, is its value in the volumes that ct.py makes."""

import csv
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from paxray_lib.utils.errors import did_you_mean


class Structure(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    code : int
        Position in the table, from 1.
    value : int or None
        Its value in a label volume of TotalSegmentator v2, task `total`.
    name : str
    label : str
        Our label, or "" for a structure that is none and that only the rules use.
    kind : "lung", "bone", "cartilage", "abdomen", "pericardium" (in it or crossing it), "back" (at
    the spine) or "soft"
    """

    code: int
    value: int | None
    name: str
    label: str
    kind: str


def _read_table() -> tuple[Structure, ...]:
    with Path(__file__).with_name("totalseg.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Structure(
                code,
                int(row["id"]) if row["id"] else None,
                row["structure"],
                row["label"],
                row["kind"],
            )
            for code, row in enumerate(csv.DictReader(file), 1)
        )


STRUCTURES = _read_table()
"""All rows of the table."""
CODES = {structure.name: structure.code for structure in STRUCTURES}
"""Code of each structure by its name."""
BUILT_IN = {
    structure.value: structure.name for structure in STRUCTURES if structure.value is not None
}
"""Names of the values of TotalSegmentator v2, task `total`."""


def codes_of(*kinds: str) -> list[int]:
    """Return the codes of all structures of some kinds."""
    return [structure.code for structure in STRUCTURES if structure.kind in kinds]


def codes_with_label(label: str) -> list[int]:
    """Return the codes of the structures that are a label of ours, or a part of it."""
    return [structure.code for structure in STRUCTURES if structure.label == label]


def lung_codes(side: str) -> list[int]:
    """Return the codes of the lobes of a side, "left" or "right"."""
    return [s.code for s in STRUCTURES if s.kind == "lung" and f"_{side}" in s.name]


def is_in(volume: np.ndarray, codes) -> np.ndarray:
    """Return the bool array of where an uint8 volume holds one of the codes."""
    table = np.zeros(256, np.uint8)
    table[list(codes)] = 1
    flat = np.ascontiguousarray(volume).reshape(len(volume), -1)
    # ten times as fast as table[volume]
    return cv2.LUT(flat, table).view(bool).reshape(volume.shape)


def count_values(volume: np.ndarray, values: int = 256) -> np.ndarray:
    """Return how often each value below `values` occurs, (values,) int64."""
    # slice by slice: bincount makes an int64 of each voxel
    return sum(
        (np.bincount(plane.ravel(), minlength=values) for plane in volume),
        np.zeros(values, np.int64),
    )


def read_names(path: str | os.PathLike) -> dict[int, str]:
    """Read the names of a label volume's values.

    Parameters
    ----------
    path : path
        A table of value, tab or comma, name, with or without a header; or a `dataset.json` of
        nnU-Net (`labels`).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is neither, or none of its names is in the table; near matches are listed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of names")
    try:
        names = _json_names(path) if path.suffix.lower() == ".json" else _table_names(path)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path}: not a table of value and name ({error}); write lines such as 51<tab>heart"
        ) from error
    names = {value: name for value, name in names.items() if value > 0}
    if not set(names.values()) & CODES.keys():
        first = next(iter(names.values()), "")
        raise ValueError(
            f"{path}: no name is one of TotalSegmentator's, the first is {first!r}{did_you_mean(first, CODES)}; "
            "see paxray_lib/totalseg.csv"
        )
    return names


def _table_names(path: Path) -> dict[int, str]:
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    rows = [[part.strip() for part in re.split(r"[\t,;]", line)] for line in lines]
    if rows and not rows[0][0].isdigit():
        rows = rows[1:]
    wrong = [row for row in rows if len(row) < 2 or not row[0].isdigit() or not row[1]]
    if wrong or not rows:
        raise ValueError(f"line {wrong[0]!r}" if wrong else "it is empty")
    return {int(row[0]): row[1] for row in rows}


def _json_names(path: Path) -> dict[int, str]:
    labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    if all(str(key).isdigit() for key in labels):  # nnU-Net v1 has them the other way round
        return {int(key): str(name) for key, name in labels.items()}
    return {int(value): name for name, value in labels.items() if not isinstance(value, list)}


def header_names(extensions) -> dict[int, str]:
    """Return the names that TotalSegmentator writes into a NIfTI's header extension, or an empty
    dict.
    """
    for extension in extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        found = re.findall(r'<Label Key="(\d+)"[^>]*>(?:<!\[CDATA\[)?([^<\]]+)', text)
        if found:
            return {int(value): name.strip() for value, name in found if int(value) > 0}
    return {}
