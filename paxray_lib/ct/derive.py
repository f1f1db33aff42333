"""Label volumes from a segmented CT: what is segmented, and what follows from it by the rules
below.

Coordinates are those of projection.py: z to the feet, y to the back, x to the left. Nothing is
guessed: where a rule lacks what it needs, its labels are absent and the reason is listed. Every
rule treats left and right alike, in integers or with symmetric sums, so that a mirrored volume
gives exactly the mirrored labels.

- Incomplete segmentations: what wholes and derived labels need is listed in needs.py; without it
  they are absent.
- Strays: loose pieces of bones with less than a tenth of the largest piece are left out. Of a left
  structure that lies to the right of its counterpart, or the reverse, the smaller one is left out
  if it has less than a tenth of the other's voxels or 500 mm3: a few voxels with the name of a rib
  that the scan cut off. Larger ones are an exchange of sides, which `project.check_sides` refuses.
- Ribs: a rib's most lateral point divides it; what lies in front of it is the anterior part. A rib
  that reaches less than 10 mm in front of it (the floating ribs) is posterior alone. One that the
  scan cuts is not divided.
- Aorta: from the top down, the arch ends where two pieces, one behind the other, begin to last over
  15 mm. Below, a voxel is of the ascending or of the descending aorta, whichever was nearer in y in
  the slice above; the ascending aorta ends where a slice has none of it.
- Under the diaphragm: inside the convex outline of lungs, heart and abdominal organs of each slice,
  what lies below the lungs and below the top of the abdominal organs in its column (beside the
  organs, below the weighted mean of their tops), without parts thinner than 12 mm and pieces
  without an organ (chest wall). The midline of the vertebrae divides it into the hemidiaphragms.
- Mediastinum: the heart, and inside the same outline what lies between the lungs (in rows without a
  lung, between their edges in the nearest rows), above the diaphragm and in front of the spine,
  without parts thinner than 6 mm and without what separates a lung from an organ less than 45 mm
  under it, beside the heart. The plane midway between the bodies of T4 and T5 divides it into upper
  and lower, where the scan cuts neither.
- Lower mediastinum: middle is the convex outline, in each slice, of heart, great veins, pulmonary
  vessels, airways and ascending aorta; the rest is anterior in front of that outline's middle and
  posterior behind it.
- Lung vessels: above -400 HU inside a lung, at least 3 mm from its edge. Nodules and walls of
  bronchi are among them. Where that is more than a tenth of a lung, it is no vessels but a lung
  without air, and the label is absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy import ndimage

from paxray_lib.ct.body import disk
from paxray_lib.ct.cleanup import without_strays
from paxray_lib.ct.mediastinum import REGIONS, find_regions, mean_row
from paxray_lib.ct.prerequisites import unmet
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES, STRUCTURES, codes_of, count_values, is_in, lung_codes
from paxray_lib.labels.table import LABELS
from paxray_lib.projection.rays import LabelVolume

_FRONT_MM = 10.0  # a shorter anterior part is the roughness of a floating rib's tip
_LATERAL_MM = 3.0  # what counts as a rib's most lateral point
# smallest piece of the aorta that counts as a limb; how far limbs are apart
_LIMB_MM2, _LIMBS_APART_MM = 80.0, 15.0
_LIMBS_LAST_MM = 15.0  # over this height; the top of an arch may have two humps
_VESSEL_HU, _PLEURA_MM = -400, 3.0
# of a lung: vessels that a CT shows are some 2 %, all blood of the lungs with their tissue is more
_VESSEL_PART = 0.1
_ANTERIOR = 160  # code of a rib's anterior part: this and its number in _RIBS
_AORTA = {"aorta_ascending": 190, "aorta_arch": 191, "aorta_descending": 192}
_RIBS = [f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)]
_UPWARD = (
    [f"c{i}" for i in range(1, 8)]
    + [f"t{i}" for i in range(1, 13)]
    + [f"l{i}" for i in range(1, 6)]
    + ["sacrum"]
)


@dataclass
class Anatomy:
    """The labels of one scan.

    Attributes
    ----------
    volumes : list of (volume, names)
        For `projection.cast_shadows`.
    absent : dict of label to reason
    """

    volumes: list[LabelVolume] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


def derive(scan: Scan) -> Anatomy:
    """Return the label volumes of a scan, and the reason for each label that it does not have."""
    anatomy, spacing = Anatomy(), scan.spacing
    structures, anatomy.absent = without_strays(scan.structures, spacing)
    boxes = dict(enumerate(ndimage.find_objects(structures, max_label=len(STRUCTURES)), 1))
    unknown = unmet(s.name for s in STRUCTURES if boxes[s.code])
    anatomy.absent |= unknown
    parts = structures.copy()
    names = {s.code: s.label for s in STRUCTURES if s.label and boxes[s.code]}
    midline = _midline(structures, boxes)
    names |= _split_ribs(parts, boxes, spacing, midline, anatomy.absent)
    names |= _split_aorta(parts, boxes, spacing, anatomy.absent)
    anatomy.volumes.append((parts, names))
    hard = [*codes_of("bone", "cartilage", "back"), *range(_ANTERIOR, _ANTERIOR + len(_RIBS))]
    core = [*codes_of("pericardium"), _AORTA["aorta_ascending"]]
    regions = find_regions(parts, boxes, spacing, midline, hard, core, anatomy.absent)
    anatomy.volumes.append((regions, REGIONS))
    anatomy.volumes.append(_vessels(scan.hu, structures, spacing, anatomy.absent))
    anatomy.volumes = [(volume, _without(names, unknown)) for volume, names in anatomy.volumes]
    _list_absent(anatomy, unknown)
    return anatomy


def _without(
    names: Mapping[int, str | tuple[str, ...]], unknown: Iterable[str]
) -> dict[int, tuple[str, ...]]:
    kept = {
        value: tuple(name for name in _several(names[value]) if name not in unknown)
        for value in names
    }
    return {value: several for value, several in kept.items() if several}


def _midline(structures: np.ndarray, boxes) -> tuple[int, int] | None:
    """Return the sum and the number of the vertebrae's voxels along x: their mean is the
    midline.
    """
    spine = [s.code for s in STRUCTURES if s.name.startswith("vertebrae_") and boxes[s.code]]
    total = count = 0
    for code in spine:
        box = boxes[code]
        along = (structures[box] == code).sum(axis=(0, 1))
        total += int((along * np.arange(box[2].start, box[2].stop)).sum())
        count += int(along.sum())
    return (total, count) if count else None


def _split_ribs(
    parts: np.ndarray, boxes, spacing, midline, absent: dict[str, str]
) -> dict[int, str]:
    names = {}
    for number, rib in enumerate(_RIBS):
        code, (_, side, level) = CODES[rib], rib.split("_")
        box = boxes[code]
        if box is None:
            continue
        if midline is None:
            absent[f"rib_{side}_anterior_{level}"] = absent[f"rib_{side}_posterior_{level}"] = (
                "no vertebra: no midline"
            )
            continue
        if box[0].start == 0 or box[0].stop == len(parts):
            absent[f"rib_{side}_anterior_{level}"] = absent[f"rib_{side}_posterior_{level}"] = (
                "cut by the scan"
            )
            continue
        here = parts[box] == code
        front = _front_of(here, side, spacing)
        names[code] = f"rib_{side}_posterior_{level}"
        if front is None:
            absent[f"rib_{side}_anterior_{level}"] = "the rib ends at its most lateral point"
            continue
        parts[box][front] = _ANTERIOR + number
        names[_ANTERIOR + number] = f"rib_{side}_anterior_{level}"
        if front.sum() == here.sum():
            absent[f"rib_{side}_posterior_{level}"] = (
                "nothing of the rib lies behind its most lateral point"
            )
    return names


def _front_of(rib: np.ndarray, side: str, spacing) -> np.ndarray | None:
    """Return what of a (Z, Y, X) rib lies in front of its most lateral point; None if that is too
    little.
    """
    flat = rib.sum(axis=0)  # (Y, X)
    band = max(1, int(_LATERAL_MM / spacing[2]))
    lateral = flat[:, -band:] if side == "left" else flat[:, :band]
    along = lateral.sum(axis=1)
    y = np.arange(len(along))
    front = rib & (y * along.sum() < (along * y).sum())[None, :, None]
    rows = front.any(axis=(0, 2))
    return front if rows.sum() * spacing[1] >= _FRONT_MM else None


def _split_aorta(parts: np.ndarray, boxes, spacing, absent: dict[str, str]) -> dict[int, str]:
    code = CODES["aorta"]
    box = boxes[code]
    if box is None:
        return {}
    here = parts[box] == code
    start, limbs = _first_limbs(here, spacing)
    if limbs is None:
        reason = "not derivable: no slice of the aorta shows two limbs, one behind the other"
        absent |= dict.fromkeys(_AORTA, reason)
        return {}
    part = parts[box]
    part[:start][here[:start]] = _AORTA["aorta_arch"]
    for plane, level in zip(here[start:], part[start:], strict=True):
        front = plane & _nearer_front(plane, limbs)
        if not front.any():
            limbs[0] = -np.inf  # its root: the abdominal aorta may come as far to the front
        level[front] = _AORTA["aorta_ascending"]
        level[plane & ~front] = _AORTA["aorta_descending"]
        limbs = [
            mean_row(piece, limb)
            for piece, limb in zip((front, plane & ~front), limbs, strict=True)
        ]
    if start == 0 and box[0].start == 0:
        absent["aorta_arch"] = "outside the scan, which begins below it"
    return {value: name for name, value in _AORTA.items() if name not in absent}


def _first_limbs(aorta: np.ndarray, spacing) -> tuple[int, list[float] | None]:
    """Return the first slice with two limbs that stay two, and the mean y of the front one and of
    the back one.
    """
    limbs = [_limbs(plane, spacing) for plane in aorta]
    lasting = max(1, round(_LIMBS_LAST_MM / spacing[0]))
    for z in range(len(limbs)):
        if all(limbs[z : z + lasting]):
            return z, limbs[z]
    return len(aorta), None


def _limbs(plane: np.ndarray, spacing) -> list[float] | None:
    """Return the mean y of the front and of the back piece of a slice of the aorta, or None if
    there are no two.
    """
    pieces, count = ndimage.label(plane)
    areas = np.bincount(pieces.ravel())[1:] * spacing[1] * spacing[2]
    big = [mean_row(pieces == i + 1, 0.0) for i in range(count) if areas[i] >= _LIMB_MM2]
    return (
        [min(big), max(big)]
        if len(big) > 1 and np.ptp(big) * spacing[1] >= _LIMBS_APART_MM
        else None
    )


def _nearer_front(plane: np.ndarray, limbs: list[float]) -> np.ndarray:
    y = np.arange(plane.shape[0])[:, None]
    return np.abs(y - limbs[0]) < np.abs(y - limbs[1])


def _vessels(
    hu: np.ndarray, structures: np.ndarray, spacing, absent: dict[str, str]
) -> LabelVolume:
    volume = np.zeros(structures.shape, np.uint8)
    kernel = disk(_PLEURA_MM, spacing)
    for value, side in ((1, "left"), (2, "right")):
        lung = is_in(structures, lung_codes(side))
        inner = np.stack(
            [cv2.erode(plane.view(np.uint8), kernel, borderValue=0) for plane in lung]
        ).view(bool)
        for step in range(1, 1 + round(_PLEURA_MM / spacing[0])):
            inner[step:] &= lung[:-step]
            inner[:-step] &= lung[step:]
        dense = inner & (hu > _VESSEL_HU)
        part = dense.sum() / max(1, lung.sum())
        if part > _VESSEL_PART:
            absent[f"lung_{side}_vessel"] = (
                f"not derivable: {part:.0%} of the lung is dense, too much for vessels"
            )
        else:
            volume[dense] = value
    return volume, {1: "lung_left_vessel", 2: "lung_right_vessel"}


def _list_absent(anatomy: Anatomy, unknown: Iterable[str]) -> None:
    """Add a reason for every label that no volume has, neither itself nor a part of it, or that is
    unknown.
    """
    present: set[int] = set()
    for volume, names in anatomy.volumes:
        counts = count_values(volume)
        found = (name for value, name in names.items() if counts[value])
        present.update(i for name in found for n in _several(name) for i in LABELS.index(n))
    for i in sorted(present):
        present |= _wholes(i)
    present -= {i for name in unknown for i in LABELS.index(name)}
    spine = [LABELS.names[i] for i in present]
    for i, name in enumerate(LABELS.names):
        if i in present:
            anatomy.absent.pop(name, None)
        else:
            anatomy.absent.setdefault(name, _why_absent(name, spine, anatomy.absent))


def _several(name: str | tuple[str, ...]) -> Iterable[str]:
    return (name,) if isinstance(name, str) else name


def _wholes(i: int) -> set[int]:
    found = set(LABELS.parents[i])
    return found.union(*(_wholes(parent) for parent in LABELS.parents[i])) if found else found


def _why_absent(name: str, present: list[str], absent: dict[str, str]) -> str:
    parts = [LABELS.names[i] for whole in LABELS.index(name) for i in LABELS.children[whole]]
    reasons = {absent[part] for part in parts if part in absent}
    if len(reasons) == 1:
        return reasons.pop()
    levels = [_UPWARD.index(level) for level in present if level in _UPWARD]
    if name in (*_UPWARD, "cocygis") and levels:
        place = _UPWARD.index(name) if name in _UPWARD else len(_UPWARD)
        if place < min(levels):
            return f"outside the scan, which begins at {_UPWARD[min(levels)]}"
        if place > max(levels):
            return f"outside the scan, which ends at {_UPWARD[max(levels)]}"
    if name in ("l6", "t13"):
        return "an extra vertebra that few people have; not in the segmentation"
    return "not in the segmentation"
