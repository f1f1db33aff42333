"""Evaluate a model on a split: pixel counts per image and label first, then every score from the counts.

Files of an evaluation (`Evaluation.write`):

    counts.npz       tp, fp, fn (N, L) int64; images, cases, views (N,), names (L,) text
    per_label.csv    one row a label index: see `per_label_table`
    summary.json     scores overall, per view and per group, each under both conventions: see `summarize`
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paxray_lib.common import atomic_write
from paxray_lib.counting import check_targets, count_dataset, gather_counts
from paxray_lib.dataset import PaxrayDataset
from paxray_lib.explore import thresholded_mean
from paxray_lib.labels import LabelSet
from paxray_lib.metrics import CONVENTIONS, Counts, counts, dice, iou, mean_score, per_label
from paxray_lib.model import load_model
from paxray_lib.processes import is_first, local_device, rank_and_world

SCORES = {"iou": iou, "dice": dice}


@dataclass(frozen=True)
class Evaluation:
    """Counts of a model on some images, with what every table is made from.

    Attributes
    ----------
    counts : Counts of (N, L)
    labels : LabelSet
    images : DataFrame of N rows: image, case, view
    info : dict of what was evaluated: split, data file, model, threshold
    """

    counts: Counts
    labels: LabelSet
    images: pd.DataFrame
    info: dict = field(default_factory=dict)

    @property
    def per_label(self) -> pd.DataFrame:
        """One row a label index, see `per_label_table`."""
        return per_label_table(self.counts, self.labels)

    @property
    def summary(self) -> dict:
        """Scores overall, per view and per group, see `summarize`."""
        return {**self.info, **summarize(self.counts, self.labels, self.images["view"])}

    def scores_by_image(self) -> pd.DataFrame:
        """Return image, case, view, and the mean IoU and Dice over the labels that occur in each image."""
        table = self.images.copy()
        for name, score in SCORES.items():
            values = score(self.counts)
            table[f"{name}_present"] = [mean_score(values[i : i + 1], "present") for i in range(len(values))]
        return table

    def write(self, folder: str | os.PathLike) -> None:
        """Write counts.npz, per_label.csv and summary.json, each atomically."""
        folder = Path(folder)
        with atomic_write(folder / "counts.npz") as path:
            columns = {f"{name}s": self.images[name].astype(str).to_numpy(dtype=str) for name in self.images}
            names = np.array(self.labels.names)
            np.savez_compressed(path, tp=self.counts.tp, fp=self.counts.fp, fn=self.counts.fn, names=names, **columns)
        with atomic_write(folder / "per_label.csv") as path:
            self.per_label.to_csv(path, index=False, float_format="%.6f")
        with atomic_write(folder / "summary.json") as path:
            path.write_text(json.dumps(self.summary, indent=1, allow_nan=True), encoding="utf-8")

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Evaluation":
        """Read what `write` wrote; the tables are computed again from the counts."""
        folder = Path(folder)
        with np.load(folder / "counts.npz", allow_pickle=False) as file:
            images = pd.DataFrame({name: file[f"{name}s"] for name in ("image", "case", "view")})
            found = Counts(file["tp"], file["fp"], file["fn"])
            labels = LabelSet(file["names"].tolist())
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        info = {key: value for key, value in summary.items() if key not in ("overall", "views", "groups")}
        return cls(found, labels, images, info)


def evaluate(
    model: torch.nn.Module | str | os.PathLike,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    split: str = "test",
    out: str | os.PathLike | None = None,
    device: str = "cpu",
    threshold: float = 0.5,
) -> Evaluation:
    """Evaluate a model, or the file of one, on a split, each image at its own size.

    Several processes (see `processes`) share the images; each returns the whole evaluation, and the first one writes.

    Parameters
    ----------
    model : module from `build_model` or `load_model`, or a path
    data_root, datafile, split : as for `PaxrayDataset`
    out : folder to write counts.npz, per_label.csv and summary.json to, optional
    device : torch device for a model that is loaded from a file
    threshold : a pixel has a label where its sigmoid is greater

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or damaged, or the labels of model and data differ.
    """
    name = str(model) if isinstance(model, (str, os.PathLike)) else model.name
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model, local_device(device))
    dataset = PaxrayDataset(data_root, datafile, split)
    check_labels(model.labels, dataset)
    rank, world = rank_and_world()
    found = gather_counts(count_dataset(model, dataset, threshold, quiet=rank > 0, rank=rank, world=world))
    info = {"model": name, "datafile": str(dataset.datafile.path), "split": split, "threshold": threshold}
    result = Evaluation(found, dataset.labels, image_table(dataset), info)
    if out is not None and is_first():
        result.write(out)
    return result


def evaluate_constant(
    train: PaxrayDataset, test: PaxrayDataset, size: int = 128, views: Sequence[str] = ("frontal", "lateral")
) -> Evaluation:
    """Evaluate the best constant guess: for each view the pixels that a label covers in most training images."""
    check_targets(test)
    guesses = {view: thresholded_mean(train, view, size) for view in views}
    parts = []
    for i, entry in enumerate(test.entries):
        target = test.masks(i)
        parts.append(counts(guesses[entry.view or views[0]].resize(*target.shape[1:]), target))
    return Evaluation(Counts.concat(parts), test.labels, image_table(test), {"model": "mean mask", "split": test.split})


def published_verdict(summary: dict, published_percent: float, tolerance: float = 0.3) -> str:
    """Say in one line whether a mean IoU under the published convention is the published one.

    Parameters
    ----------
    summary : `Evaluation.summary`
    published_percent : 60.6, 57.07 or 52.77 (Seibold et al., BMVC 2022: all, half, a quarter of the training images)
    tolerance : in percentage points
    """
    obtained = 100 * summary["overall"]["iou_published"]
    difference = obtained - published_percent
    agrees = "agrees with" if abs(difference) <= tolerance else "DIFFERS FROM"
    return (
        f"mean IoU {obtained:.2f} % (convention 'published') {agrees} the published {published_percent} %: "
        f"difference {difference:+.2f}, tolerance {tolerance}"
    )


def image_table(dataset: PaxrayDataset) -> pd.DataFrame:
    """Return image, case and view ("unknown" where it is) of each sample."""
    rows = [(entry.image, entry.case, entry.view or "unknown") for entry in dataset.entries]
    return pd.DataFrame(rows, columns=["image", "case", "view"])


def check_labels(labels: LabelSet, dataset: PaxrayDataset) -> None:
    """Raise ValueError if a model's labels are not those of the data, in order."""
    if labels.names == dataset.labels.names:
        return
    first = next((i for i, (a, b) in enumerate(zip(labels, dataset.labels, strict=False)) if a != b), None)
    detail = "" if first is None else f"; label {first} is {labels[first]!r} there and {dataset.labels[first]!r} here"
    raise ValueError(
        f"the model has {len(labels)} labels, but {dataset.datafile.path} has {len(dataset.labels)}{detail}; "
        "use the data file that the model was trained with"
    )


