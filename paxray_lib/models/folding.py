"""A faster copy of a model for inference: BatchNorm folded into the convolutions before it."""

import copy
from collections import Counter
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from paxray_lib.models.inference import WRONG_SIZE
from paxray_lib.models.segmenter import AnatomySegmenter


def optimize_for_inference(
    model: AnatomySegmenter, precision: str | None = None
) -> AnatomySegmenter:
    """Return a copy for inference on the model's device: BatchNorm folded, channels last.

    Logits differ from the model's by rounding, about 1e-5 in float32. With the `precision`
    "bfloat16" inputs, weights and logits have 8 bits of mantissa; by default it stays. The copy
    cannot be trained or saved. A model that is optimized already, or of another class, is returned
    unchanged.
    """
    own = next(model.parameters()).dtype
    dtype = getattr(torch, precision) if precision else own
    if not isinstance(model, AnatomySegmenter) or (model.optimized and own == dtype):
        return model
    network = fold_batch_norm(model.network, model.padded(*model.preprocessing.size))
    fast = AnatomySegmenter(network, model.config, model.labels, model.preprocessing)
    fast.optimized = True
    return fast.eval().to(dtype=dtype).to(memory_format=torch.channels_last)


def fold_batch_norm(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Return a copy in eval mode, float32, with BatchNorm folded into the convolution before it.

    Pairs are those seen in a trial run, where a BatchNorm reads the output of one convolution.
    Should the logits then change by more than rounding, nothing is folded. The trial is small, and
    of `size` (h, w) only where the network takes no other.
    """
    network = copy.deepcopy(network).eval().float().requires_grad_(False)
    folded = copy.deepcopy(network)
    device = next(network.parameters()).device
    trial = torch.rand(1, 3, 64, 64, device=device)
    try:
        pairs = _conv_norm_pairs(network, trial)
    except WRONG_SIZE:
        trial = torch.rand(1, 3, *size, device=device)
        pairs = _conv_norm_pairs(network, trial)
    for conv, norm in pairs:
        fused = fuse_conv_bn_eval(folded.get_submodule(conv), folded.get_submodule(norm))  # type: ignore[type-var, arg-type] # chosen by class in _conv_norm_pairs
        folded.set_submodule(conv, fused)
        folded.set_submodule(norm, _rest(folded.get_submodule(norm)))
    with torch.inference_mode():
        before, after = network(trial), folded(trial)
    # a convolution whose output is also read elsewhere: no hook sees that, but the logits change
    scale = before.abs()
    same = (after - before).abs() <= 1e-3 * (scale.max() + scale)  # false where they are not finite
    return folded if same.all() else network


def _rest(norm: nn.Module) -> nn.Module:
    """Return what a BatchNorm does besides normalizing: timm's have an activation in them."""
    return nn.Sequential(norm.drop, norm.act) if type(norm) is BatchNormAct2d else nn.Identity()


def _conv_norm_pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of (Conv2d, BatchNorm) where the second reads just what the first wrote.

    Each of the two must run once.
    """
    names = {module: name for name, module in network.named_modules()}
    runs: Counter[nn.Module] = Counter()
    writers: dict[nn.Module, nn.Module] = {}  # of what each BatchNorm reads

    def look(module: nn.Module, inputs: tuple, output: Any) -> None:
        runs[module] += 1
        if isinstance(module, nn.Conv2d):
            output.writer = module
        else:
            writers[module] = getattr(inputs[0], "writer", network)

    # no other subclasses of BatchNorm2d: they may contain anything
    norms = (nn.BatchNorm2d, BatchNormAct2d)
    watched = [m for m in names if isinstance(m, nn.Conv2d) or type(m) in norms]
    hooks = [module.register_forward_hook(look) for module in watched]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    pairs = writers.items()
    return [(names[conv], names[norm]) for norm, conv in pairs if runs[conv] == runs[norm] == 1]
