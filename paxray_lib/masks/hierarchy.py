"""Closing masks under the label tree: the pixels of a part are added to its wholes, which then
contain it.

A network decides each label on its own, so that a rib's front part may reach out of the rib. In the
ground truth that cannot be. Closing is one look-up a byte: each of the 256 values of a byte has a
list of the bits that it implies."""

from functools import cache, lru_cache
from typing import TypeVar

import numpy as np

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_count, byte_mask
from paxray_lib.masks.packed import PackedMasks

_Bits = TypeVar("_Bits")


def close_tree(masks: PackedMasks) -> PackedMasks:
    """Return masks in which each label holds all pixels of its parts, of their parts, and so on."""
    return PackedMasks(close_bits(masks.data, masks.labels), masks.labels)


def close_bits(bits: _Bits, labels: LabelSet) -> _Bits:
    """Return packed bits (..., B) uint8, an array or a tensor of any device, with the wholes of all
    labels set.
    """
    closed = bits + 0  # a copy, of an array as of a tensor
    for place, implied in _implied(labels):
        if isinstance(bits, np.ndarray):
            closed |= implied[bits[..., place]]
        else:
            closed |= bits.new_tensor(implied)[bits[..., place].long()]
    return closed


@lru_cache(maxsize=32)
def _implied(labels: LabelSet) -> list[tuple[int, np.ndarray]]:
    """Return, for each byte with a label that has parents, its place and (256, B) uint8: what each
    value implies.
    """
    width, wholes = byte_count(len(labels)), _ancestors(labels)
    tables = []
    for place in range(width):
        labels_here = range(8 * place, min(8 * place + 8, len(labels)))
        implied = np.zeros((256, width), np.uint8)
        for i in labels_here:
            implied[np.arange(256) >> i % 8 & 1 == 1] |= byte_mask(wholes[i], width)
        if implied.any():
            tables.append((place, implied))
    return tables


def _ancestors(labels: LabelSet) -> list[set[int]]:
    """Return the wholes of each label, direct and indirect."""

    @cache
    def above(label: int) -> frozenset[int]:
        return frozenset(labels.parents[label]).union(*map(above, labels.parents[label]))

    return [set(above(i)) for i in range(len(labels))]
