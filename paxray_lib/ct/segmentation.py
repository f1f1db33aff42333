"""A segmentation of a CT: one label volume, or a folder of one mask per structure."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image

from paxray_lib.ct.nifti import (
    Grid,
    nifti_files,
    open_nifti,
    read_voxels,
    segmentation_grid,
    stem_of,
)
from paxray_lib.ct.structures import BUILT_IN, CODES, count_values
from paxray_lib.ct.value_names import header_names, read_names

Names = str | os.PathLike | Mapping[int, str] | None
_ROUND = 0.01  # of a float's rounding, in files that store labels as scaled integers
# of the left lung at least, by eye; values 15 to 17 of v2, such as the trachea, have less
_RIGHT_LUNG_PART = 0.3


def read_label_volume(
    path: Path, ct_grid: Grid, ct: Path, names: Names
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a volume with one value per structure.

    Returns
    -------
    structures : (Z, Y, X) uint8 array of structures' codes
    facts : dict
        For the record of provenance: where the names are from, values without a name, names that
        are not in totalseg.csv.
    """
    image, values = _read_whole_numbers(path, ct_grid, ct)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"{path}: values from {low} to {high}; a label volume holds 0 to 65535")
    if high == 0:
        raise ValueError(f"{path}: the segmentation is empty, all values are 0")
    values = values.astype(np.uint16)
    known, source = _names_of(path, image, names)
    counts = count_values(values, high + 1)
    if known is BUILT_IN and _looks_like_v1(counts):
        raise ValueError(
            f"{path}: values 15 to 17 fill what should be lung, as in TotalSegmentator v1, whose "
            "values have other names; segment again by v2, or give the table of v1's names with "
            "--names"
        )
    present = (np.flatnonzero(counts[1:]) + 1).tolist()
    unnamed = [value for value in present if value not in known]
    if len(unnamed) == len(present):
        raise ValueError(
            f"{path}: none of its values ({unnamed[:5]}) has a name in {source}; give a table with "
            "--names"
        )
    table = np.array([CODES.get(known.get(value, ""), 0) for value in range(high + 1)], np.uint8)
    used = {known[value] for value in present if value in known}
    return table[values], _facts(source, unnamed, used - CODES.keys())


def _facts(source: str, unnamed: list[int], unknown: set[str]) -> dict[str, Any]:
    return {
        "names": source,
        "values_without_name": unnamed,
        "names_not_used": sorted(unknown),
    }


def _read_whole_numbers(path: Path, ct_grid: Grid, ct: Path) -> tuple[Nifti1Image, np.ndarray]:
    """Return the opened file, and its values as a (Z, Y, X) integer array."""
    image = open_nifti(path)
    values = read_voxels(image, segmentation_grid(image, path, ct_grid, ct), path)
    if values.dtype.kind != "f":
        return image, values
    whole = np.rint(values)
    if not np.isfinite(values).all() or np.abs(values - whole).max() > _ROUND:
        raise ValueError(
            f"{path}: holds fractions, so it is no label volume (probabilities, or smoothed?)"
        )
    return image, whole.astype(np.int32)


def _looks_like_v1(counts: np.ndarray) -> bool:
    """Tell whether the lobes of the lungs are 13 to 17, as in v1, and not 10 to 14.

    `counts` has how often each value occurs.
    """
    counts = np.pad(counts, (0, 18))
    first, middle, last = counts[10:13].sum(), counts[13:15].sum(), counts[15:18].sum()
    return middle > 0 and last > first and last > _RIGHT_LUNG_PART * middle


def names_file(segmentation: Path) -> Path:
    """Return where a table with the names of a label volume's values may lie beside it."""
    return segmentation.with_name(f"{stem_of(segmentation)}_labels.tsv")


def _names_of(path: Path, image: Nifti1Image, names: Names) -> tuple[Mapping[int, str], str]:
    """Return the names of the values, and where they are from."""
    if isinstance(names, Mapping):
        return names, "the caller's names"
    if names is not None:
        return read_names(names), Path(names).name
    in_header = header_names(image.header.extensions)
    if in_header:
        return in_header, "header"
    if names_file(path).is_file():
        return read_names(names_file(path)), names_file(path).name
    return BUILT_IN, "TotalSegmentator v2, task total"


def read_mask_folder(folder: Path, ct_grid: Grid, ct: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a folder of one binary volume per structure; returns as `read_label_volume` does.

    Where files overlap, the one in the first row of totalseg.csv counts: the bronchi in a lobe, as
    other tasks of TotalSegmentator find them, are of the lobe.
    """
    files = nifti_files(folder)
    known = [path for path in files if stem_of(path) in CODES]
    if not known:
        first = ", ".join(path.name for path in files[:3]) or "no .nii.gz file"
        raise ValueError(
            f"{folder}: no file has the name of a structure of TotalSegmentator, such as "
            f"heart.nii.gz; it has {first}"
        )
    structures = np.zeros(ct_grid.shape, np.uint8)
    for path in sorted(known, key=lambda path: -CODES[stem_of(path)]):
        _, mask = _read_whole_numbers(path, ct_grid, ct)
        if mask.min() < 0 or mask.max() > 1:
            raise ValueError(
                f"{path}: values from {mask.min()} to {mask.max()}; a folder holds one mask of 0 "
                "and 1 per structure"
            )
        structures[mask > 0] = CODES[stem_of(path)]
    if not structures.any():
        raise ValueError(f"{folder}: the segmentation is empty, all masks are 0")
    unknown = {stem_of(path) for path in files} - CODES.keys()
    unknown = {name for name in unknown if name.lower() != "ct"}
    return structures, _facts("file names", [], unknown)
