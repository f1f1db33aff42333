"""A faster copy of a model for inference: BatchNorm folded into the convolutions before it."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from paxray_lib.models.segmenter import AnatomySegmenter


def optimize_for_inference(
    model: AnatomySegmenter, dtype: torch.dtype | None = None
) -> AnatomySegmenter:
    """Return a copy for inference on the model's device: BatchNorm folded, channels last.

    Logits differ from the model's by rounding, about 1e-5 in float32. With bfloat16, inputs,
    weights and logits have 8 bits of mantissa. The copy cannot be trained or saved. A model that
    is optimized already, or of another class, is returned unchanged.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    dtype : of the copy's weights; by default the model's own
    """
    if not isinstance(model, AnatomySegmenter):
        return model
    own = next(model.parameters())
    dtype = dtype or own.dtype
    if model.optimized and own.dtype == dtype:
        return model
    network = fold_batch_norm(model.network)
    fast = AnatomySegmenter(network, model.config, model.labels, model.preprocessing)
    fast.optimized = True
    return fast.eval().to(dtype=dtype).to(memory_format=torch.channels_last)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode, float32, with BatchNorm folded into the convolution before it.

    Pairs are those seen in a trial run, where a BatchNorm reads the output of one convolution.
    Should the logits then change by more than rounding, nothing is folded.
    """
    network = copy.deepcopy(network).eval().float().requires_grad_(False)
    folded = copy.deepcopy(network)
    trial = torch.rand(1, 3, 128, 128, device=next(network.parameters()).device)
    for conv, norm in _conv_norm_pairs(network, trial):
        fused = fuse_conv_bn_eval(folded.get_submodule(conv), folded.get_submodule(norm))  # type: ignore[type-var, arg-type] # chosen by class in _conv_norm_pairs
        folded.set_submodule(conv, fused)
        folded.set_submodule(norm, nn.Identity())
    with torch.inference_mode():
        before, after = network(trial), folded(trial)
    # a convolution whose output is also read elsewhere: no hook sees that, but the logits change
    same = torch.allclose(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    return folded if same else network


def _conv_norm_pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of (Conv2d, BatchNorm2d) where the second reads just what the first wrote.

    Each of the two must run once.
    """
    names = {module: name for name, module in network.named_modules()}
    runs: Counter[nn.Module] = Counter()
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def mark_output(conv: nn.Module, _: Any, output: Any) -> None:
        runs[conv] += 1
        output.writer = conv

    def look_at_input(norm: nn.Module, inputs: tuple) -> None:
        runs[norm] += 1
        pairs.append((getattr(inputs[0], "writer", network), norm))

    convs = [module for module in names if isinstance(module, nn.Conv2d)]
    # not the subclasses of BatchNorm2d, which may contain an activation
    norms = [module for module in names if type(module) is nn.BatchNorm2d]
    hooks = [conv.register_forward_hook(mark_output) for conv in convs]
    hooks += [norm.register_forward_pre_hook(look_at_input) for norm in norms]
    with torch.inference_mode():
        network(images)
    for hook in hooks:
        hook.remove()
    return [(names[conv], names[norm]) for conv, norm in pairs if runs[conv] == runs[norm] == 1]
