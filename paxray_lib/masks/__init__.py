"""`PackedMasks`: the masks of an image, one bit per label and pixel.

packed: the class; bits: its bits as arrays or tensors; files: .npy, .pxm, COCO; dicom_seg: DICOM;
hierarchy: parts added to their wholes; moments: area, centroid and overlap of all labels.
"""

from paxray_lib.masks.packed import PackedMasks

__all__ = ["PackedMasks"]
