"""Applying a model to images: logits, packed decisions, masks.

All but the network itself is done here, in NumPy and OpenCV, whatever runs the network.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from paxray_lib.images.image import Image
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, Probabilities, hierarchy
from paxray_lib.models.decisions import cut_of, pack_decisions, quantize
from paxray_lib.models.outlines import enlarge, pack_enlarged
from paxray_lib.models.strays import find_strays

# pixels, 4096 x 4096: masks of 166 labels take 352 MB there; of larger images none are held whole
MAX_SMOOTH = 1 << 24
AS_PUBLISHED = "as published: nearest, with strays"
NOT_FINITE = (
    "the network's output is not finite for this image; "
    "are the weights those of a finished training?"
)
#: What networks raise at a wrong size that take one size only, as many transformers of timm do.
WRONG_SIZE = (AssertionError, RuntimeError)


class Segmenter(Protocol):
    """A network with its labels and preprocessing, as it is applied; `AnatomySegmenter` is one."""

    @property
    def labels(self) -> LabelSet:
        """One label per channel of the logits, L in all."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the network's input."""

    @property
    def name(self) -> str:
        """For people."""

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32."""

    def coarse_logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return (N, L, h / s, w / s) float32, not yet enlarged, of inputs (N, 3, h, w) float32.

        Raises one of `WRONG_SIZE` if the network does not take that size.
        """

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that coarse logits cover: what exceeds the input is cut."""

    def weights_digest(self) -> str:
        """Return a fingerprint of the weights."""


def predict_image(
    model: Segmenter,
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
    inputs = model.preprocess(image)[None]  # (1, 3, h, w)
    (bits,) = segment(model, inputs, [view if mirror else None], [pixels.shape], threshold)
    if bits is None:
        raise ValueError(NOT_FINITE)
    masks = PackedMasks(bits, model.labels).resize(*pixels.shape)
    return hierarchy.close_tree(masks) if close_tree else masks


def predict_probabilities(
    model: Segmenter,
    image: Image | np.ndarray,
    labels: str | Iterable[str],
    mirror: bool = False,
) -> Probabilities:
    """Return how probable chosen labels are in one image, at the network's size.

    `labels` are names, groups and patterns; the other arguments and errors are those of
    `predict_image`. Stray pieces, which masks leave out, are in them.
    """
    view = image.view if isinstance(image, Image) and mirror else None
    inputs = model.preprocess(image)[None]  # (1, 3, h, w)
    (passed,) = pass_through(model, inputs, [view])
    return passed.probabilities(model.labels.select(labels))


def segment(
    model: Segmenter,
    inputs: np.ndarray,
    mirror_views: Sequence[str | None],
    sizes: Sequence[tuple[int, ...]],
    threshold: float = 0.5,
    indices: Sequence[int] | None = None,
) -> Iterator[np.ndarray | None]:
    """Yield the decisions on each input in turn, as `decide` returns them; None if not finite.

    Parameters
    ----------
    model : Segmenter
    inputs : (N, 3, h, w) float32, preprocessed
    mirror_views : per image, the view by which to average it with its mirror image, or None
    sizes : per image its own (height, width)
    threshold : a bit is set where the sigmoid is greater
    indices : the labels to decide on; all by default
    """
    passed = pass_through(model, inputs, mirror_views)
    return (one.decide(size, threshold, indices) for one, size in zip(passed, sizes, strict=True))


def decide(
    model: Segmenter,
    logits: np.ndarray,
    threshold: float,
    size: tuple[int, ...],
    indices: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the packed bits of one image, from its logits (L, h, w): (H, W, B) uint8.

    They have the image's own `size`, and smooth outlines: the logits are enlarged. For an image of
    more than `MAX_SMOOTH` pixels they have a half, a third, ... of it, for `PackedMasks.resize`.
    Stray pieces are left out, see `strays`, their logits lowered in place; what remains is as it
    were without them.

    With the preprocessing of published code, "published" or "cxas", they are what that code
    decides: at the network's size, strays and all.

    `indices` are the labels that the logits are of; by default all of the model's.
    """
    bits = pack_decisions(logits, threshold)
    if outline_kind(model) == AS_PUBLISHED:
        return bits
    names = model.labels.names if indices is None else [model.labels.names[i] for i in indices]
    cut = cut_of(threshold, logits.dtype)
    for i, rows, columns in find_strays(bits, names):
        bits[rows, columns, i // 8] &= 255 - (1 << i % 8)
        logits[i][rows, columns] = cut - 1
    parts = math.ceil(math.sqrt(math.prod(size) / MAX_SMOOTH))
    held = (-(-size[0] // parts), -(-size[1] // parts))
    return bits if held == logits.shape[1:] else pack_enlarged(logits, bits, float(cut), held)


def outline_kind(model: Segmenter) -> str:
    """Return which masks `decide` makes of a model's logits, to be recorded beside them."""
    is_published = model.preprocessing.kind in ("published", "cxas")
    return AS_PUBLISHED if is_published else "smooth, without strays"


@dataclass(frozen=True)
class Passed:
    """What the network makes of an image, before it is enlarged; what follows needs no network.

    Attributes
    ----------
    model : Segmenter
    coarse : (L, h / s, w / s) float32 logits
    mirrored : those of the mirror image, to be averaged by the `view`, or None
    size : (h, w) of the network's input
    """

    model: Segmenter
    coarse: np.ndarray
    mirrored: np.ndarray | None
    view: str | None
    size: tuple[int, int]

    def logits(self, indices: Sequence[int] | None = None) -> np.ndarray | None:
        """Return the logits (len(indices), h, w), all labels by default; None if not finite."""
        mirrored = self.mirrored
        parts = [self.coarse] if mirrored is None else [self.coarse, mirrored]
        if not all(np.isfinite(part).all() for part in parts):
            return None
        labels = self.model.labels
        wanted = list(range(len(labels)) if indices is None else indices)
        logits = self._enlarged(self.coarse, wanted)
        if mirrored is None:
            return logits
        frontal = self.view == "frontal"
        partners = labels.mirror[wanted].tolist() if frontal else wanted
        back = self._enlarged(mirrored, partners)[..., ::-1]
        for k, (i, partner) in enumerate(zip(wanted, partners, strict=True)):
            # the right middle lobe has no counterpart: the mirrored image says nothing of it
            if not (frontal and i == partner and labels.side[i]):
                logits[k] += back[k]
                logits[k] /= 2
        return logits

    def _enlarged(self, coarse: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        padded = self.model.padded(*self.size)
        logits = enlarge([coarse[i] for i in indices], padded)
        return logits if padded == self.size else logits[:, : self.size[0], : self.size[1]]

    def probabilities(self, indices: Sequence[int]) -> Probabilities:
        """Return those of some labels, stray pieces and all; ValueError if not finite."""
        logits = self.logits(indices)
        if logits is None:
            raise ValueError(NOT_FINITE)
        names = LabelSet(self.model.labels.names[i] for i in indices)
        return Probabilities(quantize(logits), names)

    def decide(
        self, size: tuple[int, ...], threshold: float, indices: Sequence[int] | None = None
    ) -> np.ndarray | None:
        """Return the decisions on an image of `size`, see `decide`; None if not finite."""
        logits = self.logits(indices)
        return None if logits is None else decide(self.model, logits, threshold, size, indices)


def pass_through(
    model: Segmenter, inputs: np.ndarray, mirror_views: Sequence[str | None]
) -> list[Passed]:
    """Pass inputs through the network, and those with a view mirrored, too; see `segment`."""
    coarse, size = model.coarse_logits(inputs), inputs.shape[-2:]
    chosen = [i for i, view in enumerate(mirror_views) if view is not None]
    flipped = model.coarse_logits(inputs[chosen, ..., ::-1]) if chosen else ()
    mirrored = dict(zip(chosen, flipped, strict=True))
    return [
        Passed(model, coarse[i], mirrored.get(i), view, size) for i, view in enumerate(mirror_views)
    ]
