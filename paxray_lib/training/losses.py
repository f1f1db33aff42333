"""Dice + binary cross-entropy on logits, with targets that stay packed.

The plain way makes four to six tensors as large as the logits (probabilities, float targets,
products). Here the loss and its gradient are worked out in closed form, block by block: only the
logits are kept between forward and backward, the gradient is the only new tensor of their size, and
a target is unpacked for the block at hand alone. On a GPU the same sums are compiled into one
kernel each where torch.compile works. `dice_bce_coarse` takes logits from before the last
upsampling and enlarges them block by block too, so that those of full size never exist."""

import functools
import importlib.util
import warnings
from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import interpolate

from paxray_lib.utils.errors import did_you_mean

KINDS = ("published", "present")
# Elements of a block on a CPU: temporaries of 4 MB. Much smaller ones wait for threads more than
# they gain.
_BLOCK = 2**20
_GPU_BLOCK = 2**26
_SMOOTH = 1.0


def dice_bce(logits: torch.Tensor, target: torch.Tensor, kind: str = "published") -> torch.Tensor:
    """Return binary cross-entropy plus a Dice loss, each a mean per image, then over the batch.

    With p = sigmoid(logits), t the target, BCE is the mean over all labels and pixels of an image,
    and D is

    ``"published"``
        1 - (sum p t + 1) / (sum p^2 + sum t^2 + 1), all labels and pixels of one image in one sum.
        There is no factor 2: a perfect prediction scores 0.5 (Seibold et al., BMVC 2022).
    ``"present"``
        1 - the mean of (2 sum p t + 1) / (sum p + sum t + 1), one for each label that occurs in the
        image's target; 0 for an image without any. It depends on one image alone, so that it
        averages across batches and processes.

    Parameters
    ----------
    logits : (N, L, h, w) float tensor
        float64, float32, bfloat16 or float16; sums are float32 at least. Contiguous or
        channels-last.
    target : (N, h, w, ceil(L / 8)) uint8 tensor, packed, or (N, L, h, w) tensor of bool or 0 and 1
        On the device of the logits.
    kind : {"published", "present"}

    Returns
    -------
    Scalar tensor, float32 (float64 for float64 logits), differentiable once with respect to the
    logits.

    Raises
    ------
    ValueError
        If the kind is unknown or the shapes, types or devices do not fit.
    """
    _check(logits, target, kind)
    if not (logits.is_contiguous() or logits.is_contiguous(memory_format=torch.channels_last)):
        logits = logits.contiguous()
    return _DiceBCE.apply(logits, target, kind, target.shape != logits.shape)


def dice_bce_coarse(
    coarse: torch.Tensor, target: torch.Tensor, kind: str = "published"
) -> torch.Tensor:
    """Return `dice_bce` of logits after their bilinear upsampling (align_corners=False) to the size
    of the target.

    On a CPU the logits are enlarged, used and dropped a few rows at a time, and so is their
    gradient.

    Parameters
    ----------
    coarse : (N, L, h, w) float tensor
        float64, float32, bfloat16 or float16.
    target : (N, H, W, ceil(L / 8)) uint8 tensor, packed
    kind : {"published", "present"}

    Raises
    ------
    ValueError
        As `dice_bce`.
    """
    size = target.shape[1:3]
    _check(
        coarse if coarse.ndim != 4 else coarse.new_empty(()).expand(*coarse.shape[:2], *size),
        target,
        kind,
    )
    if coarse.device.type != "cpu" or coarse.shape[-2:] == size or torch.compiler.is_compiling():
        full = coarse if coarse.shape[-2:] == size else interpolate(coarse, size, mode="bilinear")
        return dice_bce(full, target, kind)
    # columns first: with a height of h they are few enough to be kept, and rows are then mixed by
    # small products
    wide = interpolate(coarse, (coarse.shape[2], size[1]), mode="bilinear")  # (N, L, h, W)
    return _RowsDiceBCE.apply(wide.contiguous(memory_format=torch.channels_last), target, kind)


