"""Pixels in prediction and target, per image and label: what every score is made from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from paxray_lib.masks.bits import byte_count, count_bits
from paxray_lib.masks.packed import PackedMasks

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

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        shapes = {self.tp.shape, self.fp.shape, self.fn.shape}
        if len(shapes) != 1 or self.tp.ndim != 2:
            raise ValueError(
                f"tp, fp and fn must have one shape (images, labels), got {sorted(shapes)}"
            )

    def __len__(self) -> int:
        return len(self.tp)

    def __getitem__(self, images: Any) -> "Counts":
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
                f"counts to join must have one number of labels, got {widths or 'no counts at all'}"
            )
        columns = zip(*((part.tp, part.fp, part.fn) for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))


def counts(
    pred: "Array | PackedMasks | Sequence[PackedMasks]",
    target: "Array | PackedMasks | Sequence[PackedMasks]",
    labels: int | None = None,
) -> Counts:
    """Count pixels in prediction and target, per image and label.

    Parameters
    ----------
    pred, target : arrays or tensors of one shape, or PackedMasks
        Dense: (N, L, H, W), bool or 0/1 integers. Packed: (N, H, W, B) uint8, bit i of a label i in
        byte i // 8 at position i % 8, with `labels` given. Or one `PackedMasks` each, or a list of
        N of them, whose sizes may differ. Tensors are counted on the device they are on.
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
    if isinstance(pred, PackedMasks) and isinstance(target, PackedMasks):
        if pred.labels != target.labels:
            raise ValueError(
                f"prediction has {len(pred.labels)} labels and target {len(target.labels)}, or "
                "other names: select the same labels in both"
            )
        return counts(pred.data[None], target.data[None], labels=len(pred.labels))
    if isinstance(pred, Sequence) and isinstance(target, Sequence):
        if len(pred) != len(target):
            raise ValueError(f"{len(pred)} predictions for {len(target)} targets")
        return Counts.concat(map(counts, pred, target))
    if (
        isinstance(pred, (PackedMasks, Sequence))
        or isinstance(target, (PackedMasks, Sequence))
        or isinstance(pred, np.ndarray) != isinstance(target, np.ndarray)
    ):
        raise ValueError(
            f"cannot compare {type(pred).__name__} with {type(target).__name__}: "
            "give both in one kind"
        )
    if pred.shape != target.shape:
        raise ValueError(f"prediction has shape {tuple(pred.shape)}, target {tuple(target.shape)}")
    if pred.ndim != 4:
        raise ValueError(
            f"shape {tuple(pred.shape)}: need 4 axes, the first one images; "
            "add it to one image by x[None]"
        )
    return _dense_counts(pred, target) if labels is None else _packed_counts(pred, target, labels)


def _dense_counts(pred: "Array", target: "Array") -> Counts:
    pred, target = _as_bool(pred, "prediction"), _as_bool(target, "target")
    both, predicted, true = map(_count_planes, (pred & target, pred, target))
    return Counts(both, predicted - both, true - both)


def _as_bool(masks: "Array", name: str) -> np.ndarray:
    array = masks if isinstance(masks, np.ndarray) else masks.cpu().numpy()
    if array.dtype == bool:
        return array
    if ((array != 0) & (array != 1)).any():
        raise ValueError(
            f"{name}: dense masks of {array.dtype} must hold 0 and 1 only, but reach "
            f"{array.max()}; for packed masks say how many labels= there are"
        )
    return array != 0


def _count_planes(masks: np.ndarray) -> np.ndarray:
    # plane by plane: count_nonzero with an axis is ten times slower
    pixels = [np.count_nonzero(plane) for image in masks for plane in image]
    return np.array(pixels, np.int64).reshape(masks.shape[:2])


def _packed_counts(pred: "Array", target: "Array", labels: int) -> Counts:
    for name, packed in (("prediction", pred), ("target", target)):
        if "uint8" not in str(packed.dtype) or packed.shape[-1] != byte_count(labels):
            raise ValueError(
                f"{name}: {packed.dtype} of shape {tuple(packed.shape)} is not packed masks of "
                f"{labels} labels, which are uint8 (N, H, W, {byte_count(labels)})"
            )
    both = pred & target
    return Counts(*(count_bits(part)[:, :labels] for part in (both, pred ^ both, target ^ both)))
