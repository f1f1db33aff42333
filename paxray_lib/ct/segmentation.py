"""A segmentation of a CT: one label volume, or a folder of one mask per structure.

What the values of a label volume stand for is in its header, in a table, or built in.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage

from paxray_lib.ct.nifti import nifti_files, stem_of
from paxray_lib.ct.placement import read_aligned
from paxray_lib.ct.structures import BUILT_IN, CODES, count_values
from paxray_lib.utils import did_you_mean, naming_errors, parse_json, read_bytes

Names = str | os.PathLike | None  # a table of names
_MAX_VALUE = 65535
_MAX_TABLE = 2**22  # bytes: a name of 60 for each value
_ROUND = 0.01  # of a float's rounding, in files that store labels as scaled integers
# of the left lung at least, by eye; values 15 to 17 of v2, such as the trachea, have less
_RIGHT_LUNG_PART = 0.3


def read_label_volume(
    path: Path, ct_image: Nifti1Image, ct: SpatialImage, names: Names
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a volume with one value per structure.

    Returns the (Z, Y, X) uint8 codes of structures, and facts for the record of provenance: where
    the names are from, values without a name, names that are not in totalseg.csv.
    """
    image, values = _read_whole_numbers(
        path, ct_image, ct, _MAX_VALUE, "a label volume holds 0 to 65535"
    )
    high = int(values.max())
    if high == 0:
        raise ValueError(f"{path}: the segmentation is empty, all values are 0")
    values = values.astype(np.uint16)
    known, source = _names_of(path, image, names)
    counts = count_values(values, high + 1)
    # v1 has the lobes of the lungs at 13 to 17, v2 at 10 to 14
    first, middle, last = np.add.reduceat(np.pad(counts, (0, 18)), (10, 13, 15, 18))[:3]
    if known is BUILT_IN and middle > 0 and last > max(first, _RIGHT_LUNG_PART * middle):
        raise ValueError(
            f"{path}: values 15 to 17 fill what should be lung, as in TotalSegmentator v1, whose "
            "values have other names; segment again by v2, or give the table of v1's names with "
            "--names"
        )
    present = [value for value in np.flatnonzero(counts).tolist() if value]
    unnamed = [value for value in present if value not in known]
    if len(unnamed) == len(present):
        raise ValueError(
            f"{path}: none of its values ({unnamed[:5]}) has a name in {source}; give a table with "
            "--names"
        )
    table = np.array([CODES.get(known.get(value, ""), 0) for value in range(high + 1)], np.uint8)
    return table[values], {
        "names": source,
        "values_without_name": unnamed,
        "names_not_used": sorted({known[v] for v in present if v in known} - CODES.keys()),
    }


def _read_whole_numbers(
    path: Path, ct_image: Nifti1Image, ct: SpatialImage, most: int, rule: str
) -> tuple[Nifti1Image, np.ndarray]:
    """Return the opened file, and its values, 0 to `most`, as a (Z, Y, X) integer array."""
    image, values = read_aligned(path, ct_image, ct)
    is_float = values.dtype.kind == "f"
    if is_float and not np.isfinite(values).all():
        raise ValueError(f"{path}: holds values that are no numbers (NaN or infinity)")
    low, high = values.min(), values.max()
    if low < -_ROUND or high > most + _ROUND:
        raise ValueError(f"{path}: values from {low:g} to {high:g}; {rule}")
    if not is_float:
        return image, values
    whole = np.rint(values)
    if np.abs(values - whole).max() > _ROUND:
        raise ValueError(
            f"{path}: holds fractions, so it is no label volume (probabilities, or smoothed?)"
        )
    return image, whole.astype(np.uint16)


def names_file(segmentation: Path) -> Path:
    """Return where a table with the names of a label volume's values may lie beside it."""
    return segmentation.with_name(f"{stem_of(segmentation)}_labels.tsv")


def _names_of(path: Path, image: Nifti1Image, names: Names) -> tuple[dict[int, str], str]:
    """Return the names of the values, and where they are from."""
    if names is not None:
        return read_names(names), Path(names).name
    if in_header := _names_in_header(path, image):
        return in_header, "header"
    if os.path.lexists(names_file(path)):
        return read_names(names_file(path)), names_file(path).name
    return BUILT_IN, "TotalSegmentator v2, task total"


