"""Applying a model to images: logits, packed decisions, masks."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from paxray_lib.images.read import Image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, Probabilities, hierarchy
from paxray_lib.models.decisions import cut_of, pack_decisions, quantize
from paxray_lib.models.outlines import pack_enlarged
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.models.strays import find_strays

# pixels, 4096 x 4096: masks of 166 labels take 352 MB there; of larger images none are held whole
MAX_SMOOTH = 1 << 24
AS_PUBLISHED = "as published: nearest, with strays"
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
    """Return the masks of one image at its own height and width, see `decide`.

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
    (bits,) = segment(model, inputs, [view if mirror else None], [pixels.shape], threshold)
    if bits is None:
        raise ValueError(NOT_FINITE)
    masks = PackedMasks(bits, model.labels).resize(*pixels.shape)
    return hierarchy.close_tree(masks) if close_tree else masks


def predict_probabilities(
    model: AnatomySegmenter,
    image: Image | np.ndarray,
    labels: str | Iterable[str],
    mirror: bool = False,
) -> Probabilities:
    """Return how probable chosen labels are in one image, at the network's size.

    `labels` are names, groups and patterns; the other arguments and errors are those of
    `predict_image`. Stray pieces, which masks leave out, are in them.
    """
    view = image.view if isinstance(image, Image) and mirror else None
    inputs = torch.as_tensor(model.preprocess(image))[None]  # (1, 3, h, w)
    (passed,) = pass_through(model, inputs, [view])
    return passed.probabilities(model.labels.select(labels))


