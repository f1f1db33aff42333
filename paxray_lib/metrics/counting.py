"""Pixels in prediction and target, per image and label: what every score is made from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from paxray_lib.masks import PackedMasks, byte_count, count_bits

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class PerImage:
    """What is counted per image and label, each field an array (N, L)."""

    def __getitem__(self, images: Any) -> Self:
        """Return what some images have: a slice, a list of indices or a boolean array."""
        return type(self)(*(values[images] for values in vars(self).values()))

    @classmethod
    def concat(cls, parts: Iterable[Self]) -> Self:
        """Join several batches along the images.

        Raises ValueError if there is no part, or the parts differ in their number of labels.
        """
        rows = [list(vars(part).values()) for part in parts]
        widths = sorted({row[0].shape[1] for row in rows})
        if len(widths) != 1:
            raise ValueError(
                f"counts to join must have one number of labels, got {widths or 'no counts at all'}"
            )
        return cls(*map(np.concatenate, zip(*rows, strict=True)))


@dataclass(frozen=True)
class Counts(PerImage):
    """Pixels per image and label, (N, L) int64.

    Attributes
    ----------
    tp, fp, fn : ndarray
        Pixels in prediction and target, in the prediction alone, in the target alone; all 0 where
        the label is not known.
    known : bool ndarray
        (N, L): whether the target says where the label is, be it nowhere. By default all are.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    known: np.ndarray = None  # type: ignore[assignment]  # made below

    def __post_init__(self) -> None:
        known = np.ones(np.shape(self.tp)) if self.known is None else self.known
        pixels = {name: np.asarray(vars(self)[name], np.int64) for name in ("tp", "fp", "fn")}
        vars(self).update(pixels, known=np.asarray(known, bool))
        shapes = {values.shape for values in vars(self).values()}
        if len(shapes) != 1 or self.tp.ndim != 2:
            raise ValueError(
                f"tp, fp and fn must have one shape (images, labels), got {sorted(shapes)}"
            )
        vars(self).update({name: np.where(self.known, v, 0) for name, v in pixels.items()})

    def __len__(self) -> int:
        return len(self.tp)


def counts(
    pred: "Array | PackedMasks | Sequence[PackedMasks]",
    target: "Array | PackedMasks | Sequence[PackedMasks]",
    labels: int | None = None,
) -> Counts:
    """Count pixels in prediction and target, per image and label.

    Parameters
    ----------
    pred, target : arrays or tensors of one shape, or PackedMasks
        Dense: (N, L, H, W), bool or 0/1 integers. Packed: (N, H, W, B) uint8, label i in byte
        i // 8 at bit i % 8, with `labels` given. Or one `PackedMasks` each, or a list of N of them,
        whose sizes may differ. Tensors are counted on the device they are on.
    labels : number of labels L in packed arrays; bits past it are ignored

    Raises
    ------
    ValueError
        If shapes, label sets or types do not fit, or dense values are other than 0 and 1.

    Examples
    --------
    >>> pred, target = np.zeros((2, 1, 1, 2, 2), bool)
    >>> pred[..., 0, :] = target[..., :, 0] = True
    >>> counts(pred, target)
    Counts(tp=array([[1]]), fp=array([[1]]), fn=array([[1]]), known=array([[ True]]))
    """
    if isinstance(pred, PackedMasks) and isinstance(target, PackedMasks):
        if pred.labels != target.labels:
            raise ValueError(
                f"prediction has {len(pred.labels)} labels and target {len(target.labels)}, or "
                "other names: select the same labels in both"
            )
        found = counts(pred.data[None], target.data[None], labels=len(pred.labels))
        return Counts(found.tp, found.fp, found.fn, target.known[None])
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
    if pred.shape != target.shape or pred.ndim != 4:
        raise ValueError(
            f"prediction has shape {tuple(pred.shape)}, target {tuple(target.shape)}: they need "
            "one shape of 4 axes, the first one images; add it to one image by x[None]"
        )
    if labels is not None:
        return _packed_counts(pred, target, labels)
    pred, target = _as_bool(pred, "prediction"), _as_bool(target, "target")
    both, predicted, true = (
        # plane by plane: count_nonzero with an axis is ten times slower
        np.reshape([np.count_nonzero(plane) for image in masks for plane in image], masks.shape[:2])
        for masks in (pred & target, pred, target)
    )
    return Counts(both, predicted - both, true - both)


def _as_bool(masks: "Array", name: str) -> np.ndarray:
    array = masks if isinstance(masks, np.ndarray) else masks.cpu().numpy()
    if array.dtype != bool and ((array != 0) & (array != 1)).any():
        raise ValueError(
            f"{name}: dense masks of {array.dtype} must hold 0 and 1 only, but reach "
            f"{array.max()}; for packed masks say how many labels= there are"
        )
    return array.astype(bool, copy=False)


def _packed_counts(pred: "Array", target: "Array", labels: int) -> Counts:
    for name, packed in (("prediction", pred), ("target", target)):
        if "uint8" not in str(packed.dtype) or packed.shape[-1] != byte_count(labels):
            raise ValueError(
                f"{name}: {packed.dtype} of shape {tuple(packed.shape)} is not packed masks of "
                f"{labels} labels, which are uint8 (N, H, W, {byte_count(labels)})"
            )
    both = pred & target
    return Counts(*(count_bits(part)[:, :labels] for part in (both, pred ^ both, target ^ both)))