def per_label_table(found: Counts, labels: LabelSet) -> pd.DataFrame:
    """Return one row a label index.

    Columns: index, label, group, side; images (whose target has the label), pixels (of the target in all images);
    iou_published, iou_present, dice_published, dice_present (means over images, see `paxray_lib.metrics`).
    """
    true = found.tp + found.fn
    table = pd.DataFrame(
        {"index": range(len(labels)), "label": labels.names, "group": labels.group, "side": labels.side}
    )
    table["images"], table["pixels"] = (true > 0).sum(axis=0), true.sum(axis=0)
    for name, score in SCORES.items():
        values = score(found)
        for convention in CONVENTIONS:
            table[f"{name}_{convention}"] = per_label(values, convention)
    return table


def summarize(found: Counts, labels: LabelSet, views: Sequence[str]) -> dict:
    """Return {"overall": scores, "views": {view: scores}, "groups": {group: scores}}.

    Scores: images, labels (how many went in), iou_published, iou_present, dice_published, dice_present. A score without
    any value is None.
    """
    views = np.asarray(views)
    groups = {group: [i for i, g in enumerate(labels.group) if g == group] for group in labels.groups}
    return {
        "overall": _scores(found),
        "views": {str(view): _scores(found[views == view]) for view in sorted(set(views))},
        "groups": {group: _scores(_columns(found, indices)) for group, indices in groups.items()},
    }


def _columns(found: Counts, indices: list[int]) -> Counts:
    return Counts(found.tp[:, indices], found.fp[:, indices], found.fn[:, indices])


def _scores(found: Counts) -> dict:
    result: dict = {"images": len(found), "labels": found.tp.shape[1]}
    for name, score in SCORES.items():
        values = score(found)
        for convention in CONVENTIONS:
            mean = mean_score(values, convention)
            result[f"{name}_{convention}"] = None if np.isnan(mean) else mean
    return result
