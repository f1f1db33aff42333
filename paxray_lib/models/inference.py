"""Applying a model: logits, decisions and packed masks, with folded BatchNorm."""

import copy
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from paxray_lib.compute.devices import find_device
from paxray_lib.images.read import Image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.segmenter import AnatomySegmenter

if TYPE_CHECKING:
    import torch


def pack_decisions(logits: "torch.Tensor", threshold: float = 0.5) -> "torch.Tensor":
    """Return the packed bits of ``sigmoid(logits) > threshold`` (strictly, as published).

    The logits are compared with logit(threshold), so that no probabilities are made. Not a number
    is not above.

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
        raise ValueError(
            f"logits must have shape (images, labels, height, width), got {tuple(logits.shape)}"
        )
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
    """Round down to a type: exact for ``logits > value``, where rounding to nearest may pass over a
    logit.
    """
    import torch

    rounded = torch.tensor(value, dtype=dtype)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.tensor(-math.inf, dtype=dtype))
    return rounded.item()


def _pack_channels_last(logits: "torch.Tensor", cut: float, packed: "torch.Tensor") -> None:
    """Pack pixel by pixel, a block of rows at a time so that the booleans stay in the cache;
    threads as torch has.
    """
    import torch

    out = packed.numpy()
    pixels = logits.detach().permute(0, 2, 3, 1)  # (N, H, W, L)
    if logits.dtype in (torch.float32, torch.float64):
        # its comparison takes a fifth of the time of torch's for blocks as small as these
        pixels = pixels.numpy()
    step = max(1, 2**20 // (pixels.shape[2] * pixels.shape[3]))

    def pack(place: tuple[int, slice]) -> None:
        out[place] = np.packbits(np.asarray(pixels[place] > cut), axis=-1, bitorder="little")

    places = [
        (n, slice(top, top + step))
        for n in range(len(pixels))
        for top in range(0, pixels.shape[1], step)
    ]
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


def optimize_for_inference(
    model: AnatomySegmenter, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> AnatomySegmenter:
    """Return a faster copy for inference: BatchNorm folded into convolutions, channels last, no
    gradients.

    Logits differ from the model's by rounding, about 1e-5 in float32. With bfloat16 input, weights
    and logits have 8 bits of mantissa. The copy cannot be trained or saved."""
    fast = AnatomySegmenter(
        fold_batch_norm(model.network), model.config, model.labels, model.preprocessing
    )
    fast.optimized = True
    return fast.eval().to(find_device(device), dtype, memory_format=torch.channels_last)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode with each BatchNorm folded into the convolution before it, in
    float32.

    Pairs are those seen in a trial run, where a BatchNorm reads the output of one convolution.
    Should the logits then change by more than rounding, the copy is left as it was."""
    network = copy.deepcopy(network).eval().float().requires_grad_(False)
    folded = copy.deepcopy(network)
    trial = torch.rand(1, 3, 128, 128, device=next(network.parameters()).device)
    for conv, norm in _conv_norm_pairs(network, trial):
        folded.set_submodule(
            conv, fuse_conv_bn_eval(folded.get_submodule(conv), folded.get_submodule(norm))
        )
        folded.set_submodule(norm, nn.Identity())
    with torch.inference_mode():
        before, after = network(trial), folded(trial)
    # a convolution whose output is also read elsewhere: the hooks cannot see it, the logits show it
    return (
        folded
        if torch.allclose(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
        else network
    )


def _conv_norm_pairs(model: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of (Conv2d, BatchNorm2d) where the second reads just what the first, run
    once, has written.
    """
    writers: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no id is used twice
    runs: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []

    def wrote(name: str, output: Tensor) -> None:
        runs[name] += 1
        kept.append(output)
        writers[id(output)] = name

    def read(name: str, tensor: Tensor) -> None:
        runs[name] += 1
        if id(tensor) in writers:
            pairs.append((writers[id(tensor)], name))

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(
                module.register_forward_hook(lambda _, __, out, name=name: wrote(name, out))
            )
        elif type(module) is nn.BatchNorm2d:  # not its subclasses, which may contain an activation
            hooks.append(
                module.register_forward_pre_hook(lambda _, args, name=name: read(name, args[0]))
            )
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if runs[pair[0]] == runs[pair[1]] == 1]


def segment(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> list[np.ndarray | None]:
    """Return the packed decisions of a model as arrays, (h, w, B) uint8 for each of its inputs; see
    `decide`.
    """
    decided = decide(model, inputs, mirror_views, threshold, indices)
    return [None if bits is None else bits.cpu().numpy() for bits in decided]


def decide(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> list[torch.Tensor | None]:
    """Return a tensor (h, w, B) uint8 of packed bits on the model's device for each input; None if
    not finite.

    The model is in eval mode meanwhile, so that no image depends on the others.

    Parameters
    ----------
    model : AnatomySegmenter
    inputs : (N, 3, h, w) float32, preprocessed
    mirror_views : for each image the view by which to average with its mirror image, or None for no
    mirroring
    threshold : a bit is set where the sigmoid is greater
    indices : the labels to decide on; all by default
    """

    def pack(logits: torch.Tensor | None) -> torch.Tensor | None:
        return None if logits is None else pack_decisions(logits, threshold)[0]

    # no variable keeps an image's logits
    return list(map(pack, each_logits(model, inputs, mirror_views, indices)))


def each_logits(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    indices: Sequence[int] | None = None,
) -> Iterator[torch.Tensor | None]:
    """Yield the logits (1, L, h, w) float32 of each input in turn, None if not finite; arguments as
    for `decide`.

    One image at a time, since 166 x 512 x 512 logits take 174 MB: be done with them before asking
    for the next."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            like = next(model.parameters())
            inputs = inputs.to(like.device, like.dtype, memory_format=torch.channels_last)
            coarse = model.coarse(inputs).float()  # (N, L, h / s, w / s)
            chosen = [i for i, view in enumerate(mirror_views) if view is not None]
            flipped = model.coarse(inputs[chosen].flip(-1)).float().split(1) if chosen else ()
        mirrored = dict(zip(chosen, flipped, strict=True))
        for i, view in enumerate(mirror_views):
            # not across a yield, where it would hold for the caller too
            with torch.inference_mode():
                logits = _logits(
                    model, coarse[i : i + 1], mirrored.get(i), view, inputs.shape[-2:], indices
                )
            yield logits
            del logits
    finally:
        model.train(was_training)


def _logits(model, coarse, mirrored, view, size, indices) -> torch.Tensor | None:
    if not (coarse.isfinite().all() and (mirrored is None or mirrored.isfinite().all())):
        return None
    indices = list(range(len(model.labels)) if indices is None else indices)
    logits = _enlarge(model, coarse, indices, size)
    if mirrored is not None:
        partners, alone = _mirror_plan(model.labels, indices, view)
        back = _enlarge(model, mirrored, partners, size).flip(-1)
        back[:, alone] = logits[:, alone]
        logits = logits.add_(back).div_(2)
    return logits


def _enlarge(model, coarse: torch.Tensor, indices: list[int], size) -> torch.Tensor:
    """Return the logits (1, len(indices), h, w) of some labels from coarse ones (1, L, h / s, w /
    s).
    """
    if indices != list(range(coarse.shape[1])):
        coarse = coarse[:, indices]
    if coarse.device.type == "cpu" and coarse.stride(1) != 1:
        # enlarging and packing take a fifth of the time; not `contiguous`, whose strides for one
        # image are ambiguous
        coarse = coarse.clone(memory_format=torch.channels_last)
    return model.upsample(coarse, size)


def _mirror_plan(labels: LabelSet, indices: list[int], view: str) -> tuple[list[int], list[int]]:
    """Return for each label its partner in the mirrored image, and the positions of those without
    one.

    The right middle lobe has no counterpart on the left, so that the mirrored image says nothing
    about it."""
    if view != "frontal":
        return indices, []
    partners = [int(labels.mirror[i]) for i in indices]
    alone = [
        k
        for k, (i, j) in enumerate(zip(indices, partners, strict=True))
        if i == j and labels.side[i]
    ]
    return partners, alone


def predict_image(
    model: torch.nn.Module, image: Image | np.ndarray, threshold: float = 0.5, mirror: bool = False
) -> PackedMasks:
    """Return the masks of one image at its own height and width.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    image : Image, or (H, W) float array in 0..1
    threshold : a pixel has a label where its sigmoid is greater
    mirror : average the logits with those of the mirrored image, sides swapped back; needs an Image
    with a known view

    Raises
    ------
    ValueError
        If the network's output is not finite, or a value is out of range.
    """
    pixels, view = (image.pixels, image.view) if isinstance(image, Image) else (image, None)
    inputs = torch.as_tensor(model.preprocess(image))[None]  # (1, 3, h, w)
    (bits,) = segment(model, inputs, [view if mirror else None], threshold)
    if bits is None:
        raise ValueError(_NOT_FINITE)
    return PackedMasks(bits, model.labels).resize(*pixels.shape)


_NOT_FINITE = "the network's output is not finite for this image; are the weights those of a finished training?"


def fast_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a model for inference, of its device and precision; what has been optimized
    stays as it is.
    """
    if not isinstance(model, AnatomySegmenter) or model.optimized:
        return model
    like = next(model.parameters())
    return optimize_for_inference(model, like.device, like.dtype)
