"""What a segmentation has by mistake: loose pieces of bones, and a few voxels on the wrong side."""

import numpy as np
from scipy import ndimage

from paxray_lib.ct.structures import CODES, STRUCTURES, codes_of, count_values, mean_index
from paxray_lib.labels.table import LABELS
from paxray_lib.projection.rays import Spacing

# chosen by eye
_LOOSE_PART = 0.1  # of a bone's largest piece
_STRAY_PART = 0.1  # of the voxels of the other side
_STRAY_MM3 = 500.0


def remove_strays(structures: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, dict[str, str]]:
    """Return the structures without strays.

    Bones lose the pieces of less than a tenth of their largest one; pieces are connected over
    faces, edges or corners. Of a left structure that lies to the right of its counterpart, or the
    reverse, the smaller one is left out if it has less than a tenth of the other's voxels or
    500 mm3: a few voxels with the name of a rib that the scan cut off. Larger ones are an exchange
    of sides, which `project.check_sides` refuses.

    The structures given are not changed. Returned with the new ones is {label: the reason why it is
    absent now}.
    """
    structures = structures.copy()
    boxes = ndimage.find_objects(structures, max_label=len(STRUCTURES))
    for code in codes_of("bone"):
        if box := boxes[code - 1]:
            pieces, _ = ndimage.label(structures[box] == code, np.ones((3, 3, 3), bool))
            sizes = np.bincount(pieces.ravel())
            sizes[0] = sizes[1:].max()  # the background stays
            structures[box][(sizes < _LOOSE_PART * sizes[0])[pieces]] = 0
    return structures, _remove_wrong_sides(structures, spacing)


def _remove_wrong_sides(structures: np.ndarray, spacing: Spacing) -> dict[str, str]:
    counts = count_values(structures)
    absent: dict[str, str] = {}
    for name, left in CODES.items():
        right = CODES.get(name.replace("left", "right"), left)
        small, large = sorted((left, right), key=lambda code: counts[code])
        limit = max(_STRAY_PART * counts[large], _STRAY_MM3 / np.prod(spacing))
        if left == right or not STRUCTURES[left - 1].label or not 0 < counts[small] < limit:
            continue
        left_x, right_x = (mean_index(structures == code, 2) for code in (left, right))
        if left_x <= right_x:
            structures[structures == small] = 0
            label = STRUCTURES[small - 1].label
            parts = [LABELS.names[part] for i in LABELS.index(label) for part in LABELS.children[i]]
            absent |= dict.fromkeys(
                [label, *parts], f"only {counts[small]} voxels on the wrong side"
            )
    return absent
