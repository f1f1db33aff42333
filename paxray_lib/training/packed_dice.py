"""Dice + binary cross-entropy on packed targets, with a gradient in closed form.

The plain way makes four to six tensors as large as the logits (probabilities, float targets,
products). Here the loss and its gradient are worked out block by block: only the logits are kept
between forward and backward, the gradient is the only new tensor of their size, and a target is
unpacked for the block at hand alone. On a GPU the same sums are compiled into one kernel each where
torch.compile works.

Here a target is (N, H, W, B) uint8, packed, or (N, H, W, L) of 0 and 1; `known` is (N, L) bool, or
None where all labels are."""

import functools
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, interpolate

KINDS = ("published", "present")
# Elements of a block on a CPU: temporaries of 4 MB. Much smaller ones wait for threads more than
# they gain.
CPU_BLOCK = 2**20
GPU_BLOCK = 2**26


class PackedDiceBCE(torch.autograd.Function):
    """`losses.dice_bce` of logits (N, L, h, W) and a target of H rows, h or, on a CPU, more.

    Keeps the logits, the target as given, and per image and label four coefficients of the
    gradient. Where the target has more rows, those of the logits are enlarged.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, kind: str, known: Tensor | None
    ) -> Tensor:
        """Return the loss."""
        # autocast would multiply matrices in bfloat16
        with torch.autocast("cpu", enabled=False):
            sums = _fused(_whole_sums, _blockwise_sums, logits, target)  # (5, N, L)
        loss, slopes = _score(sums, kind, target.shape[1] * target.shape[2], known)
        ctx.save_for_backward(logits, target, *slopes)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradient with respect to the logits."""
        logits, target, *slopes = ctx.saved_tensors
        scaled = [slope * gradients[0] for slope in slopes]
        with torch.autocast("cpu", enabled=False):
            gradient = _fused(_whole_gradient, _blockwise_gradient, logits, target, *scaled)
        return gradient, None, None, None


