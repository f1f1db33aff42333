"""Read a CT and its segmentation from NIfTI files, check both, and turn them into the orientation
of projection.py.

What the storage order of a file is does not matter: its affine says where head, front and right
are. Values are checked to be Hounsfield units, the segmentation to fit the CT, the anatomy to be a
chest that lies as the affine says."""

import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff

from paxray_lib.ct.scan_checks import (
    _RIGHT_LUNG_PART,
    MAX_VOXELS,
    _check_affine,
    _check_chest,
    _check_spans,
    _orientation,
    _spacing,
)
from paxray_lib.ct.structures import BUILT_IN, CODES, count_values, header_names, read_names

SUFFIXES = (".nii.gz", ".nii")
_ROUND = 0.01  # of a float's rounding, in files that store labels as scaled integers
_READ_ERRORS = (
    nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, EOFError, OverflowError, zlib.error,
    OSError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """A CT with its segmentation.

    Attributes
    ----------
    hu : (Z, Y, X) int16 array
        Hounsfield units, -1024 to 32767, oriented head to feet, front to back, right to left.
    structures : (Z, Y, X) uint8 array
        Codes of structures.STRUCTURES; 0 elsewhere.
    spacing : (z, y, x) voxel size in mm
    facts : dict
        What a record of provenance says about the files: shapes, spacing, axes, affine, names.
    """

    hu: np.ndarray
    structures: np.ndarray
    spacing: tuple[float, float, float]
    facts: dict


def read_scan(
    ct: str | os.PathLike,
    segmentation: str | os.PathLike,
    names: str | os.PathLike | Mapping[int, str] | None = None,
) -> Scan:
    """Read and check a CT with its segmentation.

    Parameters
    ----------
    ct : path
        NIfTI file in Hounsfield units.
    segmentation : path
        NIfTI file of the same grid, in any storage order, with a value for each structure, or a
        folder with a binary NIfTI file for each. Where files of a folder overlap, the one in the
        first row of totalseg.csv counts: the bronchi in a lobe, as other tasks of TotalSegmentator
        find them, are of the lobe. A header without an affine stands for that of the CT.
    names : path or mapping of value to name, optional
        Names of the values of a label volume. Without it they come from its header, as
        TotalSegmentator writes them, or from `<its name>_labels.tsv` beside it, or else they are
        those of TotalSegmentator v2, task `total`.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file cannot be read, has no orientation, is oblique, does not fit the other, is not in
        Hounsfield units, is empty, or is not a chest that lies as its affine says; the message
        names the file, the value and a remedy.
    """
    ct, segmentation = Path(ct), Path(segmentation)
    image = _open(ct)
    oblique = _check_affine(image, ct)
    hu = _hounsfield(_turned(image, image.affine, ct), ct)
    if segmentation.is_dir():
        structures, facts = _read_folder(segmentation, image, ct)
    else:
        structures, facts = _read_labels(segmentation, image, ct, names)
    spacing = _spacing(image)
    _check_chest(hu, structures, spacing, ct, segmentation)
    facts |= {
        "shape": list(image.shape),
        "spacing_mm": [round(float(s), 6) for s in nibabel.affines.voxel_sizes(image.affine)],
        "axes": "".join(nibabel.aff2axcodes(image.affine)),
        "affine": np.asarray(image.affine).round(6).tolist(),
        "oblique_degrees": round(oblique, 3),
    }
    return Scan(hu, structures, spacing, facts)


def stem_of(path: Path) -> str:
    """Return the name of a file without .nii or .nii.gz."""
    return next(
        (path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.lower().endswith(suffix)),
        path.name,
    )


def names_beside(path: Path) -> Path:
    """Return where a table with the names of a label volume's values may lie."""
    return path.with_name(f"{stem_of(path)}_labels.tsv")


def _open(path: Path) -> nibabel.spatialimages.SpatialImage:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{path}: not a NIfTI file (.nii, .nii.gz); convert it, DICOM series for instance by dcm2niix"
        )
    try:
        image = nibabel.load(path)
    except _READ_ERRORS as error:
        raise ValueError(f"{path}: not readable as NIfTI ({_one_line(error)})") from error
    if image.ndim != 3 and not (image.ndim == 4 and image.shape[3] == 1):
        raise ValueError(f"{path}: shape {image.shape}; one volume of three dimensions is needed")
    if image.get_data_dtype().kind not in "iuf":
        raise ValueError(
            f"{path}: {image.get_data_dtype()} voxels, such as colors; one real number each is needed"
        )
    if math.prod(image.shape) > MAX_VOXELS:
        raise ValueError(
            f"{path}: the header claims {image.shape} voxels, more than {MAX_VOXELS:,}; if it is not damaged, cut or "
            "resample the scan"
        )
    return image if image.ndim == 3 else image.slicer[..., 0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _turned(image, affine: np.ndarray, path: Path) -> np.ndarray:
    """Return the values as a contiguous (Z, Y, X) array; integers as stored, all else as
    float32.
    """
    stored = image.dataobj  # the header's own slope and intercept are cleared when a file is read
    scaled = (getattr(stored, "slope", 1), getattr(stored, "inter", 0)) != (1, 0)
    try:
        if scaled or image.get_data_dtype().kind == "f":
            values = image.get_fdata(dtype=np.float32, caching="unchanged")
        else:
            values = np.asarray(stored)
    except _READ_ERRORS as error:
        raise ValueError(f"{path}: damaged or cut short ({_one_line(error)})") from error
    return np.ascontiguousarray(apply_orientation(values, _orientation(affine)))


def _hounsfield(values: np.ndarray, path: Path) -> np.ndarray:
    """Return int16 Hounsfield units, at least -1024."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{path}: holds values that are no numbers (NaN or infinity); replace them by -1024"
        )
    low, high = float(values.min()), float(values.max())
    if low > -500 or high < 200:
        remedy = "convert it again from DICOM with its rescale slope; an MR cannot be projected"
        if low >= -24 and high > 1000:
            remedy = f"if it is a CT stored with an offset, subtract 1024; or else {remedy}"
        raise ValueError(
            f"{path}: values from {low:g} to {high:g} are not Hounsfield units of a chest, which run from about -1000 "
            f"in air to above 500 in bone; {remedy}"
        )
    if values.dtype == np.int16:
        return np.maximum(values, np.int16(-1024))
    return np.clip(np.rint(values) if values.dtype.kind == "f" else values, -1024, 32767).astype(
        np.int16
    )


def _fitting_affine(image, path: Path, ct_image, ct: Path) -> np.ndarray:
    """Return the affine of a segmentation, which puts its voxels where those of the CT are; see
    `_canonical`.
    """
    has_none = not image.header["sform_code"] and not image.header["qform_code"]
    affine = np.asarray(ct_image.affine if has_none else image.affine, float)
    _check_spans(affine, path, "segment this very CT")
    shape, straight = _canonical(image.shape, affine)
    ct_shape, ct_straight = _canonical(ct_image.shape, np.asarray(ct_image.affine, float))
    if shape != ct_shape:
        raise ValueError(
            f"{path}: shape {image.shape}, but {ct.name} has {ct_image.shape}; segment this very CT, or resample"
        )
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    corners[:, :3] *= np.array(shape) - 1
    apart = np.abs(corners @ (straight - ct_straight).T).max()
    if not apart <= 0.5 * min(nibabel.affines.voxel_sizes(ct_image.affine)):
        raise ValueError(
            f"{path}: its affine puts voxels up to {apart:.1f} mm from where that of {ct.name} does; "
            "segment this very CT, or resample the segmentation to its grid"
        )
    return affine


def _canonical(shape: tuple[int, ...], affine: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of a volume once it is turned to the axes of projection.py."""
    orientation = _orientation(affine)
    order = np.argsort(orientation[:, 0])
    return tuple(shape[axis] for axis in order), affine @ inv_ornt_aff(orientation, shape)


def _read_labels(path: Path, ct_image, ct: Path, names) -> tuple[np.ndarray, dict]:
    image = _open(path)
    values = _turned(image, _fitting_affine(image, path, ct_image, ct), path)
    if values.dtype.kind == "f":
        values = _whole_numbers(values, path)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"{path}: values from {low} to {high}; a label volume holds 0 to 65535")
    if values.dtype == np.uint64:  # which numpy does not count
        values = values.astype(np.uint16)
    if high == 0:
        raise ValueError(f"{path}: the segmentation is empty, all values are 0")
    known, source = _names_of(path, image, names)
    table = np.zeros(high + 1, np.uint8)
    for value, name in known.items():
        if value <= high:
            table[value] = CODES.get(name, 0)
    counts = count_values(values, high + 1)
    if known is BUILT_IN and _looks_like_v1(counts):
        raise ValueError(
            f"{path}: values 15 to 17 fill what should be lung, as in TotalSegmentator v1, whose values have other "
            "names; segment again by v2, or give the table of v1's names with --names"
        )
    present = np.flatnonzero(counts[1:]) + 1
    unnamed = [int(value) for value in present if value not in known]
    unknown = sorted(
        known[int(value)] for value in present if value in known and known[int(value)] not in CODES
    )
    if len(unnamed) == len(present):
        raise ValueError(
            f"{path}: none of its values ({unnamed[:5]}) has a name in {source}; give a table with --names"
        )
    return table[values], {
        "names": source,
        "values_without_name": unnamed,
        "names_not_used": unknown,
    }


