"""Go through a data set with a model and count, per image and label, what scores are made from.

`count_dataset` counts pixels, which is what a validation during training needs. `measure_dataset`
also compares boundaries and sorts probabilities into bins.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from paxray_lib.compute.collectives import gather_items, is_first, rank_and_world
from paxray_lib.data.dataset import PaxrayDataset, check_targets
from paxray_lib.masks import PackedMasks, close_bits
from paxray_lib.metrics import Counts, Reliability, Surface, bin_pixels, counts
from paxray_lib.metrics.surface import surface
from paxray_lib.models import AnatomySegmenter, optimize_for_inference
from paxray_lib.models.decisions import sigmoid
from paxray_lib.models.inference import Passed, decide, pass_through
from paxray_lib.utils.console import map_ahead, progress

_T = TypeVar("_T")


def count_dataset(
    model: AnatomySegmenter,
    dataset: PaxrayDataset,
    *,
    threshold: float = 0.5,
    batch_size: int = 8,
    quiet: bool = False,
) -> Counts:
    """Count pixels of a model's decisions against a data set, each image at its own size, in order.

    Of a data set with a map (see `PaxrayDataset.mapped`) its structures are counted. The model is
    not changed: a copy in evaluation mode with folded BatchNorm decides, on the model's own device
    and in its own precision. Reading and preprocessing run in threads beside the network. Several
    processes (see `compute.collectives`) share the images, and each of them returns the whole.
    Raises ValueError if a target is missing, or the network's output for an image is not finite.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    dataset : PaxrayDataset with a target for each image
    threshold : a pixel has a label where its sigmoid is greater
    batch_size : images that pass through the network together
    quiet : show no progress
    """

    label_map = dataset.label_map

    def count(logits: np.ndarray, target: PackedMasks) -> Counts:
        bits = decide(model, logits, threshold, target.shape[1:])
        return count_decisions(label_map.map_prediction(bits) if label_map else bits, target)

    return Counts.concat(gather_items(list(use_logits(model, dataset, count, batch_size, quiet))))


def measure_dataset(
    model: AnatomySegmenter,
    dataset: PaxrayDataset,
    *,
    threshold: float = 0.5,
    batch_size: int = 8,
    mirror: bool = False,
    close_tree: bool = False,
) -> tuple[Counts, Surface, Reliability]:
    """Count pixels, compare boundaries (N, L) and sort probabilities (L, BINS) of decisions.

    Boundaries are compared in threads beside the network. With `mirror` each image is averaged with
    its mirror image, and with `close_tree` parts are added to their wholes, as `predict` does. Of a
    data set with a map L is the number of its structures, and compounds have no probabilities.
    Several processes return what one alone returns, but for pixels whose logit is within rounding
    of the threshold, since other images are in their batches. For other arguments and errors see
    `count_dataset`.
    """

    label_map = dataset.label_map

    def measure(
        logits: np.ndarray, target: PackedMasks
    ) -> tuple[Counts, PackedMasks, PackedMasks, Reliability]:
        # before the strays' logits are lowered
        bins = _bins(logits, target, label_map.singles if label_map else None)
        bits = decide(model, logits, threshold, target.shape[1:])
        bits = close_bits(bits, model.labels) if close_tree else bits
        bits = label_map.map_prediction(bits) if label_map else bits
        return count_decisions(bits, target), _resized(bits, target), target, bins

    decided = use_logits(model, dataset, measure, batch_size, not is_first(), mirror)
    threads = min(8, os.cpu_count() or 1)
    measured = map_ahead(
        lambda item: (item[0], surface(*item[1:3]), item[3]), decided, threads, ahead=2 * threads
    )
    pixels, surfaces, bins = zip(*gather_items(list(measured)), strict=True)
    return Counts.concat(pixels), Surface.concat(surfaces), Reliability.total(bins)


def use_logits(
    model: AnatomySegmenter,
    dataset: PaxrayDataset,
    use: Callable[[np.ndarray, PackedMasks], _T],
    batch_size: int = 8,
    quiet: bool = False,
    mirror: bool = False,
) -> Iterator[_T]:
    """Yield what `use` makes of each image's logits (L, h, w) and target, in order, in threads.

    Of several processes each one goes through its own share of the images.
    """
    check_targets(dataset)
    model = optimize_for_inference(model)
    rank, world = rank_and_world()
    indices = range(rank, len(dataset), world)

    def prepare(index: int) -> tuple[np.ndarray, str | None, PackedMasks, str]:
        sample = dataset[index]
        masks: Any = sample.masks  # of each image, as `check_targets` says
        inputs = model.preprocess(sample.image)
        return inputs, sample.view if mirror else None, masks, sample.name

    def passes() -> Iterator[tuple[Passed, PackedMasks, str]]:
        ahead = map_ahead(prepare, indices, ahead=2 * batch_size)
        shown = f"evaluating {dataset.split}"
        prepared = ahead if quiet else progress(ahead, shown, len(indices))
        while batch := list(itertools.islice(prepared, batch_size)):
            images, views, targets, names = zip(*batch, strict=True)
            passed = pass_through(model, np.stack(images), views)
            yield from zip(passed, targets, names, strict=True)

    def use_finite(item: tuple[Passed, PackedMasks, str]) -> _T:
        passed, target, name = item
        logits = passed.logits()
        if logits is None:
            raise ValueError(
                f"{name}: the network's output is not finite; are its weights from a finished "
                "training?"
            )
        return use(logits, target)

    # each thread has the logits of one image at a time: 166 x 512 x 512 of them take 174 MB
    yield from map_ahead(use_finite, passes(), 2, ahead=2, patience_s=None)


def count_decisions(bits: np.ndarray, target: PackedMasks) -> Counts:
    """Count the pixels of packed decisions (h, w, B) against a target of any size."""
    return counts(_resized(bits, target), target)


def _resized(bits: np.ndarray, target: PackedMasks) -> PackedMasks:
    return PackedMasks(bits, target.labels).resize(*target.shape[1:])


def _bins(logits: np.ndarray, target: PackedMasks, singles: np.ndarray | None) -> Reliability:
    """Sort the probabilities of a grid of pixels, at the network's size, into bins.

    `singles` are those of a `LabelMap`."""
    size, (height, width) = logits.shape[-2:], target.shape[1:]
    steps = [max(1, n // 64) for n in size]  # to a grid of about 64 x 64
    rows, columns = (np.arange(step // 2, n, step) for n, step in zip(size, steps, strict=True))
    probabilities = sigmoid(logits[:, rows[0] :: steps[0], columns[0] :: steps[1]])
    known = target.known
    if singles is not None:
        probabilities, known = probabilities[singles], known & (singles >= 0)
    true = target.gather(rows * height // size[0], columns * width // size[1]).unpack()
    return bin_pixels(probabilities, true, known)
