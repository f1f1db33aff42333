"""The patient alone: the table and all else around the body removed, contrast agent and metal
limited.

Everything is symmetric about the middle of the volume and in integers, so that a mirrored volume
gives exactly the mirrored result.
"""

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.ct.structures import codes_named, codes_of, is_in
from paxray_lib.projection.rays import Box, Spacing

AIR, TISSUE = -1024, -200  # HU; the body is what exceeds TISSUE, as in the published recipe
# HU, chosen by eye
SOFT_CAP = 100  # above all soft tissue without contrast agent
METAL_CAP = 2000  # above all bone
NEAR_CAP = 400  # bone that the segmentation missed, and contrast agent that touches bone
# mm, chosen by eye
_THIN_MM = 4.0  # half of what an opening removes: sheets, tubes and the patient's contact with them
_NEAR_MM = 3.0  # bone is segmented at best to this


def body_mask(hu: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Return the (Z, Y, X) bool mask of the body: the largest piece above -200 HU, holes filled.

    An opening in the plane of each slice parts the patient from the table and removes blankets,
    arm rests and cables. Holes (lungs, bowel gas) are filled slice by slice.

    Raises
    ------
    ValueError
        If nothing exceeds -200 HU.
    """
    kernel = disk(_THIN_MM, spacing)
    pieces, count = ndimage.label(np.stack([opened(plane, kernel) for plane in hu > TISSUE]))
    if not count:
        raise ValueError(f"nothing in the volume is above {TISSUE} HU; are these Hounsfield units?")
    body = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    for plane in body:  # twenty times as fast as ndimage.binary_fill_holes
        outside = np.pad(plane, 1).view(np.uint8)
        cv2.floodFill(outside, None, (0, 0), 2)
        plane |= outside[1:-1, 1:-1] == 0
    return body


def opened(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the morphological opening of a (Y, X) bool plane."""
    return cv2.morphologyEx(plane.view(np.uint8), cv2.MORPH_OPEN, kernel, borderValue=0).view(bool)


def disk(radius_mm: float, spacing: Spacing) -> np.ndarray:
    """Return the uint8 kernel of a disk in the plane of a slice."""
    reach_y, reach_x = (int(radius_mm / s) for s in spacing[1:])
    y, x = np.ogrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    return ((y * spacing[1]) ** 2 + (x * spacing[2]) ** 2 <= radius_mm**2).astype(np.uint8)


def limit_contrast(
    hu: np.ndarray, structures: np.ndarray, body: np.ndarray, spacing: Spacing
) -> np.ndarray:
    """Return the (Z, Y, X) int16 Hounsfield units of the body alone, -1024 around it.

    Metal: bone and cartilage end at 2000 HU. Contrast agent: all else ends at 100 HU, except that
    unsegmented matter within 3 mm of bone, which may be bone too, ends at 400 HU; and so does all
    unsegmented matter if no rib or no vertebra is segmented.
    """
    bones_known = all(
        is_in(structures, codes_named(pattern)).any() for pattern in ("rib_*", "vertebrae_*")
    )
    kernel = disk(_NEAR_MM, spacing)
    limited = np.full(hu.shape, AIR, np.int16)
    for z, bone in enumerate(is_in(structures, codes_of("bone", "cartilage"))):
        beside = cv2.dilate(bone.view(np.uint8), kernel, borderValue=0).view(bool)
        near = (structures[z] == 0) & (beside | (not bones_known))
        cap = np.select([bone, near], np.array([METAL_CAP, NEAR_CAP], np.int16), np.int16(SOFT_CAP))
        np.copyto(limited[z], np.minimum(hu[z], cap), where=body[z])
    return limited


def bounding_box(body: np.ndarray) -> Box:
    """Return the box of the body in y and x, with all slices."""
    rows, columns = ndimage.find_objects(body.any(axis=0).view(np.uint8))[0]
    return slice(None), rows, columns
