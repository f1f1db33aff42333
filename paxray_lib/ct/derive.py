"""Label volumes from a segmented CT: what is segmented, and what follows from it by rules.

Coordinates are those of `projection.rays`: z to the feet, y to the back, x to the left. Nothing is
guessed: where a rule lacks what it needs, its labels are absent and the reason is listed. Every
rule treats left and right alike, in integers or with symmetric sums, so that a mirrored volume
gives exactly the mirrored labels. The rules stand in

- prerequisites: what wholes and derived labels need of a segmentation
- cleanup: loose pieces of bones, and a few voxels on the wrong side
- division: anterior and posterior parts of ribs, parts of the aorta
- mediastinum: the mediastinum with its parts, and what is under the diaphragm
- and here: vessels of the lungs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from paxray_lib.ct.body import disk
from paxray_lib.ct.cleanup import remove_strays
from paxray_lib.ct.division import divide_aorta, divide_ribs
from paxray_lib.ct.mediastinum import REGIONS, find_regions
from paxray_lib.ct.prerequisites import missing_prerequisites
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES, Segmented, codes_named, count_values, is_in
from paxray_lib.labels.table import LABELS
from paxray_lib.masks import PackedMasks, close_tree
from paxray_lib.projection.rays import LabelVolume, Spacing

# chosen by eye
_VESSEL_HU, _PLEURA_MM = -400, 3.0
# of a lung: vessels that a CT shows are some 2 %, all blood of the lungs with their tissue is more
_VESSEL_PART = 0.1

_SPINE = [
    *(f"c{i}" for i in range(1, 8)),
    *(f"t{i}" for i in range(1, 13)),
    *(f"l{i}" for i in range(1, 6)),
    "sacrum",
    "cocygis",
]


class Anatomy(NamedTuple):
    """Label volumes of one scan for `projection.rays.cast_shadows`; {absent label: reason}."""

    volumes: list[LabelVolume]
    absent: dict[str, str]


def derive(scan: Scan) -> Anatomy:
    """Return the label volumes of a scan, and the reason for each label that it does not have."""
    structures, absent = remove_strays(scan.structures, scan.spacing)
    segmented = Segmented.of(structures, scan.spacing)
    here = [structure for structure in STRUCTURES if structure.code in segmented.boxes]
    missing = missing_prerequisites(structure.name for structure in here)
    absent |= missing
    names: dict[int, tuple[str, ...]] = {s.code: (s.label,) for s in here if s.label}
    names |= divide_ribs(segmented, absent) | divide_aorta(segmented, absent)
    volumes: list[LabelVolume] = [
        (
            volume,
            {value: tuple(n for n in named if n not in missing) for value, named in of.items()},
        )
        for volume, of in (
            (segmented.codes, names),
            (find_regions(segmented, absent), REGIONS),
            _lung_vessels(scan.hu, structures, scan.spacing, absent),
        )
    ]
    _list_absent(volumes, missing, absent)
    return Anatomy(volumes, absent)


def _lung_vessels(
    hu: np.ndarray, structures: np.ndarray, spacing: Spacing, absent: dict[str, str]
) -> LabelVolume:
    """Return what is above -400 HU inside a lung, at least 3 mm from its edge.

    Nodules and walls of bronchi are among it. Where that is more than a tenth of a lung, it is no
    vessels but a lung without air, and the label is absent.
    """
    volume = np.zeros(structures.shape, np.uint8)
    kernel = disk(_PLEURA_MM, spacing)
    for value, side in ((1, "left"), (2, "right")):
        lung = is_in(structures, codes_named(f"lung_*_{side}"))
        inner = np.stack([cv2.erode(p.view(np.uint8), kernel, borderValue=0) for p in lung]) > 0
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
    return volume, {1: ("lung_left_vessel",), 2: ("lung_right_vessel",)}


def _list_absent(
    volumes: Iterable[LabelVolume], missing: Iterable[str], absent: dict[str, str]
) -> None:
    """Add a reason for every label that no volume has, neither itself nor a part of it."""
    pixel = np.zeros((len(LABELS), 1, 1), bool)  # with all labels that are present
    for volume, names in volumes:
        for value in np.flatnonzero(count_values(volume)).tolist():
            pixel[[i for name in names.get(value, ()) for i in LABELS.index(name)]] = True
    present = close_tree(PackedMasks.pack(pixel, LABELS)).counts() > 0
    present[[i for name in missing for i in LABELS.index(name)]] = False
    spine = [level for level in _SPINE[:-1] if present[LABELS.index(level)[0]]]
    for i, name in enumerate(LABELS.names):
        if present[i]:
            absent.pop(name, None)
        else:
            absent.setdefault(name, _why_absent(name, spine, absent))


def _why_absent(name: str, spine: list[str], absent: dict[str, str]) -> str:
    parts = [LABELS.names[i] for whole in LABELS.index(name) for i in LABELS.children[whole]]
    reasons = {absent[part] for part in parts if part in absent}
    if len(reasons) == 1:
        return reasons.pop()
    if name in _SPINE and spine:
        if _SPINE.index(name) < _SPINE.index(spine[0]):
            return f"outside the scan, which begins at {spine[0]}"
        if _SPINE.index(name) > _SPINE.index(spine[-1]):
            return f"outside the scan, which ends at {spine[-1]}"
    extra = "an extra vertebra that few people have; " if name in ("l6", "t13") else ""
    return f"{extra}not in the segmentation"