def _looks_like_v1(counts: np.ndarray) -> bool:
    """Tell by the (N,) counts of values whether the lobes of the lungs are 13 to 17, as in v1, and
    not 10 to 14.
    """
    counts = np.pad(counts, (0, 18))
    first, middle, last = counts[10:13].sum(), counts[13:15].sum(), counts[15:18].sum()
    return middle > 0 and last > first and last > _RIGHT_LUNG_PART * middle


def _whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    whole = np.rint(values)
    if not np.isfinite(values).all() or np.abs(values - whole).max() > _ROUND:
        raise ValueError(
            f"{path}: holds fractions, so it is no label volume (probabilities, or smoothed?)"
        )
    return whole.astype(np.int32)


def _names_of(path: Path, image, names) -> tuple[Mapping[int, str], str]:
    if isinstance(names, Mapping):
        return names, "the caller's names"
    if names is not None:
        return read_names(names), Path(names).name
    found = header_names(image.header.extensions)
    if found:
        return found, "header"
    beside = names_beside(path)
    if beside.is_file():
        return read_names(beside), beside.name
    return BUILT_IN, "TotalSegmentator v2, task total"


def structure_files(folder: Path) -> list[Path]:
    """Return the NIfTI files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))


def _read_folder(folder: Path, ct_image, ct: Path) -> tuple[np.ndarray, dict]:
    files = structure_files(folder)
    known = sorted(
        (path for path in files if stem_of(path) in CODES), key=lambda path: -CODES[stem_of(path)]
    )
    if not known:
        first = ", ".join(path.name for path in files[:3]) or "no .nii.gz file"
        raise ValueError(
            f"{folder}: no file has the name of a structure of TotalSegmentator, such as heart.nii.gz; it has {first}"
        )
    structures = None
    for path in known:
        image = _open(path)
        mask = _turned(image, _fitting_affine(image, path, ct_image, ct), path)
        if mask.dtype.kind == "f":
            mask = _whole_numbers(mask, path)
        if (
            not np.isin(mask.ravel()[:: max(1, mask.size // 100_000)], (0, 1)).all()
            or mask.max() > 1
            or mask.min() < 0
        ):
            raise ValueError(
                f"{path}: values up to {mask.max()}; a folder holds one mask of 0 and 1 for each structure"
            )
        if structures is None:
            structures = np.zeros(mask.shape, np.uint8)
        structures[mask > 0] = CODES[stem_of(path)]
    if not structures.any():
        raise ValueError(f"{folder}: the segmentation is empty, all masks are 0")
    unknown = sorted(
        stem_of(path) for path in files if path not in known and stem_of(path).lower() != "ct"
    )
    return structures, {"names": "file names", "values_without_name": [], "names_not_used": unknown}
