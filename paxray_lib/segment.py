"""From a batch of preprocessed images to packed decisions: the fast path of prediction.

The network's coarse logits are enlarged one image at a time and compared with the logit of the threshold; no
probability and no stack of bool is ever made.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from paxray_lib.labels import LabelSet
from paxray_lib.metrics import pack_decisions


def segment(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> list[np.ndarray | None]:
    """Return the packed decisions of a model as arrays, (h, w, B) uint8 for each of its inputs; see `decide`."""
    decided = decide(model, inputs, mirror_views, threshold, indices)
    return [None if bits is None else bits.cpu().numpy() for bits in decided]


def decide(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> list[torch.Tensor | None]:
    """Return a tensor (h, w, B) uint8 of packed bits on the model's device for each input; None if not finite.

    The model is in eval mode meanwhile, so that no image depends on the others.

    Parameters
    ----------
    model : AnatomySegmenter
    inputs : (N, 3, h, w) float32, preprocessed
    mirror_views : for each image the view by which to average with its mirror image, or None for no mirroring
    threshold : a bit is set where the sigmoid is greater
    indices : the labels to decide on; all by default
    """

    def pack(logits: torch.Tensor | None) -> torch.Tensor | None:
        return None if logits is None else pack_decisions(logits, threshold)[0]

    return list(map(pack, each_logits(model, inputs, mirror_views, indices)))  # no variable keeps an image's logits


def each_logits(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    mirror_views: Sequence[str | None],
    indices: Sequence[int] | None = None,
) -> Iterator[torch.Tensor | None]:
    """Yield the logits (1, L, h, w) float32 of each input in turn, None if not finite; arguments as for `decide`.

    One image at a time, since 166 x 512 x 512 logits take 174 MB: be done with them before asking for the next.
    """
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
            with torch.inference_mode():  # not across a yield, where it would hold for the caller too
                logits = _logits(model, coarse[i : i + 1], mirrored.get(i), view, inputs.shape[-2:], indices)
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
    """Return the logits (1, len(indices), h, w) of some labels from coarse ones (1, L, h / s, w / s)."""
    if indices != list(range(coarse.shape[1])):
        coarse = coarse[:, indices]
    if coarse.device.type == "cpu" and coarse.stride(1) != 1:
        # enlarging and packing take a fifth of the time; not `contiguous`, whose strides for one image are ambiguous
        coarse = coarse.clone(memory_format=torch.channels_last)
    return model.upsample(coarse, size)


def _mirror_plan(labels: LabelSet, indices: list[int], view: str) -> tuple[list[int], list[int]]:
    """Return for each label its partner in the mirrored image, and the positions of those without one.

    The right middle lobe has no counterpart on the left, so that the mirrored image says nothing about it.
    """
    if view != "frontal":
        return indices, []
    partners = [int(labels.mirror[i]) for i in indices]
    alone = [k for k, (i, j) in enumerate(zip(indices, partners, strict=True)) if i == j and labels.side[i]]
    return partners, alone
