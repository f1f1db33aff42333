"""What the values of a label volume stand for: tables of names, and names in NIfTI headers."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from nibabel.nifti1 import Nifti1Extension

from paxray_lib.ct.structures import CODES
from paxray_lib.utils.errors import did_you_mean


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
    except Exception as error:
        raise ValueError(
            f"{path}: not a table of value and name ({error}); write lines such as 51<tab>heart"
        ) from error
    names = {value: name for value, name in names.items() if value > 0}
    if not set(names.values()) & CODES.keys():
        first = next(iter(names.values()), "")
        raise ValueError(
            f"{path}: no name is one of TotalSegmentator's, the first is {first!r}"
            f"{did_you_mean(first, CODES)}; see paxray_lib/ct/totalseg.csv"
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


def header_names(extensions: Iterable[Nifti1Extension]) -> dict[int, str]:
    """Return the names that TotalSegmentator writes into a NIfTI header; none: an empty dict."""
    for extension in extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        pairs = re.findall(r'<Label Key="(\d+)"[^>]*>(?:<!\[CDATA\[)?([^<\]]+)', text)
        if pairs:
            return {int(value): name.strip() for value, name in pairs if int(value) > 0}
    return {}
