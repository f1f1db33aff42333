"""How much memory a training step will need, worked out without computing anything.

The network runs on torch's "meta" device, where tensors have a shape but no numbers, and autograd
is asked what it would keep for the backward pass."""

import copy
import functools
from collections.abc import Callable

import torch

from paxray_lib.models.published import RECOMPUTED, PublishedUNet
from paxray_lib.models.segmenter import AnatomySegmenter

_COPIES = 4  # weights, their gradients, and AdamW's two averages, float32 all of them


def step_bytes(
    model: AnatomySegmenter,
    batch_size: int,
    size: int,
    dtype: torch.dtype = torch.float32,
    on_cpu: bool = False,
) -> int:
    """Return the bytes that a training step needs at its peak, without the libraries and their
    workspace.

    Weights, gradients, optimizer, what the backward pass needs of each layer, and where it starts
    the logits with their gradient. The published network needs less on a CPU, where it computes
    some maps twice rather than keep them, and the loss enlarges the logits of a few rows at a time
    there (see `losses.dice_bce_coarse`).

    Parameters
    ----------
    model : AnatomySegmenter
    batch_size : images that pass through the network at once
    size : pixels; side of the square images
    dtype : float32, or bfloat16 in mixed precision
    on_cpu : whether the training runs on a processor
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    # autocast keeps a copy
    weights = parameters * (_COPIES * 4 + (dtype.itemsize if dtype != torch.float32 else 0))
    kept, coarse = activation_bytes(model, batch_size, size, dtype, on_cpu)
    height, width = coarse[-2:]
    labels, wide = batch_size * len(model.labels), on_cpu and (height, width) != (size, size)
    logits = labels * (height if wide else size) * size
    # the gradient of rows that are still to be enlarged is summed in float32
    return weights + kept + logits * (dtype.itemsize + (4 if wide else dtype.itemsize))


def activation_bytes(
    model: AnatomySegmenter,
    batch_size: int,
    size: int,
    dtype: torch.dtype = torch.float32,
    on_cpu: bool = False,
) -> tuple[int, torch.Size]:
    """Return the bytes that autograd keeps of a forward pass, parameters aside, and the shape of
    the coarse logits.
    """
    ghost = copy.deepcopy(model).to(device="meta", dtype=dtype).train()
    own = {_storage(tensor) for tensor in (*ghost.parameters(), *ghost.buffers())}
    # holds on to the tensors: a freed one's number could come again
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(_storage(tensor), tensor)
        return tensor

    if on_cpu and isinstance(ghost.network, PublishedUNet):
        for name in RECOMPUTED:
            stage = ghost.network.backbone.backbone.get_submodule(name)
            stage.forward = functools.partial(_unseen, stage.forward, keep)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.empty((batch_size, 3, size, size), device="meta", dtype=dtype)
        coarse = ghost.coarse(images)  # (N, L, h / s, w / s)
    return sum(
        t.untyped_storage().nbytes() for key, t in kept.items() if key not in own
    ), coarse.shape


def _unseen(forward: Callable, keep: Callable, x: torch.Tensor) -> torch.Tensor:
    """Run a stage of which just the input is kept."""
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        return forward(keep(x))


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
