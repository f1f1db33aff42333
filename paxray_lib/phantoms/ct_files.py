"""A phantom as a CT with a segmentation, so that it passes through the same code as a real one."""

import os
from pathlib import Path

import nibabel
import numpy as np

from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES, STRUCTURES
from paxray_lib.phantoms.phantom import Phantom, make_phantom
from paxray_lib.utils.files import atomic_write, write_text

_STAND_INS = {
    "hemidiaphragm_right": "liver",  # all that is under the phantom's domes
    "hemidiaphragm_left": "stomach",
    **{f"aorta_{part}": "aorta" for part in ("ascending", "arch", "descending")},
}


def phantom_scan(phantom: Phantom) -> Scan:
    """Return the volume of a phantom, arms raised, with structures as of TotalSegmentator.

    What is under the diaphragm is liver on the right and stomach on the left. Where structures
    overlap, the later volume of the phantom wins: a voxel of a CT's segmentation has one value.
    """
    hu = phantom.hu["lateral"]
    structures = np.zeros(hu.shape, np.uint8)
    for volume, names in phantom.volumes:
        table = np.zeros(256, np.uint8)
        table[list(names)] = [CODES.get(_structure(of[0]), 0) for of in names.values()]
        codes = table[volume]
        np.copyto(structures, codes, where=codes > 0)
    return Scan(hu, structures, phantom.spacing, {})


def _structure(label: str) -> str:
    """Return the name of the structure that a label is, or is a part of, or an empty string."""
    whole = label.replace("_anterior", "").replace("_posterior", "")
    named = (structure.name for structure in STRUCTURES if structure.label == whole)
    return _STAND_INS.get(label) or next(named, "")


def write_phantom_ct(
    out: str | os.PathLike, seed: int = 0, case: int = 0, size: int = 256
) -> tuple[Path, Path]:
    """Write a phantom as `phantom_ct.nii` and `phantom_seg.nii`, with a table of names.

    Returns
    -------
    ct, segmentation : Path
    """
    out = Path(out)
    scan = phantom_scan(make_phantom(seed, case, size))
    z, y, x = scan.spacing
    # to the left, back and feet
    affine = np.array([[-x, 0, 0, 0], [0, -y, 0, 0], [0, 0, -z, 0], [0, 0, 0, 1.0]])
    for name, volume in (("ct", scan.hu), ("seg", scan.structures)):
        with atomic_write(out / f"phantom_{name}.nii") as temporary:
            nibabel.save(nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine), temporary)
    write_text(
        out / "phantom_seg_labels.tsv",
        "".join(f"{code}\t{name}\n" for name, code in CODES.items()),
    )
    return out / "phantom_ct.nii", out / "phantom_seg.nii"
