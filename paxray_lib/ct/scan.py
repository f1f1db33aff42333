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

from paxray_lib.ct.nifti import open_nifti, read_volume
from paxray_lib.ct.placement import obliqueness
from paxray_lib.ct.plausibility import check_chest
from paxray_lib.ct.segmentation import Names, read_label_volume, read_mask_folder
from paxray_lib.projection.rays import Spacing

_AIR_HU, _BONE_HU = -700, 200  # some voxel of a chest is below, some above


@dataclass(frozen=True)
class Scan:
    """A CT with its segmentation.

    Attributes
    ----------
    hu : (Z, Y, X) int16 Hounsfield units from -1024, head to feet, front to back, right to left
    structures : (Z, Y, X) uint8 codes of structures.STRUCTURES; 0 elsewhere
    spacing : (z, y, x) voxel size in mm
    facts : what a record of provenance says about the files: shapes, spacing, axes, affine, names
    """

    hu: np.ndarray
    structures: np.ndarray
    spacing: Spacing
    facts: dict[str, Any]


def read_scan(ct: str | os.PathLike, segmentation: str | os.PathLike, names: Names = None) -> Scan:
    """Read and check a CT with its segmentation.

    Parameters
    ----------
    ct : path of a NIfTI file in Hounsfield units
    segmentation : path
        NIfTI file of the same grid, in any storage order, with one value per structure, or a
        folder with one binary NIfTI file per structure. Where files of a folder overlap, the one
        in the first row of totalseg.csv counts. A header without an affine stands for the CT's.
    names : path, optional
        A table of the names of a label volume's values; by default those of its header, as
        TotalSegmentator writes them, of `<its name>_labels.tsv` beside it, or else of
        TotalSegmentator v2, task `total`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, cannot be read, has no orientation, is oblique, does not fit the
        other, is not in Hounsfield units, is empty, or is not a chest of human size that lies as
        its affine says; the message names the file, the value and a remedy.
    """
    ct, segmentation = Path(ct), Path(segmentation)
    image = open_nifti(ct)
    oblique = obliqueness(image, ct)
    volume = read_volume(image, image.affine, ct)
    z, y, x = voxel_sizes(volume.affine).tolist()
    hu = _hounsfield(np.asarray(volume.dataobj), ct)
    if segmentation.is_dir():
        structures, facts = read_mask_folder(segmentation, image, volume)
    else:
        structures, facts = read_label_volume(segmentation, image, volume, names)
    check_chest(hu, structures, (z, y, x), ct, segmentation)
    facts |= {
        "shape": list(image.shape[:3]),
        "spacing_mm": [round(size, 6) for size in voxel_sizes(image.affine).tolist()],
        "axes": "".join(nibabel.aff2axcodes(image.affine)),
        "affine": np.asarray(image.affine).round(6).tolist(),
        "oblique_degrees": round(oblique, 3),
    }
    return Scan(hu, structures, (z, y, x), facts)


def _hounsfield(values: np.ndarray, path: Path) -> np.ndarray:
    """Return int16 Hounsfield units, at least -1024."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{path}: holds values that are no numbers (NaN or infinity); replace them by -1024"
        )
    low, high = float(values.min()), float(values.max())
    if low > _AIR_HU or high < _BONE_HU:
        remedy = "convert it again from DICOM with its rescale slope; an MR cannot be projected"
        if low >= -24 and high > 1000:
            remedy = f"if it is a CT stored with an offset, subtract 1024; or else {remedy}"
        raise ValueError(
            f"{path}: values from {low:g} to {high:g} are not Hounsfield units of a chest, which "
            f"run from about -1000 in air to above 500 in bone; {remedy}"
        )
    return np.ascontiguousarray(
        np.clip(np.rint(values) if values.dtype.kind == "f" else values, -1024, 32767), np.int16
    )
