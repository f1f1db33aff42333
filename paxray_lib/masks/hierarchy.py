"""Closing masks under the label tree: the pixels of a part are added to its wholes.

A network decides each label on its own, so that a rib's front part may reach out of the rib. In the
ground truth that cannot be. Closing is one look-up per byte: each of the 256 values of a byte has
the bits that it implies."""

from functools import lru_cache

import numpy as np

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import Bits, byte_count, byte_mask
from paxray_lib.masks.packed import PackedMasks


def close_tree(masks: PackedMasks) -> PackedMasks:
    """Return masks in which each label holds all pixels of its parts, of their parts, and so on."""
    closed = PackedMasks(close_bits(masks.data, masks.labels), masks.labels)
    return closed.knowing(masks.known)


def close_bits(bits: Bits, labels: LabelSet) -> Bits:
    """Return (..., B) uint8 packed bits, as array or tensor, with the wholes of all labels set."""
    closed = bits + 0  # a copy
    for byte, implied in _implied(labels):
        if isinstance(bits, np.ndarray):
            closed |= implied[bits[..., byte]]
        else:
            closed |= bits.new_tensor(implied)[bits[..., byte].long()]
    return closed


@lru_cache(maxsize=32)
def _implied(labels: LabelSet) -> list[tuple[int, np.ndarray]]:
    """Return (byte index, what each of its values implies) for every byte that implies something.

    The table of a byte is (256, B) uint8."""
    width = byte_count(len(labels))
    tables = np.zeros((width, 256, width), np.uint8)
    for i in range(len(labels)):
        has_label = np.arange(256) >> i % 8 & 1 == 1
        tables[i // 8, has_label] |= byte_mask(_wholes(labels, i), width)
    return [(byte, table) for byte, table in enumerate(tables) if table.any()]


def _wholes(labels: LabelSet, index: int) -> set[int]:
    """Return what a label is a part of, directly and indirectly."""
    parents = set(labels.parents[index])
    return parents.union(*(_wholes(labels, parent) for parent in parents))
