"""Applying a model to images: logits, packed decisions, masks."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from paxray_lib.images.read import Image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import hierarchy
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.segmenter import AnatomySegmenter

NOT_FINITE = (
    "the network's output is not finite for this image; "
    "are the weights those of a finished training?"
)


def predict_image(
    model: AnatomySegmenter,
    image: Image | np.ndarray,
    threshold: float = 0.5,
    mirror: bool = False,
    close_tree: bool = False,
) -> PackedMasks:
    """Return the masks of one image at its own height and width.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    image : Image, or (H, W) float array in 0..1
    threshold : a pixel has a label where its sigmoid is greater
    mirror : average the logits with those of the mirrored image, sides swapped back; needs an
        Image of known view
    close_tree : add parts to their wholes, see `masks.hierarchy.close_tree`

    Raises
    ------
    ValueError
        If the network's output is not finite, or the threshold is out of range.
    """
    pixels, view = (image.pixels, image.view) if isinstance(image, Image) else (image, None)
    inputs = torch.as_tensor(model.preprocess(image))[None]  # (1, 3, h, w)
    (bits,) = segment(model, inputs, [view if mirror else None], threshold)
    if bits is None:
        raise ValueError(NOT_FINITE)
    height, width = pixels.shape
    masks = PackedMasks(bits, model.labels).resize(height, width)
    return hierarchy.close_tree(masks) if close_tree else masks


def segment(
    model: AnatomySegmenter,
    inputs: Tensor,
    mirror_views: Sequence[str | None],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> list[np.ndarray | None]:
    """Return packed bits (h, w, B) uint8 at the network's size per input, None if not finite.

    Parameters
    ----------
    model : AnatomySegmenter
    inputs : (N, 3, h, w) float32, preprocessed
    mirror_views : per image, the view by which to average it with its mirror image, or None
    threshold : a bit is set where the sigmoid is greater
    indices : the labels to decide on; all by default
    """

    def pack(logits: Tensor | None) -> np.ndarray | None:
        return None if logits is None else pack_decisions(logits, threshold)[0].cpu().numpy()

    # no variable keeps an image's logits
    return list(map(pack, each_logits(model, inputs, mirror_views, indices)))


def each_logits(
    model: AnatomySegmenter,
    inputs: Tensor,
    mirror_views: Sequence[str | None],
    indices: Sequence[int] | None = None,
) -> Iterator[Tensor | None]:
    """Yield the logits (1, L, h, w) float32 of each input in turn, None if not finite.

    The model is in eval mode meanwhile, so that no image depends on the others. Release the logits
    of one image before asking for the next: 166 x 512 x 512 of them take 174 MB. For the arguments
    see `segment`.
    """
    indices = list(range(len(model.labels)) if indices is None else indices)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            weight = next(model.parameters())
            inputs = inputs.to(weight.device, weight.dtype, memory_format=torch.channels_last)
            coarse = model.coarse(inputs).float()  # (N, L, h / s, w / s)
            chosen = [i for i, view in enumerate(mirror_views) if view is not None]
            flipped = model.coarse(inputs[chosen].flip(-1)).float().split(1) if chosen else ()
        mirrored = dict(zip(chosen, flipped, strict=True))
        height, width = inputs.shape[-2:]
        for i, view in enumerate(mirror_views):
            # not across a yield, where it would hold for the caller too
            with torch.inference_mode():
                logits = _logits(
                    model, coarse[i : i + 1], mirrored.get(i), view, (height, width), indices
                )
            yield logits
            del logits
    finally:
        model.train(was_training)


def _logits(
    model: AnatomySegmenter,
    coarse: Tensor,
    mirrored: Tensor | None,
    view: str | None,
    size: tuple[int, int],
    indices: list[int],
) -> Tensor | None:
    """Return the logits (1, len(indices), h, w) of one image, averaged with its mirror image's."""
    if not (coarse.isfinite().all() and (mirrored is None or mirrored.isfinite().all())):
        return None
    logits = _enlarge(model, coarse, indices, size)
    if mirrored is not None:
        partners, alone = _mirror_plan(model.labels, indices, view)
        back = _enlarge(model, mirrored, partners, size).flip(-1)
        back[:, alone] = logits[:, alone]
        logits = logits.add_(back).div_(2)
    return logits


def _enlarge(
    model: AnatomySegmenter, coarse: Tensor, indices: list[int], size: tuple[int, int]
) -> Tensor:
    """Return the logits (1, len(indices), h, w) of some labels from coarse (1, L, h / s, w / s)."""
    if indices != list(range(coarse.shape[1])):
        coarse = coarse[:, indices]
    if coarse.device.type == "cpu" and coarse.stride(1) != 1:
        # enlarging and packing take a fifth of the time; not `contiguous`, whose strides for one
        # image are ambiguous
        coarse = coarse.clone(memory_format=torch.channels_last)
    return model.upsample(coarse, size)


def _mirror_plan(
    labels: LabelSet, indices: list[int], view: str | None
) -> tuple[list[int], list[int]]:
    """Return each label's partner in the mirrored image, and the positions of those without one.

    The right middle lobe has no counterpart on the left, so the mirrored image says nothing of it.
    """
    if view != "frontal":
        return indices, []
    partners = [int(labels.mirror[i]) for i in indices]
    pairs = enumerate(zip(indices, partners, strict=True))
    return partners, [k for k, (i, j) in pairs if i == j and labels.side[i]]
