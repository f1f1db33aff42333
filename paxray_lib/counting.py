"""Go through a data set with a model and count: pixels per image and label, all that scores are made from."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from paxray_lib.common import map_ahead, progress
from paxray_lib.dataset import PaxrayDataset, Sample
from paxray_lib.masks import PackedMasks
from paxray_lib.metrics import Counts, counts
from paxray_lib.model import AnatomySegmenter, optimize_for_inference
from paxray_lib.processes import gather_rows
from paxray_lib.segment import decide


def check_targets(dataset: PaxrayDataset) -> None:
    """Raise ValueError if a split has no image, or one without a target: nothing to learn from or to compare with."""
    missing = [entry.image for entry in dataset.entries if entry.target is None]
    if missing or not len(dataset):
        what = f"{len(missing)} images without a target, such as {missing[0]}" if missing else "no images"
        raise ValueError(f"{dataset.datafile.path}: split {dataset.split!r} has {what}; masks are needed for each")


def count_dataset(
    model: torch.nn.Module,
    dataset: PaxrayDataset,
    threshold: float = 0.5,
    batch_size: int = 8,
    quiet: bool = False,
    rank: int = 0,
    world: int = 1,
) -> Counts:
    """Count pixels of a model's decisions against a data set, each image at its own size, in the data set's order.

    The model is not changed: a copy in evaluation mode with folded BatchNorm decides, on the model's own device and in
    its own precision. Reading and preprocessing run in threads beside the network.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    dataset : PaxrayDataset with a target for each image
    threshold : a pixel has a label where its sigmoid is greater
    batch_size : images that pass through the network together
    quiet : show no progress
    rank, world : count the images rank, rank + world, ... only; `gather_counts` joins the shares of all processes

    Raises
    ------
    ValueError
        If a target is missing, or the network's output for an image is not finite.
    """
    check_targets(dataset)
    model = fast_copy(model)
    indices = range(rank, len(dataset), world)
    prepared = map_ahead(lambda i: _prepare(model, dataset[i]), indices, ahead=2 * batch_size)
    shown = prepared if quiet else progress(prepared, f"evaluating {dataset.split}", len(indices))
    parts = [_count_batch(model, batch, threshold) for batch in _batches(shown, batch_size)]
    nothing = np.zeros((0, len(dataset.labels)), np.int64)
    return Counts.concat([Counts(nothing, nothing, nothing), *parts])


def gather_counts(found: Counts) -> Counts:
    """Return the counts of all images, in every process, from each one's share; all processes must call it."""
    return Counts(*(gather_rows(getattr(found, name)) for name in ("tp", "fp", "fn")))


def fast_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a model for inference, of its device and precision; what has been optimized stays as it is."""
    if not isinstance(model, AnatomySegmenter) or model.optimized:
        return model
    like = next(model.parameters())
    return optimize_for_inference(model, like.device, like.dtype)


def _prepare(model: torch.nn.Module, sample: Sample) -> tuple[torch.Tensor, Sample]:
    return torch.as_tensor(model.preprocess(sample.image)), sample


def _batches(items: Iterable, size: int) -> Iterator[list]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _count_batch(model: torch.nn.Module, batch: list[tuple[torch.Tensor, Sample]], threshold: float) -> Counts:
    images = torch.stack([image for image, _ in batch])  # (N, 3, h, w)
    decided = decide(model, images, [None] * len(batch), threshold)
    return Counts.concat(_count_image(bits, sample) for bits, (_, sample) in zip(decided, batch, strict=True))


def _count_image(bits: torch.Tensor | None, sample: Sample) -> Counts:
    target = sample.masks
    if bits is None:
        raise ValueError(
            f"{sample.name}: the network's output is not finite; are these weights of a finished training?"
        )
    if bits.shape[:2] == target.data.shape[:2]:  # counted where they are: from a GPU just the numbers travel
        return counts(bits[None], torch.from_numpy(target.data).to(bits.device)[None], labels=len(target.labels))
    return counts(PackedMasks(bits.cpu().numpy(), target.labels).resize(*target.shape[1:]), target)
