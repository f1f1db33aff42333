"""Evaluate a model on a split: pixel counts per image and label first, every score from them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paxray_lib.compute.collectives import is_first, local_device
from paxray_lib.compute.devices import PRECISIONS
from paxray_lib.data.dataset import PaxrayDataset, check_targets
from paxray_lib.data.mapping import LabelMap, match_names, read_map
from paxray_lib.data.selection import thresholded_mean
from paxray_lib.evaluation.count import measure_dataset
from paxray_lib.evaluation.result import Evaluation, image_table
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics import Counts, Surface, counts
from paxray_lib.metrics.surface import surface
from paxray_lib.models import AnatomySegmenter, load_model, optimize_for_inference
from paxray_lib.utils import log
from paxray_lib.utils.errors import check_choice

#: Mean IoU on PAXRay's test split (Seibold et al., BMVC 2022, arXiv 2210.03416), not measured here.
PUBLISHED_PERCENT = {"all training images": 60.6, "half of them": 57.07, "a quarter of them": 52.77}


def evaluate(
    model: AnatomySegmenter | str | os.PathLike,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    *,
    split: str = "test",
    map: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    device: str = "cpu",
    threshold: float = 0.5,
    mirror: bool = False,
    close_tree: bool = False,
    precision: str = "float32",
) -> Evaluation:
    """Evaluate a model, or the file of one, on a split, each image at its own size.

    Several processes (see `compute.collectives`) share the images; each returns the whole
    evaluation, and the first one writes.

    Parameters
    ----------
    model : module from `build_model` or `load_model`, or a path
    data_root, datafile, split : as for `PaxrayDataset`
    map : what labels of the data are in the model's, see `mapping`; by default equal names are
        compared, and the rest is left out, which is said
    out : folder to write counts.npz, per_label.csv and summary.json to, optional
    device : torch device for a model that is loaded from a file
    threshold : a pixel has a label where its sigmoid is greater
    mirror : average each image with its mirror image (what that gains: `ablation.gains_table`)
    close_tree : add parts to their wholes, see `masks.hierarchy.close_tree`
    precision : "float32", or "bfloat16": faster on hardware that has it, and decides otherwise at
        some outlines

    Raises
    ------
    FileNotFoundError, ValueError
        If the precision is unknown, a file is missing or damaged, the map is wrong, or no label of
        the data is one of the model.
    """
    check_choice(precision, PRECISIONS, "precision")
    if out is not None and is_first():  # before what may take hours
        Path(out).mkdir(parents=True, exist_ok=True)
    name = str(model) if isinstance(model, (str, os.PathLike)) else model.name
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model, local_device(device))
    dataset = PaxrayDataset(data_root, datafile, split)
    if label_map := _label_map(map, model.labels, dataset):
        dataset = dataset.mapped(label_map)
    if precision != "float32":
        model = optimize_for_inference(model, precision)
    pixels, outlines, bins = measure_dataset(
        model,
        dataset,
        threshold=threshold,
        mirror=mirror,
        close_tree=close_tree,
    )
    info = {
        "model": name,
        "datafile": str(dataset.datafile.path),
        "split": split,
        "threshold": threshold,
        "mirror": mirror,
        "close_tree": close_tree,
        "synthetic": bool(dataset.datafile.extra.get("synthetic")),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }
    info |= label_map.info if label_map else {}
    reliability = bins if bins.pixels.any() else None  # compounds have no probability
    result = Evaluation(pixels, dataset.labels, image_table(dataset), info, outlines, reliability)
    if out is not None and is_first():
        result.write(out)
    return result


def _label_map(
    map: str | os.PathLike | None, labels: LabelSet, dataset: PaxrayDataset
) -> LabelMap | None:
    """Return what model and data have in common, and say what is left out; None if that is all."""
    if map is not None:
        label_map = read_map(map, labels, dataset.labels)
    elif labels != dataset.labels:
        label_map = match_names(labels, dataset.labels)
    else:
        return None
    for owner, key, whole in (
        ("data", "left_out", dataset.labels),
        ("model", "left_out_of_model", labels),
    ):
        if is_first() and (names := label_map.info.get(key)):
            listed = ", ".join(names[:8]) + (", ..." if names[8:] else "")
            log(f"{owner}: {len(names)} of {len(whole)} labels left out: {listed}")
    return label_map


def evaluate_constant(
    train: PaxrayDataset,
    test: PaxrayDataset,
    size: int = 128,
    views: Sequence[str] = ("frontal", "lateral"),
) -> Evaluation:
    """Evaluate the best constant guess: the pixels that a label covers in most training images.

    Each view has a guess of its own. Raises ValueError if no training image has masks, or a test
    image has none.
    """
    if not any(entry.target for entry in train.entries):
        raise ValueError(
            f"{train.datafile.path}: no image with masks in split {train.split!r} to make the mean "
            "mask from; leave it out, or name another split"
        )
    check_targets(test)
    guesses = {view: thresholded_mean(train, view, size) for view in views}
    pixels, outlines = [], []
    for i, entry in enumerate(test.entries):
        target: PackedMasks = test.masks(i)  # type: ignore[assignment]  # check_targets
        guess = guesses[test.datafile.view(entry) or views[0]].resize(*target.shape[1:])
        pixels.append(counts(guess, target))
        outlines.append(surface(guess, target))
    return Evaluation(
        Counts.concat(pixels),
        test.labels,
        image_table(test),
        {"model": "mean mask", "split": test.split},
        Surface.concat(outlines),
    )


def check_labels(labels: LabelSet, dataset: PaxrayDataset) -> None:
    """Raise ValueError if a model's labels are not those of the data, in order."""
    if labels.names != dataset.labels.names:
        pairs = enumerate(zip(labels, dataset.labels, strict=False))
        differing = [f"; label {i} is {a!r} there and {b!r} here" for i, (a, b) in pairs if a != b]
        raise ValueError(
            f"the model has {len(labels)} labels, but {dataset.datafile.path} has "
            f"{len(dataset.labels)}{''.join(differing[:1])}; "
            "use the data file that the model was trained with"
        )


