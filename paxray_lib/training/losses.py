"""Losses of a training, by name.

A loss is a function of logits (N, L, h, w), a target, packed or dense, and which labels are known
in each image, (N, L) bool or None for all; it returns a scalar tensor. A new one is a plain torch
function in this file with an entry in `LOSSES`:

    def focal(logits, target, known=None):
        true = dense(target, logits)  # (N, L, h, w), 0 or 1
        entropy = binary_cross_entropy_with_logits(logits, true, reduction="none")
        return mean_of_known(entropy * (1 - torch.exp(-entropy)) ** 2, known)

and a test beside those of the others. `loss: focal` in a profile then trains with it. A faster form
for packed targets, such as packed_dice.py has for `dice_bce`, may follow later."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from paxray_lib.training.packed_dice import KINDS, PackedDiceBCE, unpack
from paxray_lib.utils.errors import check_choice


def dice_bce(
    logits: Tensor, target: Tensor, kind: str = "published", known: Tensor | None = None
) -> Tensor:
    """Return binary cross-entropy plus a Dice loss, each a mean per image, then over the batch.

    With p = sigmoid(logits), t the target, BCE is the mean over all labels and pixels of an image,
    and D is

    ``"present"``
        1 - the mean of (2 sum p t + 1) / (sum p + sum t + 1), one for each label that occurs in the
        image's target; 0 for an image without any. It depends on one image alone, so that it
        averages across batches and processes.
    ``"published"``
        1 - (sum p t + 1) / (sum p^2 + sum t^2 + 1), all labels and pixels of one image in one sum.
        There is no factor 2: a perfect prediction scores 0.5 (Seibold et al., BMVC 2022).

    Parameters
    ----------
    logits : (N, L, h, w) float tensor
        float64, float32, bfloat16 or float16; sums are float32 at least.
    target : (N, h, w, ceil(L / 8)) uint8 tensor, packed, or (N, L, h, w) tensor of bool or 0 and 1
        On the device of the logits.
    kind : {"published", "present"}
    known : (N, L) bool tensor, or None for all
        A label that is not known in an image has no part in its loss, as if it were cut out there:
        its gradient is exactly zero. An image without a known label has a loss of 0.

    Returns
    -------
    Scalar tensor, float32 (float64 for float64 logits), differentiable once with respect to the
    logits.

    Raises
    ------
    ValueError
        If the kind is unknown or the shapes, types or devices do not fit.
    """
    _check(logits, target, kind, logits.shape, known)
    if target.shape == logits.shape:
        target = target.permute(0, 2, 3, 1)  # (N, h, w, L), as packed ones have it
    return PackedDiceBCE.apply(logits, target, kind, known)


def dice_bce_coarse(
    coarse: Tensor, target: Tensor, kind: str = "published", known: Tensor | None = None
) -> Tensor:
    """Return `dice_bce` of logits after bilinear upsampling to the size of the target.

    On a CPU the logits are enlarged, used and dropped a few rows at a time, and so is their
    gradient: those of full size never exist.

    `coarse` is (N, L, h, w), of a type as for `dice_bce`, `target` (N, H, W, ceil(L / 8)) uint8,
    packed. Raises ValueError as `dice_bce`.
    """
    size = target.shape[1:3]
    _check(coarse, target, kind, (*coarse.shape[:2], *size), known)
    if coarse.device.type != "cpu" or torch.compiler.is_compiling():
        return PackedDiceBCE.apply(enlarge(coarse, size), target, kind, known)
    # columns first: with a height of h they are few enough to be kept, and rows are then mixed by
    # small products
    wide = enlarge(coarse, (coarse.shape[2], size[1]))  # (N, L, h, W)
    wide = wide.contiguous(memory_format=torch.channels_last)
    return PackedDiceBCE.apply(wide, target, kind, known)


#: The losses that a training can use, by name.
LOSSES: dict[str, Callable[..., Tensor]] = {kind: partial(dice_bce, kind=kind) for kind in KINDS}


def loss_of_coarse(
    coarse: Tensor, target: Tensor, name: str, known: Tensor | None = None
) -> Tensor:
    """Return a loss of `LOSSES` for logits (N, L, h / s, w / s) before the last upsampling."""
    if name in KINDS:
        return dice_bce_coarse(coarse, target, name, known)
    return LOSSES[name](enlarge(coarse, target.shape[1:3]), target, known=known)


def mean_of_known(values: Tensor, known: Tensor | None) -> Tensor:
    """Return the mean of (N, L, h, w): of each image over its known labels, then over the batch."""
    by_label = values.mean((2, 3))
    if known is None:
        return by_label.mean()
    counted = known.to(values.dtype)
    return ((by_label * counted).sum(1) / counted.sum(1).clamp(min=1)).mean()


def enlarge(coarse: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return logits (N, L, *size), bilinear with half-pixel centres."""
    return coarse if coarse.shape[-2:] == size else interpolate(coarse, size, mode="bilinear")


def dense(target: Tensor, logits: Tensor) -> Tensor:
    """Return a packed or dense target as (N, L, h, w) of 0 and 1, in the type of the logits."""
    if target.shape != logits.shape:
        target = unpack(target, logits.shape[1]).permute(0, 3, 1, 2)
    return target.to(logits.dtype)


def _check(
    logits: Tensor, target: Tensor, kind: str, shape: tuple[int, ...], known: Tensor | None
) -> None:
    # `shape` is what the logits will be enlarged to
    check_choice(kind, KINDS, "loss")
    if logits.ndim != 4 or not logits.is_floating_point() or 0 in logits.shape:
        raise ValueError(
            f"logits: need a non-empty float tensor (N, L, h, w), got {logits.dtype} "
            f"{tuple(logits.shape)}"
        )
    n, labels, height, width = shape
    packed = (n, height, width, -(-labels // 8))
    if target.shape != shape and (target.shape != packed or target.dtype != torch.uint8):
        raise ValueError(
            f"target: {target.dtype} {tuple(target.shape)} does not fit logits {tuple(shape)}; "
            f"need packed uint8 {packed} or dense {tuple(shape)}"
        )
    if known is not None and (known.dtype != torch.bool or known.shape != logits.shape[:2]):
        raise ValueError(
            f"known: {known.dtype} {tuple(known.shape)} does not fit logits {tuple(shape)}; "
            f"need bool {tuple(logits.shape[:2])}"
        )
    if target.device != logits.device:
        raise ValueError(
            f"target is on {target.device}, logits are on {logits.device}: move the target there"
        )
