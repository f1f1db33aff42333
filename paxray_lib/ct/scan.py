"""A CT and its segmentation, read from NIfTI files, checked, and turned into one orientation.

What the storage order of a file is does not matter: its affine says where head, front and right
are. Values are checked to be Hounsfield units, the segmentation to fit the CT, the anatomy to be a
chest that lies as the affine says.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from paxray_lib.ct.nifti import ct_grid, open_nifti, read_voxels
from paxray_lib.ct.scan_checks import check_chest
from paxray_lib.ct.segmentation import Names, read_label_volume, read_mask_folder
from paxray_lib.projection.rays import Spacing


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
    spacing: Spacing
    facts: dict[str, Any]


def read_scan(ct: str | os.PathLike, segmentation: str | os.PathLike, names: Names = None) -> Scan:
    """Read and check a CT with its segmentation.

    Parameters
    ----------
    ct : path
        NIfTI file in Hounsfield units.
    segmentation : path
        NIfTI file of the same grid, in any storage order, with one value per structure, or a
        folder with one binary NIfTI file per structure. Where files of a folder overlap, the one
        in the first row of totalseg.csv counts. A header without an affine stands for that of the
        CT.
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
    image = open_nifti(ct)
    grid, oblique = ct_grid(image, ct)
    hu = _hounsfield(read_voxels(image, grid, ct), ct)
    if segmentation.is_dir():
        structures, facts = read_mask_folder(segmentation, grid, ct)
    else:
        structures, facts = read_label_volume(segmentation, grid, ct, names)
    check_chest(hu, structures, grid.spacing, ct, segmentation)
    facts |= {
        "shape": list(image.shape),
        "spacing_mm": [round(size, 6) for size in voxel_sizes(image.affine).tolist()],
        "axes": "".join(nibabel.aff2axcodes(image.affine)),
        "affine": np.asarray(image.affine).round(6).tolist(),
        "oblique_degrees": round(oblique, 3),
    }
    return Scan(hu, structures, grid.spacing, facts)


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
            f"{path}: values from {low:g} to {high:g} are not Hounsfield units of a chest, which "
            f"run from about -1000 in air to above 500 in bone; {remedy}"
        )
    rounded = np.rint(values) if values.dtype.kind == "f" else values
    return np.clip(rounded, -1024, 32767).astype(np.int16, copy=False)
