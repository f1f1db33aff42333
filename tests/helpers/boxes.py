"""Masks that are boxes of known edges."""

import numpy as np

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks

RIBS = {
    f"rib_right_{part}_{n}": (4 * n, 4 * n + 2, 12, 20)
    for n in range(1, 13)
    for part in ("anterior", "posterior")
}


BOXES = {
    "lung_right": (10, 50, 10, 30),  # top, bottom, left, right
    "lung_left": (12, 48, 40, 64),
    "heart": (30, 46, 28, 48),
    "spine": (0, 60, 33, 37),
    "airways": (2, 22, 32, 40),
    "hemidiaphragm_right": (29, 60, 8, 30),
    "rib_left_anterior_3": (12, 14, 50, 58),
}


def boxes(without=(), **changed):
    stack = np.zeros((len(LABELS), 64, 80), bool)
    for name, (top, bottom, left, right) in {**BOXES, **RIBS, **changed}.items():
        if name not in without:
            stack[LABELS.index(name)[0], top:bottom, left:right] = True
    return PackedMasks.pack(stack, LABELS)