def _check(logits: torch.Tensor, target: torch.Tensor, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(
            f"unknown loss {kind!r}{did_you_mean(str(kind), KINDS)} (known: {', '.join(KINDS)})"
        )
    if logits.ndim != 4 or not logits.is_floating_point() or 0 in logits.shape:
        raise ValueError(
            f"logits: need a non-empty float tensor (N, L, h, w), got {logits.dtype} {tuple(logits.shape)}"
        )
    n, labels, height, width = logits.shape
    packed = (n, height, width, -(-labels // 8))
    if target.shape != logits.shape and (target.shape != packed or target.dtype != torch.uint8):
        raise ValueError(
            f"target: {target.dtype} {tuple(target.shape)} does not fit logits {tuple(logits.shape)}; need packed "
            f"uint8 {packed} or dense {tuple(logits.shape)}"
        )
    if target.device != logits.device:
        raise ValueError(
            f"target is on {target.device}, logits are on {logits.device}: move the target there"
        )


class _DiceBCE(torch.autograd.Function):
    """Keeps the logits, the target as given, and per image and label three coefficients of the
    gradient.
    """

    @staticmethod
    def forward(ctx, logits, target, kind, packed):
        sums = _fused(_sums, _all_sums, logits, target, packed)
        loss, slopes = _score(sums, kind, logits.shape[2] * logits.shape[3])
        ctx.save_for_backward(logits, target, *slopes)
        ctx.packed = packed
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        logits, target, *slopes = ctx.saved_tensors
        slopes = [slope * grad_output for slope in slopes]
        return (
            _fused(_gradient, _whole_gradient, logits, target, ctx.packed, *slopes),
            None,
            None,
            None,
        )


def _without_autocast(method: Callable) -> Callable:
    """Let a method of an autograd function on a CPU multiply matrices in the types that it chose
    itself.
    """

    @functools.wraps(method)
    def wrapped(ctx, *tensors):
        with torch.autocast("cpu", enabled=False):
            return method(ctx, *tensors)

    return wrapped


class _RowsDiceBCE(torch.autograd.Function):
    """Like `_DiceBCE`, for channels-last logits whose rows are still to be enlarged."""

    @staticmethod
    @_without_autocast
    def forward(ctx, wide, target, kind):
        n, labels = wide.shape[:2]
        sums = torch.zeros((5, n, labels), dtype=_wide(wide.dtype))
        for image, _, _, x, t in _row_blocks(wide, target):
            _add_sums(sums[:, image], x, t, 0)
        loss, slopes = _score(sums, kind, target.shape[1] * target.shape[2])
        ctx.save_for_backward(wide, target, *slopes)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    @_without_autocast
    def backward(ctx, grad_output):
        wide, target, *slopes = ctx.saved_tensors
        slopes = [(slope * grad_output).unsqueeze(1) for slope in slopes]  # (N, 1, L)
        gradient = torch.zeros_like(wide, dtype=slopes[0].dtype)
        out = gradient.permute(0, 2, 3, 1).flatten(2)  # (N, h, W L)
        for image, rows, weights, x, t in _row_blocks(wide, target):
            inner = _block_gradient(x, t, *(slope[image] for slope in slopes))
            out[image, rows].addmm_(weights.t(), inner.view(len(weights), -1))
        return gradient.to(wide.dtype), None, None


def _row_blocks(wide: torch.Tensor, target: torch.Tensor) -> Iterator[tuple]:
    """Yield (image, rows of `wide`, their weights (H', h'), x and t (H' W, L)) for blocks of H'
    rows of the target.
    """
    dtype = _wide(wide.dtype)
    labels, height, columns = wide.shape[1:]
    source = wide.permute(0, 2, 3, 1).flatten(2)  # (N, h, W L)
    full = target.shape[1]
    # (H, h)
    weights = interpolate(torch.eye(height, dtype=dtype)[None], full, mode="linear")[0].t()
    step = max(1, _BLOCK // (columns * labels))
    for image in range(len(wide)):
        bits = _Bits(target[image], labels, 0, True)
        for start in range(0, full, step):
            part = weights[start : start + step]
            used = part.any(0).nonzero()
            rows = slice(int(used[0]), int(used[-1]) + 1)
            part = part[:, rows]
            x = torch.mm(part, source[image, rows].to(dtype)).view(-1, labels)
            pixels = slice(start * columns, start * columns + len(x))
            yield image, rows, part, x, bits.take(pixels).to(dtype)


def _score(sums: torch.Tensor, kind: str, pixels: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Turn the sums into the loss and its slopes.

    Parameters
    ----------
    sums : (5, N, L) tensor
        Per image and label the sums of the cross-entropy, p t, p^2, p, t.

    Returns
    -------
    loss : scalar tensor
    slopes : e, a, b, c as (N, L) tensors
        The gradient is e (p - t) + (a t + b p + c) p (1 - p): dD/dp is linear in t and p, and p (1
        - p) is dp/dlogit.
    """
    entropy, both, squares, probs, true = sums
    n, labels = entropy.shape
    each = 1 / (n * labels * pixels)
    zero = torch.zeros_like(entropy)
    if kind == "published":
        top = both.sum(1, keepdim=True) + _SMOOTH  # (N, 1)
        bottom = squares.sum(1, keepdim=True) + true.sum(1, keepdim=True) + _SMOOTH
        dice_loss = 1 - top / bottom
        a, b, c = zero - 1 / bottom, zero + 2 * top / bottom**2, zero
    else:
        present = (true > 0).to(entropy.dtype)  # (N, L)
        weight = present / present.sum(1, keepdim=True).clamp(min=1)
        top, bottom = 2 * both + _SMOOTH, probs + true + _SMOOTH
        dice_loss = (weight * (1 - top / bottom)).sum(1)
        a, b, c = -2 * weight / bottom, zero, weight * top / bottom**2
    loss = entropy.sum() * each + dice_loss.mean()
    return loss, [zero + each, a / n, b / n, c / n]


def _blocks(logits: torch.Tensor, target: torch.Tensor, packed: bool) -> Iterator[tuple]:
    """Yield (image, labels, x, t, axis, place) block by block; x and t have the same shape, pixels
    along `axis`.

    Planar logits give blocks (labels, pixels); channels-last ones (pixels, labels), rows of the
    image, so that neither is copied. `place` is the index of the block in `_flat(logits)`."""
    flat, axis = _flat(logits)
    n, rows, columns = flat.shape
    block = _BLOCK if logits.device.type == "cpu" else _GPU_BLOCK
    step = max(1, block // columns)
    labels = logits.shape[1]
    for image in range(n):
        bits = _Bits(target[image], labels, axis, packed)
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            chosen = part if axis == 1 else slice(0, labels)
            yield image, chosen, flat[image, part], bits.take(part), axis, (image, part)


def _flat(logits: torch.Tensor) -> tuple[torch.Tensor, int]:
    """View logits as (N, L, pixels), channels-last ones as (N, pixels, L), with the axis of pixels
    in an image.
    """
    if logits.is_contiguous():
        return logits.flatten(2), 1
    return logits.permute(0, 2, 3, 1).flatten(1, 2), 0


class _Bits:
    """The target of one image, read for a part of its labels (axis 1) or of its pixels (axis 0)."""

    def __init__(self, target: torch.Tensor, labels: int, axis: int, packed: bool):
        self.labels, self.axis, self.packed = labels, axis, packed
        flat = target.flatten(0, 1) if packed else target.flatten(1)  # (pixels, B) or (L, pixels)
        turned = packed == (axis == 1)
        flat = flat.t() if turned else flat
        self.data = flat.contiguous() if packed else flat  # packed: gathered from again and again

    def take(self, part: slice) -> torch.Tensor:
        if not self.packed:
            return self.data[part]
        return self._planes(part) if self.axis == 1 else self._pixels(part)

    def _planes(self, part: slice) -> torch.Tensor:
        labels = torch.arange(part.start, part.stop, device=self.data.device)
        shift = (labels % 8).to(torch.uint8)[:, None]
        return (self.data[labels // 8] >> shift) & 1  # (labels, pixels) uint8

    def _pixels(self, part: slice) -> torch.Tensor:
        octets = self.data[part].to(torch.int32)
        # (pixels, B, 8)
        bits = torch.nn.functional.embedding(octets, _byte_table(self.data.device))
        return bits.flatten(1)[:, : self.labels]


def _byte_table(device: torch.device) -> torch.Tensor:
    """(256, 8) float32: the bits of every byte, lowest first."""
    return (
        (torch.arange(256, device=device)[:, None] >> torch.arange(8, device=device)) & 1
    ).float()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _sums(logits: torch.Tensor, target: torch.Tensor, packed: bool) -> torch.Tensor:
    """Return the sums of cross-entropy, p t, p^2, p, t per image and label: (5, N, L)."""
    dtype = _wide(logits.dtype)
    sums = logits.new_zeros((5, *logits.shape[:2]), dtype=dtype)
    for image, labels, x, t, axis, _ in _blocks(logits, target, packed):
        _add_sums(sums[:, image, labels], x.to(dtype), t.to(dtype), axis)
    return sums


def _add_sums(total: torch.Tensor, x: torch.Tensor, t: torch.Tensor, axis: int) -> None:
    """Add a block's sums along `axis` to `total`, (5, labels)."""
    work = torch.abs(x).neg_().exp_().log1p_()  # softplus(x) = max(x, 0) + log(1 + exp(-|x|))
    total[0] += work.sum(axis)
    total[0] += torch.clamp(x, min=0, out=work).addcmul_(x, t, value=-1).sum(axis)
    p = torch.sigmoid(x)
    total[3] += p.sum(axis)
    total[4] += t.sum(axis)
    total[1] += torch.mul(p, t, out=work).sum(axis)
    total[2] += p.square_().sum(axis)


def _gradient(logits: torch.Tensor, target: torch.Tensor, packed: bool, e, a, b, c) -> torch.Tensor:
    """Return the gradient for slopes (N, L) as `_score` defines them, in the type and strides of
    the logits.
    """
    dtype = _wide(logits.dtype)
    gradient = torch.empty_like(logits)
    out = _flat(gradient)[0]
    for image, labels, x, t, axis, place in _blocks(logits, target, packed):
        slopes = (slope[image, labels].unsqueeze(axis) for slope in (e, a, b, c))
        out[place] = _block_gradient(x.to(dtype), t.to(dtype), *slopes)
    return gradient


def _block_gradient(x: torch.Tensor, t: torch.Tensor, e, a, b, c) -> torch.Tensor:
    p = torch.sigmoid(x)
    inner = (t * a).addcmul_(p, b).add_(c)
    inner.mul_(torch.addcmul(p, p, p, value=-1))
    return inner.addcmul_(p.sub_(t), e)


def _fused(blockwise: Callable, whole: Callable, logits: torch.Tensor, *rest) -> torch.Tensor:
    """Run the whole-tensor form compiled on a GPU, where it is one kernel, and the blockwise form
    elsewhere.
    """
    # the caller compiles: the form without loops fuses with what is around it
    if torch.compiler.is_compiling():
        return whole(logits, *rest)
    if logits.is_cuda and not _REFUSED and importlib.util.find_spec("triton"):
        try:
            return _compiled(whole)(logits, *rest)
        except torch.OutOfMemoryError:
            raise
        except (
            RuntimeError,
            OSError,
        ) as error:  # what compilers raise, for instance without a C compiler
            _REFUSED.append(error)
            reason = str(error).strip().split("\n")[0]
            warnings.warn(
                f"torch.compile failed ({reason}); the loss goes on uncompiled, slower",
                stacklevel=2,
            )
    return blockwise(logits, *rest)


_REFUSED: list[Exception] = []  # the first failure to compile: not tried again at every step


@functools.cache
def _compiled(function: Callable) -> Callable:
    return torch.compile(function)


def _unpacked(logits: torch.Tensor, target: torch.Tensor, packed: bool) -> torch.Tensor:
    """The whole target as (N, L, h, w) in the wide type; only inside a compiled kernel, where it is
    never stored.
    """
    if packed:
        shifts = torch.arange(8, dtype=torch.uint8, device=target.device)
        bits = (target.unsqueeze(-1) >> shifts) & 1  # (N, h, w, B, 8)
        target = bits.flatten(-2)[..., : logits.shape[1]].permute(0, 3, 1, 2)
    return target.to(_wide(logits.dtype))


def _all_sums(logits: torch.Tensor, target: torch.Tensor, packed: bool) -> torch.Tensor:
    x, t = logits.to(_wide(logits.dtype)), _unpacked(logits, target, packed)
    p = torch.sigmoid(x)
    entropy = x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())) - x * t
    return torch.stack([values.sum((-2, -1)) for values in (entropy, p * t, p * p, p, t)])


def _whole_gradient(
    logits: torch.Tensor, target: torch.Tensor, packed: bool, *slopes: torch.Tensor
) -> torch.Tensor:
    t = _unpacked(logits, target, packed)
    p = torch.sigmoid(logits.to(t.dtype))
    e, a, b, c = (slope[..., None, None] for slope in slopes)
    return (e * (p - t) + (a * t + b * p + c) * p * (1 - p)).to(logits.dtype)
