"""Where the voxels of a NIfTI file lie, by its header; what no CT of a body can have is refused."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage

from paxray_lib.ct.nifti import open_nifti, read_volume, turn

# degrees, by eye: up to here the closest axes are taken, beyond it shapes would be visibly skewed
MAX_OBLIQUE = 12.0
_MAX_SKEW = 3.0  # degrees from a right angle between two axes, as a tilted gantry makes them
_VOXEL_MM = 0.05, 20.0  # from the finest detectors to slices with gaps
_FIELD_MM = 100.0, 2000.0  # of what a body is scanned in
_UNKNOWN_UNIT, _MM = 0, 2  # codes of NIfTI
_SAME_LENGTH, _SAME_PLACE = 0.01, 0.5  # relative; of a voxel
_AGAIN = "convert the CT again from DICOM, for instance by dcm2niix"


def has_affine(image: Nifti1Image) -> bool:
    """Tell whether a header says where the voxels are."""
    return bool(image.header["sform_code"] or image.header["qform_code"])


def obliqueness(image: Nifti1Image, path: Path) -> float:
    """Return the angle in degrees between a CT's axes and the patient's.

    Raises
    ------
    ValueError
        If there is no affine, it spans no volume or contradicts the rest of the header, the angle
        is more than 12 degrees, the axes are not at right angles, or lengths are not those of a
        body in mm.
    """
    if not has_affine(image):
        raise ValueError(
            f"{path}: the header has no affine (sform and qform codes are 0), so that left and "
            f"right are unknown; {_AGAIN}"
        )
    _check_spans(image.affine, path, _AGAIN)
    _check_lengths(image, path)
    _check_consistent(image, path)
    directions = image.affine[:3, :3] / voxel_sizes(image.affine)
    angle = float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), 0, 1))))
    if angle > MAX_OBLIQUE:
        raise ValueError(
            f"{path}: the volume is {angle:.0f} degrees oblique to the patient, more than "
            f"{MAX_OBLIQUE:.0f}; resample CT and segmentation to straight axes first"
        )
    skew = float(np.degrees(np.arcsin(np.abs(np.triu(directions.T @ directions, 1)).max())))
    if skew > _MAX_SKEW:
        raise ValueError(
            f"{path}: the axes of the volume are {skew:.0f} degrees from a right angle, as with a "
            "tilted gantry; resample CT and segmentation to straight axes first"
        )
    return angle


def _check_lengths(image: Nifti1Image, path: Path) -> None:
    sizes = voxel_sizes(image.affine)
    for name, lengths, (low, high) in (
        ("voxels", sizes, _VOXEL_MM),
        ("a field of view", sizes * image.shape[:3], _FIELD_MM),
    ):
        if min(lengths) < low * (1 - 1e-6) or max(lengths) > high * (1 + 1e-6):
            raise ValueError(
                f"{path}: {name} of {_text(lengths)} mm, but a CT of a body has {low:g} to "
                f"{high:g} mm along each axis; is the affine in millimetres? {_AGAIN}"
            )


def _text(lengths: Iterable[float]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)


def _check_consistent(image: Nifti1Image, path: Path) -> None:
    """Refuse a header that says in two ways, or in two units, where voxels are."""
    header, sizes = image.header, voxel_sizes(image.affine)
    unit = int(header["xyzt_units"]) % 8
    if unit not in (_UNKNOWN_UNIT, _MM):
        raise ValueError(
            f"{path}: the header's unit of length has the code {unit}, not {_MM} for mm; {_AGAIN}"
        )
    zooms = header.get_zooms()[:3]
    if not np.allclose(zooms, sizes, rtol=_SAME_LENGTH):
        raise ValueError(
            f"{path}: the header contradicts itself: by pixdim voxels have {_text(zooms)} mm, by "
            f"the affine {_text(sizes)} mm; {_AGAIN}"
        )
    if header["sform_code"] and header["qform_code"]:
        apart = _distance(header.get_sform(), header.get_qform(), image.shape[:3])
        if not apart <= _SAME_PLACE * min(sizes):
            raise ValueError(
                f"{path}: the header contradicts itself: sform and qform put voxels up to "
                f"{apart:.1f} mm apart; {_AGAIN}, or set the code of the wrong one to 0"
            )


def read_aligned(
    path: Path, ct_image: Nifti1Image, ct: SpatialImage
) -> tuple[Nifti1Image, np.ndarray]:
    """Open a segmentation, and return it with its (Z, Y, X) values, which lie on those of the CT.

    A header without an affine stands for that of the CT.

    The CT is given as stored, and as `read_volume` returns it. ValueError, before voxels are read,
    if the grids are not the same.
    """
    image = open_nifti(path)
    name = Path(ct_image.get_filename() or "the CT").name
    affine = (image if has_affine(image) else ct_image).affine
    _check_spans(affine, path, "segment this very CT")
    place = turn(np.broadcast_to(np.uint8(0), image.shape[:3]), affine)
    if place.shape != ct.shape:
        raise ValueError(
            f"{path}: shape {image.shape}, but {name} has {ct_image.shape}; segment this very CT, "
            "or resample"
        )
    apart = _distance(place.affine, ct.affine, ct.shape)
    if not apart <= _SAME_PLACE * min(voxel_sizes(ct.affine)):
        raise ValueError(
            f"{path}: its affine puts voxels up to {apart:.1f} mm from where that of {name} "
            "does; segment this very CT, or resample the segmentation to its grid"
        )
    return image, np.ascontiguousarray(read_volume(image, affine, path).dataobj)


def _distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the greatest distance, along an axis, between where two affines put a corner."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], float)
    corners[:, :3] *= np.array(shape) - 1
    return float(np.abs(corners @ (first - second).T).max())


def _check_spans(affine: np.ndarray, path: Path, remedy: str) -> None:
    sizes = voxel_sizes(affine) if (np.abs(affine) < 1e30).all() else np.zeros(3)
    if not min(sizes) > 0 or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-3:
        raise ValueError(f"{path}: the affine {affine[:3, :3].tolist()} spans no volume; {remedy}")