def segment(
    model: AnatomySegmenter,
    inputs: Tensor,
    mirror_views: Sequence[str | None],
    sizes: Sequence[tuple[int, ...]],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> Iterator[np.ndarray | None]:
    """Yield the decisions on each input in turn, as `decide` returns them; None if not finite.

    Parameters
    ----------
    model : AnatomySegmenter
    inputs : (N, 3, h, w) float32, preprocessed
    mirror_views : per image, the view by which to average it with its mirror image, or None
    sizes : per image its own (height, width)
    threshold : a bit is set where the sigmoid is greater
    indices : the labels to decide on; all by default
    """
    passed = pass_through(model, inputs, mirror_views)
    return (one.decide(size, threshold, indices) for one, size in zip(passed, sizes, strict=True))


@torch.inference_mode()
def decide(
    model: AnatomySegmenter,
    logits: Tensor,
    threshold: float,
    size: tuple[int, ...],
    indices: Sequence[int] | None = None,
) -> Tensor:
    """Return the packed bits of one image, from its logits (1, L, h, w): (H, W, B) uint8.

    They have the image's own `size`, and smooth outlines: the logits are enlarged. For an image of
    more than `MAX_SMOOTH` pixels they have a half, a third, ... of it, for `PackedMasks.resize`.
    Stray pieces are left out, see `strays`, their logits lowered in place; what remains is as it
    were without them.

    With the preprocessing of published code, "published" or "cxas", they are what that code
    decides: at the network's size, strays and all.

    `indices` are the labels that the logits are of; by default all of the model's.
    """
    bits = pack_decisions(logits, threshold)[0]
    if outline_kind(model) == AS_PUBLISHED:
        return bits
    names = model.labels.names if indices is None else [model.labels.names[i] for i in indices]
    clean, cut, planes = bits.cpu().numpy(), cut_of(threshold, logits.dtype), list(logits[0])
    for i, rows, columns in find_strays(clean, names):
        clean[rows, columns, i // 8] &= 255 - (1 << i % 8)
        planes[i][rows, columns] = cut - 1
    parts = math.ceil(math.sqrt(math.prod(size) / MAX_SMOOTH))
    held = (-(-size[0] // parts), -(-size[1] // parts))
    if held == logits.shape[2:]:
        return torch.from_numpy(clean).to(logits.device)
    return pack_enlarged(planes, clean, cut, held)


def outline_kind(model: AnatomySegmenter) -> str:
    """Return which masks `decide` makes of a model's logits, to be recorded beside them."""
    is_published = model.preprocessing.kind in ("published", "cxas")
    return AS_PUBLISHED if is_published else "smooth, without strays"


def each_logits(
    model: AnatomySegmenter, inputs: Tensor, mirror_views: Sequence[str | None]
) -> Iterator[Tensor | None]:
    """Yield the logits (1, L, h, w) float32 of each input in turn, None if not finite.

    Release the logits of one image before asking for the next: 166 x 512 x 512 of them take 174 MB.
    For the arguments see `segment`.
    """
    for one in pass_through(model, inputs, mirror_views):
        yield one.logits()  # no variable keeps them


@dataclass(frozen=True)
class Passed:
    """What the network makes of an image, before it is enlarged; what follows needs no network.

    Attributes
    ----------
    model : AnatomySegmenter
    coarse : (1, L, h / s, w / s) float32 logits
    mirrored : those of the mirror image, to be averaged by the `view`, or None
    size : (h, w) of the network's input
    """

    model: AnatomySegmenter
    coarse: Tensor
    mirrored: Tensor | None
    view: str | None
    size: tuple[int, ...]

    def logits(self, indices: Sequence[int] | None = None) -> Tensor | None:
        """Return the logits (1, len(indices), h, w), all labels by default; None if not finite."""
        every = range(len(self.model.labels))
        wanted = list(every if indices is None else indices)
        return _logits(self.model, self.coarse, self.mirrored, self.view, self.size, wanted)

    def probabilities(self, indices: Sequence[int]) -> Probabilities:
        """Return those of some labels, stray pieces and all; ValueError if not finite."""
        logits = self.logits(indices)
        if logits is None:
            raise ValueError(NOT_FINITE)
        names = LabelSet(self.model.labels.names[i] for i in indices)
        return Probabilities(quantize(logits)[0].cpu().numpy(), names)

    def decide(
        self, size: tuple[int, ...], threshold: float, indices: Sequence[int] | None = None
    ) -> np.ndarray | None:
        """Return the decisions on an image of `size`, see `decide`; None if not finite."""
        logits = self.logits(indices)
        if logits is None:
            return None
        return decide(self.model, logits, threshold, size, indices).cpu().numpy()


def pass_through(
    model: AnatomySegmenter, inputs: Tensor, mirror_views: Sequence[str | None]
) -> list[Passed]:
    """Pass inputs through the network, and those with a view mirrored, too; see `segment`."""
    coarse, size = coarse_logits(model, inputs).split(1), tuple(inputs.shape[-2:])
    chosen = [i for i, view in enumerate(mirror_views) if view is not None]
    flipped = coarse_logits(model, inputs[chosen].flip(-1)).split(1) if chosen else ()
    mirrored = dict(zip(chosen, flipped, strict=True))
    return [
        Passed(model, coarse[i], mirrored.get(i), view, size) for i, view in enumerate(mirror_views)
    ]


@torch.inference_mode()
def coarse_logits(model: AnatomySegmenter, inputs: Tensor) -> Tensor:
    """Return (N, L, h / s, w / s) float32, before they are enlarged, of inputs (N, 3, h, w).

    The model is in eval mode meanwhile, so that no image depends on the others.
    """
    was_training = model.training
    if was_training:  # to set it takes a while, in all parts of it
        model.eval()
    try:
        weight = next(model.parameters())
        inputs = inputs.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        return model.coarse(inputs).float()
    finally:
        if was_training:
            model.train()


@torch.inference_mode()  # not around a `yield`, where it would hold for the caller too
def _logits(
    model: AnatomySegmenter,
    coarse: Tensor,
    mirrored: Tensor | None,
    view: str | None,
    size: tuple[int, ...],
    indices: list[int],
) -> Tensor | None:
    """Return the logits (1, len(indices), h, w) of one image, averaged with its mirror image's."""
    if not (coarse.isfinite().all() and (mirrored is None or mirrored.isfinite().all())):
        return None
    logits = _enlarge(model, coarse, indices, size)
    if logits.data_ptr() == coarse.data_ptr():  # nothing to enlarge; they are changed in place
        logits = logits.clone()
    if mirrored is not None:
        frontal = view == "frontal"
        partners = model.labels.mirror[indices].tolist() if frontal else indices
        back = _enlarge(model, mirrored, partners, size).flip(-1)
        for k, (i, partner) in enumerate(zip(indices, partners, strict=True)):
            # the right middle lobe has no counterpart: the mirrored image says nothing of it
            if frontal and i == partner and model.labels.side[i]:
                back[:, k] = logits[:, k]
        logits = logits.add_(back).div_(2)
    return logits


def _enlarge(
    model: AnatomySegmenter, coarse: Tensor, indices: list[int], size: tuple[int, ...]
) -> Tensor:
    """Return the logits (1, len(indices), h, w) of some labels from coarse (1, L, h / s, w / s)."""
    if indices != list(range(coarse.shape[1])):
        coarse = coarse[:, indices]
    if coarse.device.type == "cpu" and coarse.stride(1) != 1:
        # enlarging and packing take a fifth of the time; not `contiguous`, whose strides for one
        # image are ambiguous
        coarse = coarse.clone(memory_format=torch.channels_last)
    return model.upsample(coarse, size)
