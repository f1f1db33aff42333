"""The patient alone: what is around the body is removed from a CT, and contrast agent and metal are
bounded.

Everything is symmetric about the middle of the volume and in integers, so that a mirrored volume
gives exactly the mirrored result."""

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.ct.structures import STRUCTURES, codes_of, is_in

AIR, TISSUE = -1024, -200  # HU; the body is what exceeds TISSUE, as in the published recipe
SOFT_CAP = 100  # HU: above all soft tissue without contrast agent
METAL_CAP = 2000  # HU: above all bone
NEAR_CAP = 400  # HU: bone that the segmentation missed, and contrast agent that touches bone
_THIN_MM = 4.0  # half of what an opening removes: sheets, tubes and the patient's contact with them
_NEAR_MM = 3.0  # bone is segmented at best to this


def body_mask(hu: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the (Z, Y, X) bool mask of the body: the largest piece above -200 HU, with its holes.

    An opening in the plane of each slice parts the patient from the table and removes blankets, arm
    rests and cables; holes (lungs, bowel gas) are filled slice by slice.

    Raises
    ------
    ValueError
        If nothing exceeds -200 HU.
    """
    tissue = (hu > TISSUE).view(np.uint8)
    kernel = disk(_THIN_MM, spacing)
    opened = np.stack([cv2.morphologyEx(s, cv2.MORPH_OPEN, kernel, borderValue=0) for s in tissue])
    pieces, count = ndimage.label(opened)
    if not count:
        raise ValueError(f"nothing in the volume is above {TISSUE} HU; are these Hounsfield units?")
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == 1 + int(sizes.argmax())
    for s in body:
        s |= _holes(s)
    return body


def _holes(piece: np.ndarray) -> np.ndarray:
    outside = np.pad(piece, 1).view(np.uint8)
    cv2.floodFill(outside, None, (0, 0), 2)
    return outside[1:-1, 1:-1] == 0


def disk(radius_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the uint8 kernel of a disk in the plane of a slice."""
    reach = [int(radius_mm / s) for s in spacing[1:]]
    y, x = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    return ((y * spacing[1]) ** 2 + (x * spacing[2]) ** 2 <= radius_mm**2).astype(np.uint8)


def bounded(
    hu: np.ndarray, structures: np.ndarray, body: np.ndarray, spacing: tuple[float, float, float]
) -> np.ndarray:
    """Return the (Z, Y, X) int16 Hounsfield units of the body alone, -1024 around it.

    Metal: bone and cartilage end at 2000 HU. Contrast agent: all else ends at 100 HU, but
    unsegmented matter within 3 mm of bone, which may be bone too, at 400 HU; and all unsegmented
    matter if no rib or no vertebra is segmented."""
    with_bones = all(
        is_in(structures, codes).any() for codes in (_codes_from("rib_"), _codes_from("vertebrae_"))
    )
    hard = is_in(structures, codes_of("bone", "cartilage"))
    kernel = disk(_NEAR_MM, spacing)
    out = np.full(hu.shape, AIR, np.int16)
    for plane, values, bone, named, inside in zip(out, hu, hard, structures, body, strict=True):
        near = named == 0
        if with_bones:
            near &= cv2.dilate(bone.view(np.uint8), kernel, borderValue=0).view(bool)
        cap = np.where(
            bone, np.int16(METAL_CAP), np.where(near, np.int16(NEAR_CAP), np.int16(SOFT_CAP))
        )
        np.copyto(plane, np.minimum(values, cap), where=inside)
    return out


def _codes_from(start: str) -> list[int]:
    return [structure.code for structure in STRUCTURES if structure.name.startswith(start)]


def bounding_box(body: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the box of the body in y and x, with all slices."""
    flat = body.any(axis=0)
    ends = [np.flatnonzero(flat.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    return (slice(None), *(slice(int(first), int(last) + 1) for first, last in ends))
