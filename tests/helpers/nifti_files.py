"""NIfTI files of a small chest, `in/p1_ct` and `in/p1_seg`, with something wrong in them, and the
command that meets them.
"""

import gzip
import struct
import tempfile
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
from helpers.chestdata import SPACING, stored, values_of, write_case
from helpers.chestdata import make_chest as _make_chest

# where fields of a NIfTI-1 header begin
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SCL_SLOPE, SCL_INTER = 40, 70, 76, 108, 112, 116
XYZT_UNITS, QFORM_CODE, SFORM_CODE, QOFFSET_X, SROW_X, MAGIC, EXTENSION = (
    123, 252, 254, 268, 280, 344, 348,
)  # fmt: skip
make_chest = lru_cache(_make_chest)

PROJECT = (
    "project --ct {here}/in/p1_ct.nii --segmentation {here}/in/p1_seg.nii --out {here}/out "
    "--size 32"
)
FOLDER = "project --ct {here}/in --segmentation {here}/in --out {here}/out --size 32"
FAILED, DONE = "0 projected, 0 skipped, 1 failed", "1 projected, 0 skipped, 0 failed"


@lru_cache
def good_files() -> dict[str, bytes]:
    """Return the bytes, not compressed, of a good CT and its segmentation."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_case(Path(folder), make_chest())
        return {
            kind: gzip.decompress(path.read_bytes())
            for kind, path in zip(("ct", "seg"), paths, strict=True)
        }


def write_good(here: Path, suffix: str = ".nii", case: str = "p1") -> dict[str, Path]:
    """Write the good files as in/<case>_ct and in/<case>_seg; return their paths."""
    folder = here / "in"
    folder.mkdir(exist_ok=True)
    paths = {kind: folder / f"{case}_{kind}{suffix}" for kind in good_files()}
    for kind, content in good_files().items():
        paths[kind].write_bytes(packed(content) if suffix.endswith(".gz") else content)
    return paths


def packed(content: bytes) -> bytes:
    """Return gzip of some bytes, the same at any time."""
    return gzip.compress(content, 1, mtime=0)


def changed(change, *kinds: str, suffix: str = ".nii"):
    """Return what writes the good files, the bytes of some kinds (the CT) as `change` returns."""

    def make(here):
        paths = write_good(here, suffix)
        for kind in kinds or ("ct",):
            paths[kind].write_bytes(change(paths[kind].read_bytes()))

    return make


def poked(*fields: tuple, kinds=("ct",)):
    """Return what writes the good files with (offset, format, value, ...) in a header."""

    def change(content):
        content = bytearray(content)
        for offset, form, *values in fields:
            struct.pack_into(f"<{form}", content, offset, *values)
        return bytes(content)

    return changed(change, *kinds)


def scaled(*factors, kinds=("ct", "seg")):
    """Return what writes files whose voxels are longer by `factors` of x, y and z."""

    def make(here):
        for kind, path in write_good(here).items():
            if kind in kinds:
                image = nibabel.load(path, mmap=False)
                _save(path, np.asarray(image.dataobj), image.affine @ np.diag([*factors, 1]))

    return make


def placed(change, *kinds: str):
    """Return what writes files of which some (the CT) have the affine `change(affine)`."""

    def make(here):
        for kind, path in write_good(here).items():
            if kind in (kinds or ("ct",)):
                image = nibabel.load(path, mmap=False)
                _save(path, np.asarray(image.dataobj), change(image.affine))

    return make


def remade(change):
    """Return what writes the volumes `change(hu, values)`, both (Z, Y, X), as the good ones lie."""

    def make(here):
        paths = write_good(here)
        chest = make_chest()
        volumes = change(chest.hu, values_of(chest.structures))
        for path, volume in zip(paths.values(), volumes, strict=True):
            image = stored(volume.astype(np.float64), SPACING, "RAS")
            _save(path, np.asarray(image.dataobj).astype(volume.dtype), image.affine)

    return make


def _save(path, values, affine):
    nibabel.save(nibabel.Nifti1Image(values, affine, dtype=values.dtype), path)


def bad_ct(words: str) -> tuple[str, int, str]:
    """Return command, code and words of a case that fails for its CT."""
    return PROJECT, 1, rf"failed: p1: \S+p1_ct\.nii: .*{words}.*{FAILED}"


def bad_segmentation(words: str) -> tuple[str, int, str]:
    """Return command, code and words of a case that fails for its segmentation."""
    return PROJECT, 1, rf"failed: p1: \S+p1_seg\.nii: .*{words}.*{FAILED}"
