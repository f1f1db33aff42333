"""Ribs and aorta divided into the parts that are labels of ours."""

import numpy as np
from scipy import ndimage

from paxray_lib.ct.structures import CODES, Segmented, mean_index
from paxray_lib.projection.rays import Spacing

# chosen by eye
_FRONT_MM = 10.0  # a shorter anterior part is the roughness of a floating rib's tip
_LATERAL_MM = 3.0  # what counts as a rib's most lateral point
_LIMB_MM2 = 80.0  # the smallest piece of the aorta that counts as a limb
_LIMBS_APART_MM = 15.0  # from the middle of one limb to that of the other
_LIMBS_LAST_MM = 15.0  # over this height; the top of an arch may have two humps

_RIBS = [f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)]
# codes of parts, above those of all structures
ANTERIOR_RIBS = {rib: code for code, rib in enumerate(_RIBS, 160)}
AORTA = {"aorta_ascending": 190, "aorta_arch": 191, "aorta_descending": 192}


def divide_ribs(segmented: Segmented, absent: dict[str, str]) -> dict[int, tuple[str, ...]]:
    """Give the anterior parts of ribs codes of their own, and return the labels of codes.

    A rib's most lateral point divides it; what lies in front of it is the anterior part. A rib
    that reaches less than 10 mm in front of it (the floating ribs) is posterior alone. One that
    the scan cuts is not divided. Reasons are added to `absent`.
    """
    names: dict[int, tuple[str, ...]] = {}
    for rib in (rib for rib in ANTERIOR_RIBS if CODES[rib] in segmented.boxes):
        code = CODES[rib]
        box, (_, side, number) = segmented.boxes[code], rib.split("_")
        anterior, posterior = (f"rib_{side}_{part}_{number}" for part in ("anterior", "posterior"))
        if segmented.midline is None or segmented.is_cut(code):
            reason = "no vertebra: no midline" if segmented.midline is None else "cut by the scan"
            absent |= {anterior: reason, posterior: reason}
            continue
        voxels = segmented.codes[box] == code
        # in front of the most lateral point
        flat, band = voxels.sum(axis=0), max(1, int(_LATERAL_MM / segmented.spacing[2]))
        along = (flat[:, -band:] if side == "left" else flat[:, :band]).sum(axis=1)
        y = np.arange(len(along))
        front = voxels & (y * along.sum() < (along * y).sum())[:, None]
        names[code] = (posterior,)
        if front.any(axis=(0, 2)).sum() * segmented.spacing[1] >= _FRONT_MM:
            segmented.codes[box][front] = ANTERIOR_RIBS[rib]
            names[ANTERIOR_RIBS[rib]] = (anterior,)
            if front.sum() == voxels.sum():
                absent[posterior] = "nothing of the rib lies behind its most lateral point"
        else:
            absent[anterior] = "the rib ends at its most lateral point"
    return names


def divide_aorta(segmented: Segmented, absent: dict[str, str]) -> dict[int, tuple[str, ...]]:
    """Give the parts of the aorta codes of their own, and return the labels of these.

    From the top down, the arch ends where two pieces, one behind the other, begin to last over
    15 mm. Below, a voxel is of the ascending or of the descending aorta, whichever was nearer in
    y in the slice above. The ascending aorta ends where a slice has none of it. Reasons are added
    to `absent`.
    """
    box = segmented.boxes.get(CODES["aorta"])
    if box is None:
        return {}
    aorta, parts = segmented.codes[box] == CODES["aorta"], segmented.codes[box]
    pieces = [_limbs(plane, segmented.spacing) for plane in aorta]
    lasting = max(1, round(_LIMBS_LAST_MM / segmented.spacing[0]))
    # the first slice with two limbs that last
    start = next((z for z in range(len(pieces)) if all(pieces[z : z + lasting])), None)
    if start is None or not (limbs := pieces[start]):
        absent |= dict.fromkeys(
            AORTA, "not derivable: no slice of the aorta shows two limbs, one behind the other"
        )
        return {}
    parts[:start][aorta[:start]] = AORTA["aorta_arch"]
    y = np.arange(aorta.shape[1])[:, None]
    for z in range(start, len(aorta)):
        front = aorta[z] & (np.abs(y - limbs[0]) < np.abs(y - limbs[1]))
        back = aorta[z] & ~front
        parts[z][front] = AORTA["aorta_ascending"]
        parts[z][back] = AORTA["aorta_descending"]
        # an ascending aorta that ended stays so: the abdominal aorta may come as far to the front
        ascending = mean_index(front, 0) if front.any() else -np.inf
        limbs = ascending, mean_index(back, 0) if back.any() else limbs[1]
    if start == 0 and box[0].start == 0:
        absent["aorta_arch"] = "outside the scan, which begins below it"
    return {code: (part,) for part, code in AORTA.items() if part not in absent}


def _limbs(plane: np.ndarray, spacing: Spacing) -> tuple[float, float] | None:
    """Return the mean y of the front and the back piece of a slice, None if there are no two."""
    pieces, count = ndimage.label(plane)
    areas = np.bincount(pieces.ravel()) * spacing[1] * spacing[2]
    rows = [mean_index(pieces == i, 0) for i in range(1, count + 1) if areas[i] >= _LIMB_MM2]
    if len(rows) < 2 or np.ptp(rows) * spacing[1] < _LIMBS_APART_MM:
        return None
    return min(rows), max(rows)
