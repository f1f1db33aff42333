"""NIfTI files in any storage order, read into the one orientation of `projection.rays`.

A file must be exactly what its header says: of the size that follows from it and, where it is
compressed, with the checksum of gzip at its end.
"""

import contextlib
import gzip
import io
import logging
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Image
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import SpatialImage

from paxray_lib.utils import naming_errors, open_file

SUFFIXES = (".nii.gz", ".nii")
MAX_VOXELS = 2**30
MAX_BYTES = 2**31  # as stored: MAX_VOXELS of int16
_MAX_HEADER = 2**24  # bytes with its extensions, which may hold the tags of a DICOM series
_MAX_RATIO = 1032  # of deflate, by its format
_ERROR_LEVEL = 30  # of nibabel: what it would mend by a guess, such as a pixdim of 0
_SILENT = logging.Logger("nibabel", logging.CRITICAL + 1)
_AXES = ("I", "P", "L")  # of projection.rays: to the feet, to the back, to the left


def stem_of(path: Path) -> str:
    """Return the name of a file without .nii or .nii.gz."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def nifti_files(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the NIfTI files of a folder, sorted by name, without hidden ones."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.name.lower().endswith(SUFFIXES)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def open_nifti(path: Path) -> Nifti1Image:
    """Open a file that holds one volume of real numbers; its voxels are not read yet.

    FileNotFoundError or ValueError if it is none, or claims more than is in it or than the limits.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{path}: not a NIfTI file (.nii, .nii.gz); convert it, DICOM series for instance by "
            "dcm2niix"
        )
    with (
        _contents(path) as (stream, most_bytes),
        naming_errors(path, "not readable as NIfTI"),
        warnings.catch_warnings(action="error"),
    ):
        header, kind = _read_header(stream)
        files = kind.make_file_map({"image": str(path)})
        image = kind(ArrayProxy(str(path), header), header.get_best_affine(), header, None, files)
    shape, dtype = image.shape, image.get_data_dtype()
    if len(shape) < 3 or shape[3:] not in ((), (1,)) or min(shape) < 1:
        raise ValueError(f"{path}: shape {shape}; one volume of three dimensions is needed")
    if dtype.kind not in "iuf":
        raise ValueError(f"{path}: {dtype} voxels, such as colors; one real number each is needed")
    needed = math.prod(shape) * dtype.itemsize
    if math.prod(shape) > MAX_VOXELS or needed > MAX_BYTES:
        raise ValueError(
            f"{path}: the header claims {shape} voxels of {dtype}, more than {MAX_VOXELS:,} or "
            f"{MAX_BYTES >> 20:,} MiB; if it is not damaged, cut or resample the scan"
        )
    if needed > most_bytes:
        raise ValueError(
            f"{path}: the header claims {shape} voxels of {dtype}, but the file can hold "
            f"{most_bytes:,} bytes of {needed:,}: damaged or cut short; fetch or convert it again"
        )
    return image


def read_volume(image: Nifti1Image, affine: np.ndarray, path: Path) -> SpatialImage:
    """Return an image turned to (Z, Y, X): integers as stored, all else as float32.

    ValueError if the file is damaged, shorter or longer than its header says.
    """
    proxy = cast(ArrayProxy, image.dataobj)
    spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    with _contents(path) as (stream, _), naming_errors(path, "damaged or cut short"):
        stored = ArrayProxy(stream, spec, mmap=False)  # a mapped file may be cut meanwhile
        if (stored.slope, stored.inter) != (1, 0) or stored.dtype.kind == "f":
            with np.errstate(over="ignore"):  # an infinity then, which is refused later
                volume = type(image)(stored, affine)
                values = volume.get_fdata(dtype=np.float32, caching="unchanged")
        else:
            values = np.asarray(stored)
        if stream.read(1):  # at the end, gzip compares its checksum
            raise ValueError("it goes on behind the voxels that its header claims")
    return turn(values.reshape(image.shape[:3], order="F"), affine)


def turn(values: np.ndarray, affine: np.ndarray) -> SpatialImage:
    """Return a view of a volume turned to (Z, Y, X), with its affine."""
    order = ornt_transform(io_orientation(affine), axcodes2ornt(_AXES))
    return SpatialImage(values, affine).as_reoriented(order)


@contextlib.contextmanager
def _contents(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open the bytes of a file, unpacked if they are gzip; yield how many there can be, too."""
    with open_file(path) as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        if not is_packed:
            yield file, size
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast(BinaryIO, unpacked), size * _MAX_RATIO


def _read_header(stream: BinaryIO) -> tuple[Nifti1Header, type[Nifti1Image]]:
    """Return the header with its extensions, and the kind of image that it belongs to."""
    head = stream.read(Nifti2Image.header_class.sizeof_hdr)
    kinds: tuple[type[Nifti1Image], ...] = (Nifti1Image, Nifti2Image)
    kind = next((k for k in kinds if k.header_class.may_contain_header(head)), None)
    if kind is None:
        raise ValueError("it does not begin with a header of NIfTI")
    header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
    header.check_fix(_SILENT, _ERROR_LEVEL)
    if header["magic"].item() != header.single_magic:
        raise ValueError("the header is that of a pair of .hdr and .img")
    offset = header.get_data_offset()
    if not header.single_vox_offset <= offset <= _MAX_HEADER:
        raise ValueError(f"the header says that voxels begin at byte {offset}")
    if not np.isfinite([header["scl_slope"], header["scl_inter"]]).all():
        raise ValueError(f"scl_slope {header['scl_slope']}, scl_inter {header['scl_inter']}")
    begin = head + stream.read(offset - len(head)) if offset > len(head) else head[:offset]
    # from the bytes in front of the voxels alone: extensions may claim any length
    header = kind.header_class.from_fileobj(io.BytesIO(begin), check=False)
    header.check_fix(_SILENT, _ERROR_LEVEL)
    return header, kind
