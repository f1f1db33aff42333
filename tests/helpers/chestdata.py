"""A chest of blocks with TotalSegmentator's structures, and NIfTI files of it in any storage
order.
"""

from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform

from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES, STRUCTURES
from paxray_lib.labels.table import LABELS

SPACING = (5.0, 4.0, 3.0)
SHAPE = (50, 48, 80)
ORDERS = ["RAS", "LPS", "LAS", "RPI", "ASR", "SLP", "IPL", "PIR"]
SIDES = {"right": -1, "left": 1}


def make_chest() -> Scan:
    """Return a chest of blocks: z from head to feet, y from front to back, x from right to left;
    240 mm wide.
    """
    hu = np.full(SHAPE, -1000, np.int16)
    structures = np.zeros(SHAPE, np.uint8)

    def put(name, z, y, x, value):
        box = slice(*z), slice(*y), slice(*x)
        structures[box] = CODES[name]
        hu[box] = value

    hu[:, 4:42, 6:74] = 20  # the body
    hu[:, 46:47, 10:70] = 100  # the table
    for side, sign in SIDES.items():
        x = sorted((40 + sign * 7, 40 + sign * 28))
        put(f"lung_upper_lobe_{side}", (8, 20), (9, 34), x, -850)
        put(f"lung_lower_lobe_{side}", (20, 34), (9, 34), x, -850)
        vessel = sorted((40 + sign * 12, 40 + sign * 22))
        hu[18:20, 20:22, slice(*vessel)] = 30
        for number in range(1, 13):
            _put_rib(put, side, sign, number)
    put("liver", (34, 46), (9, 34), (14, 40), 60)
    put("stomach", (36, 46), (9, 30), (42, 66), 30)
    put("heart", (22, 34), (12, 22), (36, 50), 40)
    put("trachea", (2, 18), (19, 22), (39, 41), -1000)
    put("aorta", (14, 17), (14, 29), (42, 46), 250)
    put("aorta", (17, 22), (14, 18), (42, 46), 250)
    put("aorta", (17, 48), (25, 29), (42, 46), 250)
    put("sternum", (12, 26), (6, 8), (38, 42), 300)
    levels = ["C7", *(f"T{i}" for i in range(1, 13)), "L1"]
    for place, level in enumerate(levels):
        put(f"vertebrae_{level}", (3 * place + 1, 3 * place + 4), (30, 39), (36, 44), 400)
    return Scan(hu, structures, SPACING, {})


def _put_rib(put, side, sign, number):
    """Paint a rib: from the spine outward, along the side and, but for the last two, inward again
    in front.
    """
    z = 3 * number + 4
    out = sorted((40 + sign * 28, 40 + sign * 31))
    put(f"rib_{side}_{number}", (z, z + 1), (36, 38), sorted((40 + sign * 4, 40 + sign * 31)), 350)
    if number < 11:
        put(f"rib_{side}_{number}", (z, z + 1), (8, 38), out, 350)
        put(
            f"rib_{side}_{number}",
            (z, z + 1),
            (7, 9),
            sorted((40 + sign * 14, 40 + sign * 31)),
            350,
        )


def mirrored(scan: Scan) -> Scan:
    """Return the mirror image of a scan: reversed, with the names of left and right exchanged."""
    swap = np.arange(256, dtype=np.uint8)
    for name, code in CODES.items():
        for side, other in (("left", "right"), ("right", "left")):
            if f"_{side}" in name:
                swap[code] = CODES.get(name.replace(f"_{side}", f"_{other}"), code)
    return Scan(scan.hu[:, :, ::-1].copy(), swap[scan.structures[:, :, ::-1]], scan.spacing, {})


def values_of(structures: np.ndarray) -> np.ndarray:
    """Return the values that TotalSegmentator v2 writes for our codes."""
    table = np.zeros(256, np.uint8)
    for structure in STRUCTURES:
        table[structure.code] = structure.value or 0
    return table[structures]


def stored(volume: np.ndarray, spacing, order: str) -> nibabel.Nifti1Image:
    """Return a NIfTI image of a (z, y, x) volume, stored in an order such as "RAS"."""
    affine = np.zeros((4, 4))
    for axis, world, sign in ((0, 2, -1), (1, 1, -1), (2, 0, -1)):  # (I, P, L) against (R, A, S)
        affine[world, axis] = sign * spacing[axis]
    affine[:, 3] = (100, 90, 80, 1)
    image = nibabel.Nifti1Image(np.asarray(volume), affine)
    return image.as_reoriented(ornt_transform(axcodes2ornt("IPL"), axcodes2ornt(order)))


def write_case(
    folder: Path, scan: Scan | None = None, name: str = "p1", order: str = "RAS"
) -> tuple[Path, Path]:
    """Write a scan as `<name>_ct.nii.gz` and `<name>_seg.nii.gz`; return both paths."""
    scan = scan or make_chest()
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}_ct.nii.gz", folder / f"{name}_seg.nii.gz"
    for path, volume in zip(paths, (scan.hu, values_of(scan.structures)), strict=True):
        nibabel.save(stored(volume, scan.spacing, order), path)
    return paths


def all_orders() -> list[str]:
    """Return the 48 storage orders."""
    orders = []
    for axes in ("RAS", "RSA", "ARS", "ASR", "SRA", "SAR"):
        opposite = {"R": "L", "A": "P", "S": "I"}
        orders += ["".join(opposite[a] if flip else a for a, flip in zip(axes, flips, strict=True))
                   for flips in product((False, True), repeat=3)]  # fmt: skip
    return orders


def masks_of(scan: Scan) -> dict[str, np.ndarray]:
    """Return {label: (Z, Y, X) bool} of a scan, wholes as unions of their parts."""
    masks = {}
    for volume, names in derive(scan).volumes:
        for value, labels in names.items():
            for name in labels:
                masks[name] = masks.get(name, False) | (volume == value)
    for name in reversed([LABELS.names[i] for i, _ in LABELS.tree()]):
        for i in LABELS.index(name):
            for parent in LABELS.parents[i]:
                if name in masks:
                    masks[LABELS.names[parent]] = (
                        masks.get(LABELS.names[parent], False) | masks[name]
                    )
    return {name: mask for name, mask in masks.items() if mask.any()}


def without(scan: Scan, *names: str) -> Scan:
    """Return a scan without the structures of these names."""
    structures = scan.structures.copy()
    structures[np.isin(structures, [CODES[name] for name in names])] = 0
    return Scan(scan.hu, structures, scan.spacing, {})


def centre(mask: np.ndarray) -> np.ndarray:
    """Return the mean position of a mask's voxels."""
    return np.argwhere(mask).mean(axis=0)
