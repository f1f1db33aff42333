"""What a segmentation has by mistake: loose pieces of bones, and a few voxels on the wrong side."""

import numpy as np
from scipy import ndimage

from paxray_lib.ct.structures import CODES, STRUCTURES, codes_of, count_values, is_in
from paxray_lib.labels.table import LABELS

_LOOSE_PART = 0.1  # of a bone's largest piece
_STRAY_PART, _STRAY_MM3 = 0.1, 500.0


def without_strays(
    structures: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, dict[str, str]]:
    """Return the structures without strays, and the reason for each label that is absent because of
    it.

    Parameters
    ----------
    structures : (Z, Y, X) uint8 array
        Is not changed.
    spacing : (z, y, x) voxel size in mm

    Returns
    -------
    structures : (Z, Y, X) uint8 array
        Bones have no pieces, connected over faces, edges or corners, of less than a tenth of their
        largest one. Of a left structure that lies to the right of its counterpart, or the reverse,
        the smaller one is left out if it has less than a tenth of the other's voxels or 500 mm3.
    absent : dict of label to reason
    """
    structures = structures.copy()
    _drop_loose_pieces(structures)
    return structures, _drop_wrong_sides(structures, spacing)


def _drop_loose_pieces(structures: np.ndarray) -> None:
    boxes = ndimage.find_objects(structures, max_label=len(STRUCTURES))
    around = np.ones((3, 3, 3), bool)
    for code in codes_of("bone"):
        box = boxes[code - 1]
        if box is None:
            continue
        pieces, count = ndimage.label(structures[box] == code, around)
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = sizes[1:].max()
            structures[box][(sizes < _LOOSE_PART * sizes[0])[pieces]] = 0


def _drop_wrong_sides(structures: np.ndarray, spacing) -> dict[str, str]:
    counts, absent = count_values(structures), {}
    strays = []
    for name, left in CODES.items():
        right = CODES.get(name.replace("left", "right"), left)
        if left == right or not (counts[left] and counts[right]) or not STRUCTURES[left - 1].label:
            continue
        small, large = sorted((left, right), key=lambda code: counts[code])
        few = max(_STRAY_PART * counts[large], _STRAY_MM3 / np.prod(spacing))
        if counts[small] < few and _mean_x(structures, left) <= _mean_x(structures, right):
            strays.append(small)
            label = STRUCTURES[small - 1].label
            for part in (
                label,
                *(LABELS.names[c] for i in LABELS.index(label) for c in LABELS.children[i]),
            ):
                absent[part] = f"only {counts[small]} voxels on the wrong side"
    if strays:
        structures[is_in(structures, strays)] = 0
    return absent


def _mean_x(structures: np.ndarray, code: int) -> float:
    return float(np.nonzero(structures == code)[2].mean())