def _names_in_header(path: Path, image: Nifti1Image) -> dict[int, str]:
    """Return the names of the values as TotalSegmentator writes them into an extension."""
    # of two such extensions, the first counts
    for extension in image.header.extensions:
        with naming_errors(path, "its header's extension cannot be read"):
            content = extension.get_content()
            text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
            pairs = re.findall(r'<Label Key="(\d+)"[^>]*>(?:<!\[CDATA\[)?([^<\]]+)', str(text))
            names = [(int(value), name.strip()) for value, name in pairs if value.strip("0")]
        if names:
            return _check_unique(names, path)
    return {}


def _check_unique(pairs: Iterable[tuple[Any, str]], path: Path) -> dict[Any, str]:
    """Return a dict of the pairs; ValueError if one key has two names."""
    names: dict[Any, str] = {}
    for key, name in pairs:
        if names.setdefault(key, name) != name:
            raise ValueError(
                f"{path}: {key} stands for both {names[key]!r} and {name!r}; leave one out"
            )
    return names


def read_mask_folder(
    folder: Path, ct_image: Nifti1Image, ct: SpatialImage
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a folder of one binary volume per structure; returns as `read_label_volume` does.

    Where files overlap, the one in the first row of totalseg.csv counts: the bronchi in a lobe, as
    other tasks of TotalSegmentator find them, are of the lobe.
    """
    files = nifti_files(folder)
    known = [path for path in files if stem_of(path) in CODES]
    _check_unique(((stem_of(path), path.name) for path in known), folder)
    if not known:
        first = ", ".join(path.name for path in files[:3]) or "no .nii.gz file"
        raise ValueError(
            f"{folder}: no file has the name of a structure of TotalSegmentator, such as "
            f"heart.nii.gz; it has {first}"
        )
    structures = np.zeros(ct.shape, np.uint8)
    rule = "a folder holds one mask of 0 and 1 per structure"
    for path in sorted(known, key=lambda path: -CODES[stem_of(path)]):
        _, mask = _read_whole_numbers(path, ct_image, ct, 1, rule)
        structures[mask > 0] = CODES[stem_of(path)]
    if not structures.any():
        raise ValueError(f"{folder}: the segmentation is empty, all masks are 0")
    unknown = {stem_of(path) for path in files} - CODES.keys()
    return structures, {
        "names": "file names",
        "values_without_name": [],
        "names_not_used": sorted(name for name in unknown if name.lower() != "ct"),
    }


def read_names(path: str | os.PathLike) -> dict[int, str]:
    """Read the names of a label volume's values.

    `path` is a table of value, tab or comma, name, with or without a header; or a `dataset.json` of
    nnU-Net (`labels`).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is neither, or none of its names is in the table; near matches are listed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such table of names")
    content = read_bytes(path, _MAX_TABLE)
    with naming_errors(path, "not a table of value and name", "write lines such as 51<tab>heart"):
        if path.suffix.lower() == ".json":
            pairs = parse_json(content, path.name)["labels"].items()
            if not all(str(key).isdigit() for key, _ in pairs):  # as nnU-Net v2 has them
                pairs = [(value, name) for name, value in pairs if not isinstance(value, list)]
            rows = [(int(value), str(name)) for value, name in pairs]
        else:
            rows = _table_rows(content.decode("utf-8-sig"))
    names = {value: name for value, name in _check_unique(rows, path).items() if value > 0}
    if not set(names.values()) & CODES.keys():
        first = next(iter(names.values()), "")
        raise ValueError(
            f"{path}: no name is one of TotalSegmentator's, the first is {first!r}"
            f"{did_you_mean(first, CODES)}; see paxray_lib/ct/totalseg.csv"
        )
    return names


def _table_rows(text: str) -> list[tuple[int, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [[part.strip() for part in re.split(r"[\t,;]", line)] for line in lines]
    if rows and not rows[0][0].isdigit():
        del rows[0]
    wrong = [row for row in rows if len(row) < 2 or not row[0].isdigit() or not row[1]]
    if wrong or not rows:
        raise ValueError(f"line {str(wrong[0])[:80]}" if wrong else "it is empty")
    return [(int(value), name) for value, name, *_ in rows]
