"""`PackedMasks`: the masks of an image, one bit per label and pixel.

packed: the class; bits: its bits as arrays or tensors; files: .npy, .pxm, COCO; dicom_seg: DICOM;
hierarchy: parts added to their wholes; measures: area, centroid and overlap of all labels;
strokes: corrections; probabilities: of chosen labels, and their files.
"""

from paxray_lib.masks.bits import as_words, byte_count, byte_mask, count_bits, swap_sides
from paxray_lib.masks.files import MASK_SUFFIXES
from paxray_lib.masks.hierarchy import close_bits, close_tree
from paxray_lib.masks.measures import Moments, moments
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.probabilities import Probabilities

__all__ = [
    "MASK_SUFFIXES", "Moments", "PackedMasks", "Probabilities", "as_words", "byte_count",
    "byte_mask", "close_bits", "close_tree", "count_bits", "moments", "swap_sides",
]  # fmt: skip
