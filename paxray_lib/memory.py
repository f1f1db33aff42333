"""How much memory a training step will need, worked out without computing anything.

The network runs on torch's "meta" device, where tensors have a shape but no numbers, and autograd is asked what it
would keep for the backward pass.
"""

import copy

import torch

from paxray_lib.model import AnatomySegmenter

_COPIES = 4  # weights, their gradients, and AdamW's two averages, float32 all of them


def step_bytes(
    model: AnatomySegmenter, batch_size: int, size: int, dtype: torch.dtype = torch.float32, whole: bool = True
) -> int:
    """Return the bytes that a training step needs at its peak, without the workspace of the libraries below.

    Weights, gradients, optimizer, what the backward pass needs of each layer, and where it starts the logits with their
    gradient. The published network needs less on a CPU, where it computes some maps twice rather than keep them.

    Parameters
    ----------
    model : AnatomySegmenter
    batch_size : images that pass through the network at once
    size : pixels; side of the square images
    dtype : float32, or bfloat16 in mixed precision
    whole : whether the loss takes logits of the images' size, as on a GPU; on a CPU it enlarges one image's at a time
    """
    weights = sum(_bytes(tensor) for tensor in model.parameters()) * _COPIES
    kept, coarse = activation_bytes(model, batch_size, size, dtype)
    logits = batch_size * len(model.labels) * size * size * dtype.itemsize
    return weights + kept + 2 * (logits if whole else coarse)


def activation_bytes(
    model: AnatomySegmenter, batch_size: int, size: int, dtype: torch.dtype = torch.float32
) -> tuple[int, int]:
    """Return the bytes that autograd keeps of a forward pass, without parameters, and those of the coarse logits."""
    ghost = copy.deepcopy(model).to(device="meta", dtype=dtype).train()
    own = {_storage(tensor) for tensor in (*ghost.parameters(), *ghost.buffers())}
    kept: dict[int, torch.Tensor] = {}  # holds on to the tensors: a freed one's number could come again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(_storage(tensor), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.empty((batch_size, 3, size, size), device="meta", dtype=dtype)
        coarse = ghost.coarse(images)  # (N, L, h / s, w / s)
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own), _bytes(coarse)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
