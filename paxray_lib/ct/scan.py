"""A CT and its segmentation, read from NIfTI files, checked, and turned into one orientation.

What the storage order of a file is does not matter: its affine says where head, front and right
are. Values are checked to be Hounsfield units, the segmentation to fit the CT, the anatomy to be a
chest that lies as the affine says.
"""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from paxray_lib.ct.nifti import obliqueness, open_nifti, read_volume
from paxray_lib.ct.segmentation import Names, read_label_volume, read_mask_folder
from paxray_lib.ct.structures import CODES, codes_of, count_values, is_in, mean_index
from paxray_lib.projection.rays import Spacing

# chosen by eye
_FEW = 50  # voxels; fewer do not count as a structure
_MIN_LUNG_MM = 100.0  # of height, if cut off; an abdominal CT shows some 60 mm of their bases
_MAX_LUNG_HU = -200  # median; lungs have -900 to -500
_LEVELS = ("C1", "C7", "T1", "T3", "T6", "T9", "T12", "L1", "L5")  # enough to tell head from feet


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
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file cannot be read, has no orientation, is oblique, does not fit the other, is not in
        Hounsfield units, is empty, or is not a chest that lies as its affine says; the message
        names the file, the value and a remedy.
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
    _check_chest(hu, structures, z, ct, segmentation)
    facts |= {
        "shape": list(image.shape),
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
    if low > -500 or high < 200:
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


def _check_chest(
    hu: np.ndarray, structures: np.ndarray, slice_mm: float, ct: Path, segmentation: Path
) -> None:
    """Raise ValueError if the scan is no chest in Hounsfield units that lies as its affine says."""
    counts = count_values(structures)
    present = {name: code for name, code in CODES.items() if counts[code] >= _FEW}
    lungs = [code for code in codes_of("lung") if counts[code] >= _FEW]
    thorax = [name for name in present if name.startswith(("rib_", "vertebrae_T"))]
    if not lungs or not thorax:
        missing = "lung" if not lungs else "rib or thoracic vertebra"
        raise ValueError(
            f"{segmentation}: no {missing} among its {len(present)} structures, so this is not a "
            "CT of the chest; or do the values have other names (--names)?"
        )
    lung = is_in(structures, lungs)
    median = float(np.median(hu[lung]))
    if median > _MAX_LUNG_HU:
        raise ValueError(
            f"{segmentation}: where it says lung, {ct.name} has a median of {median:.0f}, and not "
            "-900 to -500 as in Hounsfield units of lungs; is the CT in Hounsfield units, and do "
            "the values have these names (--names)?"
        )
    slices = np.flatnonzero(lung.any(axis=(1, 2)))
    height = (slices[-1] - slices[0] + 1) * slice_mm
    # abdominal and neck CTs cut the lungs off so that little is left
    if height < _MIN_LUNG_MM and (slices[0] == 0 or slices[-1] == len(lung) - 1):
        raise ValueError(
            f"{ct}: holds only {height:.0f} mm of the lungs' height, the scan cuts off the rest, "
            "so this is not a CT of the chest; take one that shows the lungs"
        )
    _check_position(structures, present, ct)


def _check_position(structures: np.ndarray, present: dict[str, int], ct: Path) -> None:
    """Check right before left, front before back, head before feet."""

    def codes(*patterns: str) -> list[int]:
        return [present[n] for n in present if any(fnmatchcase(n, p) for p in patterns)]

    spine = [code for level in _LEVELS for code in codes(f"vertebrae_{level}")]
    right, left = (codes(f"lung_*_{side}", f"rib_{side}_*") for side in ("right", "left"))
    directions = (
        ("right", "left", right, left, 2),
        ("front", "back", codes("sternum", "heart"), codes("vertebrae_*"), 1),
        ("head", "feet", spine[:1], spine[1:][-1:], 0),
    )
    for low, high, first, second, axis in directions:
        means = [mean_index(is_in(structures, side), axis) for side in (first, second) if side]
        if len(means) == 2 and means[0] >= means[1]:
            raise ValueError(
                f"{ct}: by the affine, what is segmented as {low} lies to the {high}; the "
                "orientation in the header is wrong, or the segmentation's names are"
            )
