"""Count first, score after: pixels per image and label -> IoU, Dice -> one number under a named
convention.

Two averaging conventions exist, by name, and are never mixed:

``"published"``
    The convention behind the published mIoU: a label that is absent from prediction and target
    scores 0. Mean over images, then over labels. Labels that (almost) never occur keep such a mean
    below 1.
``"present"``
    A label counts in the images where it occurs, in the prediction or in the target. Mean over
    those images, then over the labels that occur in at least one image.

The published code adds 1e-6 to the denominators. Here scores are exact; for a union of one pixel or
more the two differ by less than 1e-6."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paxray_lib.masks.bits import byte_count, count_bits

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Counts:
    """Pixels per image and label.

    Attributes
    ----------
    tp, fp, fn : (N, L) int64 ndarray
        Pixels in prediction and target, in the prediction alone, in the target alone.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    def __post_init__(self):
        for name in ("tp", "fp", "fn"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        shapes = {self.tp.shape, self.fp.shape, self.fn.shape}
        if len(shapes) != 1 or self.tp.ndim != 2:
            raise ValueError(
                f"tp, fp and fn must have one shape (images, labels), got {sorted(shapes)}"
            )

    def __len__(self) -> int:
        return len(self.tp)

    def __getitem__(self, images) -> "Counts":
        """Return the counts of some images: a slice, a list of indices or a boolean array."""
        return Counts(self.tp[images], self.fp[images], self.fn[images])

    @classmethod
    def concat(cls, parts: Iterable["Counts"]) -> "Counts":
        """Join the counts of several batches along the images.

        Raises
        ------
        ValueError
            If there is no part, or the parts differ in their number of labels.
        """
        parts = list(parts)
        widths = sorted({part.tp.shape[1] for part in parts})
        if len(widths) != 1:
            raise ValueError(
                f"counts to join must share one number of labels, got {widths or 'no counts at all'}"
            )
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("tp", "fp", "fn")
            )
        )


def counts(pred, target, labels: int | None = None) -> Counts:
    """Count pixels in prediction and target, per image and label.

    Parameters
    ----------
    pred, target : arrays or tensors of one shape, or PackedMasks
        Dense: (N, L, H, W), bool or 0/1 integers. Packed: (N, H, W, B) uint8, bit i of a label i in
        byte i // 8 at position i % 8, with `labels` given. Or one `PackedMasks` each, or a list of
        N of them (sizes may differ from image to image). Tensors are counted on the device they are
        on.
    labels : int, optional
        Number of labels L in packed arrays; bits past it are ignored.

    Returns
    -------
    Counts
        tp, fp, fn as (N, L) int64.

    Raises
    ------
    ValueError
        If shapes, label sets or types do not fit, or dense values are other than 0 and 1.

    Examples
    --------
    >>> pred, target = np.zeros((2, 1, 1, 2, 2), bool)
    >>> pred[..., 0, :] = target[..., :, 0] = True
    >>> counts(pred, target)
    Counts(tp=array([[1]]), fp=array([[1]]), fn=array([[1]]))
    """
    if _is_masks(pred) or _is_masks(target):
        return _counts_of_masks(pred, target)
    if isinstance(pred, (list, tuple)):
        if len(pred) != len(target):
            raise ValueError(f"{len(pred)} predictions for {len(target)} targets")
        return Counts.concat(_counts_of_masks(p, t) for p, t in zip(pred, target, strict=True))
    _check_pair(pred, target)
    return _dense_counts(pred, target) if labels is None else _packed_counts(pred, target, labels)


def _is_masks(value) -> bool:
    return hasattr(value, "labels") and hasattr(value, "data")


def _counts_of_masks(pred, target) -> Counts:
    if not (_is_masks(pred) and _is_masks(target)):
        raise ValueError(
            f"cannot compare {type(pred).__name__} with {type(target).__name__}: give PackedMasks for both"
        )
    if tuple(pred.labels) != tuple(target.labels):
        raise ValueError(
            f"prediction has {len(pred.labels)} labels and target {len(target.labels)}, or other names: "
            "select the same labels in both"
        )
    return counts(pred.data[None], target.data[None], labels=len(pred.labels))


def _check_pair(pred: "Array", target: "Array") -> None:
    if tuple(pred.shape) != tuple(target.shape):
        raise ValueError(f"prediction has shape {tuple(pred.shape)}, target {tuple(target.shape)}")
    if pred.ndim != 4:
        raise ValueError(
            f"shape {tuple(pred.shape)}: need 4 axes, the first one images; add it to one image by x[None]"
        )
    if isinstance(pred, np.ndarray) != isinstance(target, np.ndarray):
        raise ValueError(
            f"cannot compare {type(pred).__name__} with {type(target).__name__}: give both in one kind"
        )


def _dense_counts(pred: "Array", target: "Array") -> Counts:
    pred, target = _as_bool(pred, "prediction"), _as_bool(target, "target")
    count = _count_planes if isinstance(pred, np.ndarray) else _count_planes_torch
    both, predicted, true = count(pred & target), count(pred), count(target)
    return Counts(both, predicted - both, true - both)


def _as_bool(masks: "Array", name: str) -> "Array":
    if "bool" in str(masks.dtype):
        return masks
    if bool(((masks != 0) & (masks != 1)).any()):
        raise ValueError(
            f"{name}: dense masks of {masks.dtype} must hold 0 and 1 only, but reach {masks.max()}; "
            "for packed masks say how many labels= there are"
        )
    return masks != 0


def _count_planes(masks: np.ndarray) -> np.ndarray:
    # plane by plane: count_nonzero with an axis is ten times slower
    found = [np.count_nonzero(plane) for image in masks for plane in image]
    return np.array(found, np.int64).reshape(masks.shape[:2])


def _count_planes_torch(masks: "torch.Tensor") -> np.ndarray:
    return masks.sum((-2, -1)).cpu().numpy()


def _packed_counts(pred: "Array", target: "Array", labels: int) -> Counts:
    for name, packed in (("prediction", pred), ("target", target)):
        if "uint8" not in str(packed.dtype) or packed.shape[-1] != byte_count(labels):
            raise ValueError(
                f"{name}: {packed.dtype} of shape {tuple(packed.shape)} is not packed masks of {labels} labels, "
                f"which are uint8 (N, H, W, {byte_count(labels)})"
            )
    both = pred & target
    return Counts(*(count_bits(part)[:, :labels] for part in (both, pred ^ both, target ^ both)))
