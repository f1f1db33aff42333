"""Count first, score after: pixels per image and label -> IoU, Dice -> one number under a named convention.

Two averaging conventions exist, by name, and are never mixed:

``"published"``
    The convention behind the published mIoU: a label that is absent from prediction and target scores 0. Mean over
    images, then over labels. Labels that (almost) never occur keep such a mean below 1.
``"present"``
    A label counts in the images where it occurs, in the prediction or in the target. Mean over those images, then over
    the labels that occur in at least one image.

The published code adds 1e-6 to the denominators. Here scores are exact; for a union of one pixel or more the
two differ by less than 1e-6.
"""

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paxray_lib.common import did_you_mean

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor

CONVENTIONS = ("published", "present")


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
            raise ValueError(f"tp, fp and fn must have one shape (images, labels), got {sorted(shapes)}")

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
            raise ValueError(f"counts to join must share one number of labels, got {widths or 'no counts at all'}")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("tp", "fp", "fn")))


def counts(pred, target, labels: int | None = None) -> Counts:
    """Count pixels in prediction and target, per image and label.

    Parameters
    ----------
    pred, target : arrays or tensors of one shape, or PackedMasks
        Dense: (N, L, H, W), bool or 0/1 integers. Packed: (N, H, W, B) uint8, bit i of a label i in byte i // 8 at
        position i % 8, with `labels` given. Or one `PackedMasks` each, or a list of N of them (sizes may
        differ from image to image). Tensors are counted on the device they are on.
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


def pack_decisions(logits: "torch.Tensor", threshold: float = 0.5) -> "torch.Tensor":
    """Return the packed bits of ``sigmoid(logits) > threshold`` (strictly, as published).

    The logits are compared with logit(threshold), so that no probabilities are made. Not a number is not above.

    Parameters
    ----------
    logits : (N, L, H, W) floating tensor, contiguous or channels-last
    threshold : float in (0, 1)

    Returns
    -------
    (N, H, W, ceil(L / 8)) uint8 tensor on the same device

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1 or the logits are not 4-dimensional.
    """
    import torch

    if not 0 < threshold < 1:
        raise ValueError(f"threshold {threshold}: must lie between 0 and 1")
    if logits.ndim != 4:
        raise ValueError(f"logits must have shape (images, labels, height, width), got {tuple(logits.shape)}")
    cut = _largest_not_above(math.log(threshold / (1 - threshold)), logits.dtype)
    n, labels, height, width = logits.shape
    packed = torch.zeros(n, height, width, -(-labels // 8), dtype=torch.uint8, device=logits.device)
    with torch.no_grad():
        if logits.device.type == "cpu" and logits.stride(1) == 1:
            _pack_channels_last(logits, cut, packed)
        else:
            _pack_planes(logits, cut, packed)
    return packed


def _largest_not_above(value: float, dtype: "torch.dtype") -> float:
    """Round down to a type: exact for ``logits > value``, where rounding to nearest may pass over a logit."""
    import torch

    rounded = torch.tensor(value, dtype=dtype)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.tensor(-math.inf, dtype=dtype))
    return rounded.item()


def _pack_channels_last(logits: "torch.Tensor", cut: float, packed: "torch.Tensor") -> None:
    """Pack pixel by pixel, a block of rows at a time so that the booleans stay in the cache; threads as torch has."""
    import torch

    out = packed.numpy()
    pixels = logits.detach().permute(0, 2, 3, 1)  # (N, H, W, L)
    if logits.dtype in (torch.float32, torch.float64):
        pixels = pixels.numpy()  # its comparison takes a fifth of the time of torch's for blocks as small as these
    step = max(1, 2**20 // (pixels.shape[2] * pixels.shape[3]))

    def pack(place: tuple[int, slice]) -> None:
        out[place] = np.packbits(np.asarray(pixels[place] > cut), axis=-1, bitorder="little")

    places = [(n, slice(top, top + step)) for n in range(len(pixels)) for top in range(0, pixels.shape[1], step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(pack, places))  # a list, so that an error is raised here


def _pack_planes(logits: "torch.Tensor", cut: float, packed: "torch.Tensor") -> None:
    """Pack eight label planes into one byte plane, for all images at once."""
    for byte in range(packed.shape[-1]):
        plane = None
        for bit, label in enumerate(range(8 * byte, min(8 * byte + 8, logits.shape[1]))):
            above = (logits[:, label] > cut).byte()  # (N, H, W)
            plane = above if plane is None else plane.bitwise_or_(above.bitwise_left_shift_(bit))
        packed[..., byte] = plane


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
        raise ValueError(f"cannot compare {type(pred).__name__} with {type(target).__name__}: give both in one kind")


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
        if "uint8" not in str(packed.dtype) or packed.shape[-1] != -(-labels // 8):
            raise ValueError(
                f"{name}: {packed.dtype} of shape {tuple(packed.shape)} is not packed masks of {labels} labels, "
                f"which are uint8 (N, H, W, {-(-labels // 8)})"
            )
    both = pred & target
    return Counts(*(_bit_sums(part)[:, :labels] for part in (both, pred ^ both, target ^ both)))


_GROUPS = ((1, 3, 0x5555555555555555), (2, 5, 0x3333333333333333), (4, 17, 0x0F0F0F0F0F0F0F0F))
_ROWS = 3 * 5 * 17


def _bit_sums(packed: "Array") -> np.ndarray:
    """Count the set bits at every bit position: (N, H, W, B) uint8 -> (N, 8 B) int64.

    Eight bytes are added as one 64-bit word. Its bits are first split into even and odd ones, so that each has two
    bits of room: three words can be added without overflow. Those fields are split again: fifteen words in four bits,
    then 255 in eight, which is where the bytes are summed. This reads the data about four times; nothing is unpacked.
    """
    words = _as_words(packed)  # (N, 255 K, B)
    n, _, width = words.shape
    fields = {0: words}  # first bit of the field -> sums so far
    for shift, group, mask in _GROUPS:
        split = {}
        for bit, values in fields.items():
            grouped = values.reshape(n, group, values.shape[1] // group, width)
            split[bit] = (grouped & mask).sum(1)
            split[bit + shift] = ((grouped >> shift) & mask).sum(1)
        fields = split
    totals = np.stack([_byte_sums(fields[bit]) for bit in range(8)], axis=-1)  # (N, B, 8)
    return totals.reshape(n, -1)


def _as_words(packed: "Array") -> "Array":
    """Return rows of eight pixels as int64 words, with empty rows up to a multiple of 255: (N, 255 K, B)."""
    n, height, width, size = packed.shape
    block = 8 * _ROWS
    length = -(-height * width // block) * block
    if isinstance(packed, np.ndarray):
        padded = np.zeros((n, length, size), np.uint8)
    else:
        padded = packed.new_zeros((n, length, size))
    padded[:, : height * width] = packed.reshape(n, height * width, size)
    return _view(padded.reshape(n, length // 8, 8 * size), "int64")


def _byte_sums(words: "Array") -> np.ndarray:
    """Sum the bytes of words (N, K, B), where a row of B words is eight pixels of B bytes: (N, B) int64."""
    n, rows, width = words.shape
    octets = _view(words, "uint8").reshape(n, rows * 8, width)
    if isinstance(octets, np.ndarray):
        return octets.sum(1, dtype=np.int64)
    return octets.sum(1).cpu().numpy()


def _view(array: "Array", dtype: str) -> "Array":
    """Look at the same memory in another type, in NumPy or torch."""
    if isinstance(array, np.ndarray):
        return array.view(dtype)
    import torch

    return array.view(getattr(torch, dtype))


def iou(counts: Counts) -> np.ndarray:
    """Return intersection over union, (N, L) float64; NaN where a label is absent from both, 0 where from one.

    >>> iou(Counts(tp=[[2, 0, 0]], fp=[[1, 3, 0]], fn=[[1, 0, 0]]))
    array([[0.5, 0. , nan]])
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def dice(counts: Counts) -> np.ndarray:
    """Return the Dice coefficient (F1), (N, L) float64; NaN where a label is absent from both, 0 where from one."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> np.ndarray:
    """Return the share of predicted pixels that are right, (N, L) float64; NaN where nothing is predicted."""
    return _ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: Counts) -> np.ndarray:
    """Return the share of target pixels that are found, (N, L) float64; NaN where the target is empty."""
    return _ratio(counts.tp, counts.tp + counts.fn)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def per_label(scores: np.ndarray, convention: str = "published") -> np.ndarray:
    """Average scores over images under a named convention.

    Parameters
    ----------
    scores : (N, L) float array
        From `iou` or `dice`; NaN where a label is absent from both.
    convention : {"published", "present"}
        See the top of this module.

    Returns
    -------
    (L,) float64 array
        One value per label index, so that two labels of one name keep one each. NaN for a label without a value
        ("present": in no image; either: no images).

    Raises
    ------
    ValueError
        If the convention is unknown.
    """
    scores = np.asarray(scores, np.float64)
    if convention not in CONVENTIONS:
        raise ValueError(
            f"unknown convention {convention!r}{did_you_mean(str(convention), CONVENTIONS)} "
            f"(known: {', '.join(CONVENTIONS)})"
        )
    valid = ~np.isnan(scores)
    number = valid.sum(0) if convention == "present" else np.full(scores.shape[1], len(scores))
    return _ratio(np.where(valid, scores, 0).sum(0), number)


def mean_score(scores: np.ndarray, convention: str = "published") -> float:
    """Average scores over images, then over labels, under a named convention; NaN if there is no value at all.

    Examples
    --------
    >>> scores = np.array([[0.5, np.nan, np.nan], [1.0, 0.25, np.nan]])
    >>> mean_score(scores, "present"), round(mean_score(scores, "published"), 4)
    (0.5, 0.2917)
    """
    means = per_label(scores, convention)
    means = means[~np.isnan(means)]
    return float(means.mean()) if len(means) else float("nan")
