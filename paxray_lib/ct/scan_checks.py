"""Checks of a CT's geometry and position."""

from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from paxray_lib.ct.structures import CODES, codes_of, count_values, is_in

# degrees: up to here the closest axes are taken, beyond it shapes would be visibly skewed
MAX_OBLIQUE = 12.0
MAX_VOXELS = 2**30  # 2 GiB of Hounsfield units; a damaged header may claim any number
_AXES = ("I", "P", "L")  # of projection.py: to the feet, to the back, to the left
_FEW = 50  # voxels; fewer do not count as a structure
# height of lungs that the scan cuts off; an abdominal CT shows some 60 mm of their bases
_MIN_LUNG_MM = 100.0
# of the left lung at least; esophagus, trachea and thyroid, values 15 to 17 of v2, have less
_RIGHT_LUNG_PART = 0.3


def _check_affine(image, path: Path) -> float:
    """Return the angle in degrees between the volume's axes and the patient's."""
    if not image.header["sform_code"] and not image.header["qform_code"]:
        raise ValueError(
            f"{path}: the header has no affine (sform and qform codes are 0), so that left and right are unknown; "
            "convert the CT again from DICOM, for instance by dcm2niix"
        )
    affine = np.asarray(image.affine, float)
    _check_spans(affine, path, "convert the CT again from DICOM")
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    angle = float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), 0, 1))))
    if angle > MAX_OBLIQUE:
        raise ValueError(
            f"{path}: the volume is {angle:.0f} degrees oblique to the patient, more than {MAX_OBLIQUE:.0f}; resample "
            "CT and segmentation to straight axes first"
        )
    return angle


def _check_spans(affine: np.ndarray, path: Path, remedy: str) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise ValueError(f"{path}: the affine {affine[:3, :3].tolist()} spans no volume; {remedy}")


def _orientation(affine: np.ndarray) -> np.ndarray:
    return ornt_transform(io_orientation(affine), axcodes2ornt(_AXES))


def _spacing(image) -> tuple[float, float, float]:
    sizes = nibabel.affines.voxel_sizes(image.affine)
    order = np.argsort(_orientation(image.affine)[:, 0])
    return tuple(float(sizes[axis]) for axis in order)


def _check_chest(
    hu: np.ndarray, structures: np.ndarray, spacing, ct: Path, segmentation: Path
) -> None:
    counts = count_values(structures)
    present = {name for name, code in CODES.items() if counts[code] >= _FEW}
    lungs = [code for code in codes_of("lung") if counts[code] >= _FEW]
    thorax = [name for name in present if name.startswith(("rib_", "vertebrae_T"))]
    if not lungs or not thorax:
        missing = "lung" if not lungs else "rib or thoracic vertebra"
        raise ValueError(
            f"{segmentation}: no {missing} among its {len(present)} structures, so this is not a CT of the chest; "
            "or do the values have other names (--names)?"
        )
    median = float(np.median(hu[is_in(structures, lungs)]))
    if median > -200:
        raise ValueError(
            f"{segmentation}: where it says lung, {ct.name} has a median of {median:.0f}, and not -900 to -500 as in "
            "Hounsfield units of lungs; is the CT in Hounsfield units, and do the values have these names (--names)?"
        )
    _check_height(is_in(structures, lungs), float(spacing[0]), ct)
    _check_position(structures, counts, ct)


def _check_height(lung: np.ndarray, slice_mm: float, ct: Path) -> None:
    """Check that the scan does not cut the lungs off so that little is left, as abdominal and neck
    CTs do.
    """
    slices = np.flatnonzero(lung.any(axis=(1, 2)))
    height = (slices[-1] - slices[0] + 1) * slice_mm
    if height < _MIN_LUNG_MM and (slices[0] == 0 or slices[-1] == len(lung) - 1):
        raise ValueError(
            f"{ct}: holds only {height:.0f} mm of the lungs' height, the scan cuts off the rest, so this is not a "
            "CT of the chest; take one that shows the lungs"
        )


def _check_position(structures: np.ndarray, counts: np.ndarray, ct: Path) -> None:
    """Check that the patient lies as the affine says: right before left, head before feet, front
    before back.
    """
    order = ("C1", "C7", "T1", "T3", "T6", "T9", "T12", "L1", "L5")
    spine = [
        name for name in (f"vertebrae_{level}" for level in order) if counts[CODES[name]] >= _FEW
    ]
    sides = [
        [
            c
            for s, c in CODES.items()
            if counts[c] >= _FEW and s.startswith(("lung_", "rib_")) and f"_{side}" in s
        ]
        for side in ("right", "left")
    ]
    back = [c for s, c in CODES.items() if counts[c] >= _FEW and s.startswith("vertebrae_")]
    front = [CODES[s] for s in ("sternum", "heart") if counts[CODES[s]] >= _FEW]
    head, feet = (
        [CODES[name] for name in spine[:1]],
        [CODES[name] for name in spine[-1:] if len(spine) > 1],
    )
    pairs = [
        (2, *sides, "right", "left"),
        (1, front, back, "front", "back"),
        (0, head, feet, "head", "feet"),
    ]
    for axis, first, second, low, high in pairs:
        if (
            first
            and second
            and not _mean(structures, first, axis) < _mean(structures, second, axis)
        ):
            raise ValueError(
                f"{ct}: by the affine, what is segmented as {low} lies to the {high}; the orientation in the header is "
                "wrong, or the segmentation's names are"
            )


def _mean(structures: np.ndarray, codes: list[int], axis: int) -> float:
    found = is_in(structures, codes)
    along = found.sum(axis=tuple(a for a in range(3) if a != axis))
    return float((along * np.arange(len(along))).sum() / along.sum())