def published_verdict(
    summary: Mapping[str, Any], published_percent: float, tolerance: float = 0.3
) -> str:
    """Say in one line whether a mean IoU under the published convention is the published one.

    Where their file says that the data are synthetic they cannot tell. `summary` is that of an
    `Evaluation`, `published_percent` one of `PUBLISHED_PERCENT`, the tolerance percentage points.
    """
    measured = 100 * summary["overall"]["iou_published"]
    subject = f"mean IoU {measured:.2f} % (convention 'published')"
    if summary.get("synthetic"):
        return (
            f"{subject} on SYNTHETIC data, as their data file says: no comparison with the "
            f"published {published_percent} %, which is of PAXRay's test split; check data_root"
        )
    difference = measured - published_percent
    agrees = "agrees with" if abs(difference) <= tolerance else "DIFFERS FROM"
    return (
        f"{subject} {agrees} the published {published_percent} %: "
        f"difference {difference:+.2f}, tolerance {tolerance}"
    )


def published_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Return mean IoU in percent, convention "published": the measured one, then the paper's.

    Columns: source ("measured here" or "published"), mean IoU (%), low, high (95 % interval; the
    paper has none).
    """
    scores = summary["overall"]
    ours = [scores["iou_published"], *scores["iou_published_interval"]]
    rows = {"this model, this data": ("measured here", *(100 * np.array(ours, float)))}
    for name, value in PUBLISHED_PERCENT.items():
        rows[f"PAXRay, {name}"] = ("published", value, np.nan, np.nan)
    return pd.DataFrame.from_dict(rows, "index", columns=["source", "mean IoU (%)", "low", "high"])
