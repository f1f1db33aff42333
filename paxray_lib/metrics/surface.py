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
spacing."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from paxray_lib.masks.packed import PackedMasks

TOLERANCE_PX = 2.0


@dataclass(frozen=True)
class Surface:
    """What boundary scores are made from, per image and label.

    Attributes
    ----------
    within : (N, L) int64 ndarray
        Boundary pixels of prediction and target within the tolerance of the other one's boundary.
    total : (N, L) int64 ndarray
        Boundary pixels of prediction and target.
    hd95 : (N, L) float64 ndarray
        95 % Hausdorff distance in pixels; infinite where one of the masks is empty, NaN where both
        are.
    tolerance : pixels
    """

    within: np.ndarray
    total: np.ndarray
    hd95: np.ndarray
    tolerance: float = TOLERANCE_PX

    @property
    def nsd(self) -> np.ndarray:
        """Normalised surface Dice, (N, L) float64; NaN where a label is absent from both, 0 where
        from one.
        """
        return np.divide(
            self.within, self.total, out=np.full(self.total.shape, np.nan), where=self.total > 0
        )

    def __getitem__(self, images) -> "Surface":
        """Return the boundaries of some images: a slice, a list of indices or a boolean array."""
        return Surface(self.within[images], self.total[images], self.hd95[images], self.tolerance)

    @classmethod
    def concat(cls, parts: Iterable["Surface"]) -> "Surface":
        """Join the boundaries of several images, counted at one tolerance."""
        parts = list(parts)
        arrays = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("within", "total", "hd95")
        )
        return cls(*arrays, parts[0].tolerance)


def surface(pred: PackedMasks, target: PackedMasks, tolerance: float = TOLERANCE_PX) -> Surface:
    """Compare the boundaries of all labels of one image.

    Parameters
    ----------
    pred, target : PackedMasks of one shape and the same labels
    tolerance : in pixels, for the surface Dice

    Returns
    -------
    Surface of (1, L)

    Raises
    ------
    ValueError
        If shapes or labels differ, or the tolerance is negative.
    """
    if pred.shape != target.shape or pred.labels != target.labels:
        raise ValueError(
            f"prediction {pred} and target {target} must have one shape and the same labels"
        )
    if not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance}: must be 0 or more pixels")
    # (B, H, W)
    planes = [np.ascontiguousarray(masks.data.transpose(2, 0, 1)) for masks in (pred, target)]
    boxes = _boxes(pred.data | target.data)
    rows = [_compare(planes, i, boxes[i], tolerance) for i in range(len(pred.labels))]
    within, total, hd95 = (np.array(column)[None] for column in zip(*rows, strict=True))
    return Surface(
        within.astype(np.int64), total.astype(np.int64), hd95.astype(np.float64), tolerance
    )


def _boxes(data: np.ndarray) -> list[tuple[slice, slice]]:
    """Return for each bit the rows and columns of its bounding box, empty for one that is nowhere
    set.
    """
    spans = []
    for axis in (1, 0):
        # (H or W, 8 B)
        any_there = np.unpackbits(np.bitwise_or.reduce(data, axis=axis), axis=-1, bitorder="little")
        first, after = any_there.argmax(0), len(any_there) - any_there[::-1].argmax(0)
        after[~any_there.any(0)] = 0
        spans.append([slice(int(a), int(b)) for a, b in zip(first, after, strict=True)])
    return list(zip(*spans, strict=True))


def _compare(
    planes: list[np.ndarray], label: int, box: tuple[slice, slice], tolerance: float
) -> tuple:
    """Return pixels within the tolerance, boundary pixels, and the 95 % Hausdorff distance of one
    label.
    """
    bit = np.uint8(1 << label % 8)
    edges = [_edges(plane[label // 8][box] & bit != 0) for plane in planes]
    sizes = [int(np.count_nonzero(edge)) for edge in edges]
    if not all(sizes):
        return 0, sum(sizes), np.inf if any(sizes) else np.nan
    squares = [
        _squared_distances(edge, other) for edge, other in zip(edges, reversed(edges), strict=True)
    ]
    within = sum(int(np.count_nonzero(square <= tolerance**2)) for square in squares)
    return within, sum(sizes), max(float(np.percentile(np.sqrt(square), 95)) for square in squares)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a (h, w) bool mask with one of their four neighbours outside."""
    inside = np.pad(mask, 1)
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return mask & ~core


def _squared_distances(places: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the squared distance of each of some pixels to the nearest one of `edges`, which is a
    whole number.
    """
    distances = cv2.distanceTransform((~edges).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(np.square(distances[places], dtype=np.float64))
