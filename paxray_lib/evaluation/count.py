"""Go through a data set with a model and count, per image and label, all that scores are made from.

`count_dataset` counts pixels, which is what a validation during training needs. `measure_dataset`
also compares boundaries and sorts probabilities into bins."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from paxray_lib.compute.collectives import gather_items, gather_rows, rank_and_world
from paxray_lib.data.dataset import PaxrayDataset, Sample, check_targets
from paxray_lib.masks.hierarchy import close_bits
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.calibration import GRID, Reliability, bin_pixels
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.surface import Surface, surface
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import each_logits
from paxray_lib.utils.progress import map_ahead, progress

_T = TypeVar("_T")


def count_dataset(
    model: torch.nn.Module,
    dataset: PaxrayDataset,
    threshold: float = 0.5,
    batch_size: int = 8,
    quiet: bool = False,
    rank: int = 0,
    world: int = 1,
) -> Counts:
    """Count pixels of a model's decisions against a data set, each image at its own size, in the
    data set's order.

    The model is not changed: a copy in evaluation mode with folded BatchNorm decides, on the
    model's own device and in its own precision. Reading and preprocessing run in threads beside the
    network.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    dataset : PaxrayDataset with a target for each image
    threshold : a pixel has a label where its sigmoid is greater
    batch_size : images that pass through the network together
    quiet : show no progress
    rank, world : count the images rank, rank + world, ... only; `gather_counts` joins the shares of
    all processes

    Raises
    ------
    ValueError
        If a target is missing, or the network's output for an image is not finite.
    """
    check_targets(dataset)
    model = optimize_for_inference(model)

    def count(logits: torch.Tensor, sample: Sample) -> Counts:
        return _count(pack_decisions(logits, threshold)[0], sample.masks)

    parts = list(
        _for_each(model, dataset, count, batch_size, quiet, range(rank, len(dataset), world))
    )
    nothing = np.zeros((0, len(dataset.labels)), np.int64)
    return Counts.concat([Counts(nothing, nothing, nothing), *parts])


@dataclass(frozen=True)
class Measured:
    """All that the tables and figures of an evaluation are made from.

    Attributes
    ----------
    counts : Counts of (N, L)
    surface : Surface of (N, L), or None
    reliability : Reliability of (L, BINS), the sums over all images, or None
    """

    counts: Counts
    surface: Surface | None = None
    reliability: Reliability | None = None


def measure_dataset(
    model: torch.nn.Module,
    dataset: PaxrayDataset,
    threshold: float = 0.5,
    batch_size: int = 8,
    mirror: bool = False,
    close_tree: bool = False,
) -> Measured:
    """Count pixels, compare boundaries and sort probabilities of a model's decisions against a data
    set.

    Several processes (see `processes`) share the images, and all of them return the whole: what one
    alone returns, but for pixels whose logit is within rounding of the threshold, since other
    images are in their batches. Boundaries are compared in threads beside the network. With
    `mirror` each image is averaged with its mirror image, and with `close_tree` parts are added to
    their wholes, as `predict` does. For other arguments and errors see `count_dataset`."""
    check_targets(dataset)
    model, (rank, world) = optimize_for_inference(model), rank_and_world()

    def look(logits: torch.Tensor, sample: Sample) -> tuple:
        bits = pack_decisions(logits, threshold)[0]
        bits = close_bits(bits, sample.masks.labels) if close_tree else bits
        decided = PackedMasks(bits.cpu().numpy(), sample.masks.labels).resize(
            *sample.masks.shape[1:]
        )
        return _count(bits, sample.masks), decided, sample.masks, _bins(logits[0], sample.masks)

    share = range(rank, len(dataset), world)
    looked = _for_each(model, dataset, look, batch_size, rank > 0, share, mirror)
    threads = min(8, os.cpu_count() or 1)
    compared = map_ahead(
        lambda item: (item[0], surface(*item[1:3]), item[3]), looked, threads, ahead=2 * threads
    )
    found, surfaces, bins = zip(*gather_items(list(compared)), strict=True)
    return Measured(Counts.concat(found), Surface.concat(surfaces), Reliability.total(bins))


def gather_counts(found: Counts) -> Counts:
    """Return the counts of all images, in every process, from each one's share; all processes must
    call it.
    """
    return Counts(*(gather_rows(getattr(found, name)) for name in ("tp", "fp", "fn")))


def _for_each(
    model: torch.nn.Module,
    dataset: PaxrayDataset,
    use: Callable[[torch.Tensor, Sample], _T],
    batch_size: int,
    quiet: bool,
    indices: range,
    mirror: bool = False,
) -> Iterator[_T]:
    """Yield what `use` makes of the logits (1, L, h, w) of some images and their samples, in
    order.
    """

    def prepare(index: int) -> tuple[torch.Tensor, Sample]:
        sample = dataset[index]
        return torch.as_tensor(model.preprocess(sample.image)), sample

    def use_finite(logits: torch.Tensor | None, sample: Sample) -> _T:
        if logits is None:
            raise ValueError(
                f"{sample.name}: the network's output is not finite; are its weights from a finished training?"
            )
        return use(logits, sample)

    prepared = map_ahead(prepare, indices, ahead=2 * batch_size)
    shown = prepared if quiet else progress(prepared, f"evaluating {dataset.split}", len(indices))
    for batch in _batches(shown, batch_size):
        images, samples = zip(*batch, strict=True)
        # not a loop: no variable may keep the logits of one image while those of the next are
        # computed
        views = [sample.view if mirror else None for sample in samples]
        yield from map(use_finite, each_logits(model, torch.stack(images), views), samples)


def _batches(items: Iterable, size: int) -> Iterator[list]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _count(bits: torch.Tensor, target: PackedMasks) -> Counts:
    # counted where they are: from a GPU just the numbers travel
    if bits.shape[:2] == target.data.shape[:2]:
        return counts(
            bits[None],
            torch.from_numpy(target.data).to(bits.device)[None],
            labels=len(target.labels),
        )
    return counts(PackedMasks(bits.cpu().numpy(), target.labels).resize(*target.shape[1:]), target)


def _bins(logits: torch.Tensor, target: PackedMasks) -> Reliability:
    """Sort the probabilities of a grid of pixels, at the network's size, into bins."""
    size, (height, width) = logits.shape[-2:], target.shape[1:]
    rows, columns = (np.arange(max(1, n // GRID) // 2, n, max(1, n // GRID)) for n in size)
    probabilities = logits[
        :, rows[0] :: max(1, size[0] // GRID), columns[0] :: max(1, size[1] // GRID)
    ].sigmoid()
    true = target.gather(rows * height // size[0], columns * width // size[1]).unpack()
    return bin_pixels(probabilities.cpu().numpy(), true)
