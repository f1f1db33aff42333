"""``PackedMasks``: label bits of every pixel, their files, DICOM SEG, the label tree, moments."""

from paxray_lib.masks.packed import PackedMasks

__all__ = ["PackedMasks"]
