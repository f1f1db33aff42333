"""NIfTI files in any storage order, read into the one orientation of `projection.rays`."""

import math
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import SpatialImage

SUFFIXES = (".nii.gz", ".nii")
MAX_VOXELS = 2**30  # 2 GiB of Hounsfield units; a damaged header may claim any number
# degrees, by eye: up to here the closest axes are taken, beyond it shapes would be visibly skewed
MAX_OBLIQUE = 12.0
_AXES = ("I", "P", "L")  # of projection.rays: to the feet, to the back, to the left


def stem_of(path: Path) -> str:
    """Return the name of a file without .nii or .nii.gz."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def nifti_files(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the NIfTI files of a folder, sorted by name."""
    return sorted(path for path in folder.glob(pattern) if path.name.lower().endswith(SUFFIXES))


def open_nifti(path: Path) -> Nifti1Image:
    """Open a file that holds one volume of real numbers; its voxels are not read yet.

    Raises
    ------
    FileNotFoundError, ValueError
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{path}: not a NIfTI file (.nii, .nii.gz); convert it, DICOM series for instance by "
            "dcm2niix"
        )
    try:
        image = nibabel.load(path)
    except Exception as error:
        raise ValueError(
            f"{path}: not readable as NIfTI ({' '.join(str(error).split())})"
        ) from error
    shape = getattr(image, "shape", ())
    if not isinstance(image, Nifti1Image) or len(shape) < 3 or shape[3:] not in ((), (1,)):
        raise ValueError(f"{path}: shape {shape}; one volume of three dimensions is needed")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise ValueError(f"{path}: {kind} voxels, such as colors; one real number each is needed")
    if math.prod(shape) > MAX_VOXELS:
        raise ValueError(
            f"{path}: the header claims {shape} voxels, more than {MAX_VOXELS:,}; if it is not "
            "damaged, cut or resample the scan"
        )
    return image if image.ndim == 3 else image.slicer[..., 0]


def read_volume(image: Nifti1Image, affine: np.ndarray, path: Path) -> SpatialImage:
    """Return an image turned to (Z, Y, X): integers as stored, all else as float32."""
    stored = image.dataobj  # the header's own slope and intercept are cleared when a file is read
    scaled = (getattr(stored, "slope", 1), getattr(stored, "inter", 0)) != (1, 0)
    try:
        if scaled or image.get_data_dtype().kind == "f":
            values = image.get_fdata(dtype=np.float32, caching="unchanged")
        else:
            values = np.asarray(stored)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: damaged or cut short ({' '.join(str(error).split())})"
        ) from error
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(_AXES))
    return SpatialImage(values, affine).as_reoriented(turn)


def has_affine(image: Nifti1Image) -> bool:
    """Tell whether a header says where the voxels are."""
    return bool(image.header["sform_code"] or image.header["qform_code"])


def obliqueness(image: Nifti1Image, path: Path) -> float:
    """Return the angle in degrees between a CT's axes and the patient's.

    Raises
    ------
    ValueError
        If there is no affine, it spans no volume, or the angle is more than 12 degrees.
    """
    if not has_affine(image):
        raise ValueError(
            f"{path}: the header has no affine (sform and qform codes are 0), so that left and "
            "right are unknown; convert the CT again from DICOM, for instance by dcm2niix"
        )
    _check_spans(image.affine, path, "convert the CT again from DICOM")
    directions = image.affine[:3, :3] / voxel_sizes(image.affine)
    angle = float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), 0, 1))))
    if angle > MAX_OBLIQUE:
        raise ValueError(
            f"{path}: the volume is {angle:.0f} degrees oblique to the patient, more than "
            f"{MAX_OBLIQUE:.0f}; resample CT and segmentation to straight axes first"
        )
    return angle


def read_aligned(
    path: Path, ct_image: Nifti1Image, ct: SpatialImage
) -> tuple[Nifti1Image, np.ndarray]:
    """Open a segmentation, and return it with its (Z, Y, X) values, which lie on those of the CT.

    A header without an affine stands for that of the CT.

    The CT is given as stored, and as `read_volume` returns it. If the grids are not the same, a
    ValueError is raised.
    """
    image = open_nifti(path)
    name = Path(ct_image.get_filename() or "the CT").name
    affine = (image if has_affine(image) else ct_image).affine
    _check_spans(affine, path, "segment this very CT")
    volume = read_volume(image, affine, path)
    if volume.shape != ct.shape:
        raise ValueError(
            f"{path}: shape {image.shape}, but {name} has {ct_image.shape}; segment this very CT, "
            "or resample"
        )
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], float)
    corners[:, :3] *= np.array(ct.shape) - 1
    apart = np.abs(corners @ (volume.affine - ct.affine).T).max()
    if not apart <= 0.5 * min(voxel_sizes(ct.affine)):
        raise ValueError(
            f"{path}: its affine puts voxels up to {apart:.1f} mm from where that of {name} "
            "does; segment this very CT, or resample the segmentation to its grid"
        )
    return image, np.ascontiguousarray(volume.dataobj)


def _check_spans(affine: np.ndarray, path: Path, remedy: str) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise ValueError(f"{path}: the affine {affine[:3, :3].tolist()} spans no volume; {remedy}")
