"""Boundary scores: how far outlines lie apart, by image and label.

The boundary of a mask is its pixels with one of their four neighbours outside of it (outside the
image counts as outside), as in MONAI. For a label in prediction P and target T, with boundaries B_P
and B_T and Euclidean distances between centres of pixels:

Normalised surface Dice at a tolerance
    (|{p in B_P: d(p, B_T) <= tolerance}| + |{t in B_T: d(t, B_P) <= tolerance}|) / (|B_P| + |B_T|)
    (Nikolov et al. 2018, arXiv 1809.04430, with boundary pixels for their surface elements).
95 % Hausdorff distance
    The larger of the 95th percentiles of d(p, B_T) over B_P and of d(t, B_P) over B_T (Huttenlocher
    et al. 1993).

Where one of the masks is empty the surface Dice is 0 and the distance infinite; where both are,
there is no score. Distances are in pixels of the image at its own size: PAXRay's images carry no
spacing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import PerImage
from paxray_lib.metrics.scores import ratio

TOLERANCE_PX = 2.0


@dataclass(frozen=True)
class Surface(PerImage):
    """What boundary scores are made from, per image and label: (N, L).

    Attributes
    ----------
    within : int64 ndarray
        Boundary pixels of prediction and target within the tolerance of the other one's boundary.
    total : int64 ndarray
        Boundary pixels of prediction and target.
    hd95 : float64 ndarray
        95 % Hausdorff distance in pixels; infinite where one of the masks is empty, NaN where both
        are, or the label is not known.
    """

    within: np.ndarray
    total: np.ndarray
    hd95: np.ndarray

    @property
    def nsd(self) -> np.ndarray:
        """Normalised surface Dice, (N, L) float64; NaN and 0 as for `scores.iou`."""
        return ratio(self.within, self.total)


def surface(pred: PackedMasks, target: PackedMasks, tolerance: float = TOLERANCE_PX) -> Surface:
    """Compare the boundaries of all labels of one image: a Surface of (1, L).

    The tolerance is in pixels, for the surface Dice. Raises ValueError if shapes or labels differ,
    or the tolerance is negative.
    """
    if pred.shape != target.shape or pred.labels != target.labels:
        raise ValueError(
            f"prediction {pred} and target {target} must have one shape and the same labels"
        )
    if not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance}: must be 0 or more pixels")
    pred = pred.knowing(target.known)
    planes = [np.ascontiguousarray(masks.data.transpose(2, 0, 1)) for masks in (pred, target)]
    boxes = _boxes(pred.data | target.data)
    rows = [_compare(planes, i, boxes[i], tolerance) for i in range(len(pred.labels))]
    return Surface(*(np.array(column)[None] for column in zip(*rows, strict=True)))


def _boxes(data: np.ndarray) -> list[tuple[slice, slice]]:
    """Return rows and columns of the bounding box of each bit of (H, W, B) uint8, maybe empty."""
    spans = []
    for axis in (1, 0):
        lines = np.bitwise_or.reduce(data, axis=axis)
        is_set = np.unpackbits(lines, axis=-1, bitorder="little")  # (H or W, 8 B)
        first, after = is_set.argmax(0), len(is_set) - is_set[::-1].argmax(0)
        after[~is_set.any(0)] = 0
        spans.append([slice(int(a), int(b)) for a, b in zip(first, after, strict=True)])
    return list(zip(*spans, strict=True))


def _compare(
    planes: list[np.ndarray], label: int, box: tuple[slice, slice], tolerance: float
) -> tuple[int, int, float]:
    """Return a label's boundary pixels within the tolerance, all of them, and its 95 % distance.

    `planes` are (B, H, W) uint8 of prediction and target.
    """
    masks = np.stack([plane[label // 8][box] & np.uint8(1 << label % 8) != 0 for plane in planes])
    inside = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    core = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2] & inside[:, 1:-1, 2:]
    edges = masks & ~core  # (2, h, w)
    sizes = [int(np.count_nonzero(edge)) for edge in edges]
    if not all(sizes):
        return 0, sum(sizes), np.inf if any(sizes) else np.nan
    squares = []
    for edge, other in (edges, edges[::-1]):
        outside = (~other).view(np.uint8)
        distances = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # squares of distances between pixels are whole numbers
        squares.append(np.rint(np.square(distances[edge], dtype=np.float64)))
    within = sum(int(np.count_nonzero(square <= tolerance**2)) for square in squares)
    return within, sum(sizes), max(float(np.percentile(np.sqrt(square), 95)) for square in squares)