def _score(
    sums: Tensor, kind: str, pixels: int, known: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Turn the sums (5, N, L) of cross-entropy, p t, p^2, p, t into the loss and its slopes.

    The slopes are e, a, b, c as (N, L): the gradient is e (p - t) + (a t + b p + c) p (1 - p), as
    dD/dp is linear in t and p, and p (1 - p) is dp/dlogit. All are 0 where a label is not known.
    """
    n = sums.shape[1]
    counted = torch.ones_like(sums[0]) if known is None else known.to(sums.dtype)  # (N, L)
    entropy, both, squares, probs, true = torch.where(counted > 0, sums, 0)
    each = counted / (n * pixels * counted.sum(1, keepdim=True).clamp(min=1))
    zero = torch.zeros_like(entropy)
    if kind == "published":
        top = both.sum(1, keepdim=True) + 1  # (N, 1)
        bottom = squares.sum(1, keepdim=True) + true.sum(1, keepdim=True) + 1
        # an image without a known label has no loss
        dice_loss = (1 - top / bottom) * counted.amax(1, keepdim=True)
        a, b, c = -counted / bottom, 2 * counted * top / bottom**2, zero
    else:
        present = (true > 0).to(entropy.dtype)  # (N, L)
        weight = present / present.sum(1, keepdim=True).clamp(min=1)
        top, bottom = 2 * both + 1, probs + true + 1
        dice_loss = (weight * (1 - top / bottom)).sum(1)
        a, b, c = -2 * weight / bottom, zero, weight * top / bottom**2
    loss = (entropy * each).sum() + dice_loss.mean()
    return loss, [each, a / n, b / n, c / n]


def _sums(x: Tensor, t: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the sums of cross-entropy, p t, p^2, p, t over some axes."""
    p = torch.sigmoid(x)
    # max(x, 0) - x t + log(1 + exp(-|x|)); torch's log1p takes fifteen times as long as its log
    entropy = (x.clamp(min=0) - x * t).sub_(torch.maximum(p, 1 - p).log_())
    return torch.stack([values.sum(axes) for values in (entropy, p * t, p * p, p, t)])


def _gradient(x: Tensor, t: Tensor, slopes: list[Tensor]) -> Tensor:
    """Return the gradient for slopes as `_score` defines them."""
    e, a, b, c = slopes
    p = torch.sigmoid(x)
    dice = torch.addcmul(c, a, t).addcmul_(b, p)  # a t + b p + c
    dice *= torch.addcmul(p, p, p, value=-1)  # p (1 - p)
    return dice.addcmul_(e, p - t)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _blocks(
    logits: Tensor, target: Tensor
) -> Iterator[tuple[int, slice, Tensor | None, Tensor, Tensor]]:
    """Yield (image, rows, weights, x, t) for some rows of one image after the other.

    x and t are logits and target, (pixels, L). x is made from `rows` of the given logits
    (N, h, W, L) by `weights` (H', h'); None if they are the same.
    """
    dtype = _wide(logits.dtype)
    pixels = logits.permute(0, 2, 3, 1)  # (N, h, W, L)
    height, columns, labels = pixels.shape[1:]
    enlarged = target.shape[1]
    # (H, h)
    mix = interpolate(torch.eye(height, dtype=dtype)[None], enlarged, mode="linear")[0].t()
    block = CPU_BLOCK if logits.device.type == "cpu" else GPU_BLOCK
    step = max(1, block // (columns * labels))
    for image in range(len(pixels)):
        for start in range(0, enlarged, step):
            rows = slice(start, min(start + step, enlarged))
            t = _true(target[image, rows], labels).to(dtype)
            weights = None
            if enlarged == height:
                x = pixels[image, rows].reshape(-1, labels).to(dtype)
            else:
                used = mix[rows].any(0).nonzero()
                rows = slice(int(used[0]), int(used[-1]) + 1)
                weights = mix[start : start + step, rows]  # (H', h')
                x = (weights @ pixels[image, rows].flatten(1).to(dtype)).view(-1, labels)
            yield image, rows, weights, x, t


def _true(target: Tensor, labels: int) -> Tensor:
    """Return rows of a target (H', W, B or L) as (pixels, L) of 0 and 1."""
    flat = target.reshape(-1, target.shape[-1])
    if flat.shape[1] == labels:
        return flat
    table = unpack(torch.arange(256, device=flat.device, dtype=torch.uint8)[:, None], 8).float()
    return embedding(flat.to(torch.int32), table).flatten(1)[:, :labels]


def unpack(packed: Tensor, labels: int) -> Tensor:
    """Return packed bits (..., B) as (..., labels) uint8 of 0 and 1."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return ((packed[..., None] >> shifts) & 1).flatten(-2)[..., :labels]


def _blockwise_sums(logits: Tensor, target: Tensor) -> Tensor:
    sums = logits.new_zeros((5, *logits.shape[:2]), dtype=_wide(logits.dtype))
    for image, _, _, x, t in _blocks(logits, target):
        sums[:, image] += _sums(x, t, (0,))
    return sums


def _blockwise_gradient(logits: Tensor, target: Tensor, *slopes: Tensor) -> Tensor:
    enlarged = target.shape[1] > logits.shape[2]  # only then are rows added up
    make = torch.zeros_like if enlarged else torch.empty_like
    gradient = make(logits, dtype=slopes[0].dtype if enlarged else None)
    pixels = gradient.permute(0, 2, 3, 1)  # (N, h, W, L)
    for image, rows, weights, x, t in _blocks(logits, target):
        inner = _gradient(x, t, [slope[image] for slope in slopes])
        if weights is None:
            pixels[image, rows] = inner.view_as(pixels[image, rows])
        else:
            pixels[image, rows].flatten(1).addmm_(weights.t(), inner.view(len(weights), -1))
    return gradient.to(logits.dtype)


def _whole(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    # (N, L, h, w) in the wide type; only in a compiled kernel, where they are never stored
    labels, dtype = logits.shape[1], _wide(logits.dtype)
    true = target if target.shape[-1] == labels else unpack(target, labels)
    return logits.to(dtype), true.permute(0, 3, 1, 2).to(dtype)


def _whole_sums(logits: Tensor, target: Tensor) -> Tensor:
    return _sums(*_whole(logits, target), (-2, -1))


def _whole_gradient(logits: Tensor, target: Tensor, *slopes: Tensor) -> Tensor:
    gradient = _gradient(*_whole(logits, target), [slope[..., None, None] for slope in slopes])
    return gradient.to(logits.dtype)


def _fused(whole: Callable, blockwise: Callable, logits: Tensor, *rest: Tensor) -> Tensor:
    """Run the whole-tensor form on a GPU, compiled to one kernel, else the blockwise form."""
    # the caller compiles: the form without loops fuses with what is around it
    if torch.compiler.is_compiling():
        return whole(logits, *rest)
    if logits.is_cuda and not _REFUSED and importlib.util.find_spec("triton"):
        try:
            return _compiled(whole)(logits, *rest)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError) as error:  # such as without a C compiler
            _REFUSED.append(error)
            reason = str(error).strip().split("\n")[0]
            warnings.warn(
                f"torch.compile failed ({reason}); the loss goes on uncompiled, slower",
                stacklevel=2,
            )
    return blockwise(logits, *rest)


_REFUSED: list[Exception] = []  # the first failure to compile: not tried again at every step


_compiled: Callable = functools.cache(torch.compile)
