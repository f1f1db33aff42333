"""Evaluate a model on a split: pixel counts per image and label first, then every score from the
counts.

Files of an evaluation (`Evaluation.write`):

    counts.npz       images, cases, views (N,) and names (L,) text; tp, fp, fn (N, L) int64 pixels;
                     surface_within, surface_total (N, L) int64 and surface_hd95 (N, L) float64, see
                     `surface.Surface`; bins_pixels, bins_true (L, K) int64 and bins_probability (L,
                     K) float64, see `reliability`
    per_label.csv    one row a label index: see `tables.per_label_table`
    summary.json     scores overall, per view and per group, each under both conventions: see
    `tables.summarize`;
                     calibration_error (see `reliability`), and what was evaluated

Both tables can be computed again from counts.npz alone.
"""

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paxray_lib.compute.collectives import is_first, local_device
from paxray_lib.compute.devices import PRECISIONS, check_precision
from paxray_lib.data.dataset import PaxrayDataset, check_targets
from paxray_lib.data.selection import thresholded_mean
from paxray_lib.evaluation.count import measure_dataset
from paxray_lib.evaluation.tables import columns_of, image_scores, per_label_table, summarize
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.calibration import Reliability, calibration_error
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.scores import mean_score
from paxray_lib.metrics.surface import Surface, surface
from paxray_lib.models.checkpoints import load_model
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.utils.files import atomic_write

_SURFACE = ("within", "total", "hd95")
_BINS = ("pixels", "true", "probability")


@dataclass(frozen=True)
class Evaluation:
    """Counts of a model on some images, with what every table is made from.

    Attributes
    ----------
    counts : Counts of (N, L)
    labels : LabelSet
    images : DataFrame of N rows: image, case, view
    info : dict of what was evaluated and how: split, data file, model, threshold, number type, ...
    surface : Surface of (N, L), or None
    reliability : Reliability of (L, K), or None
    """

    counts: Counts
    labels: LabelSet
    images: pd.DataFrame
    info: dict = field(default_factory=dict)
    surface: Surface | None = None
    reliability: Reliability | None = None

    @functools.cached_property
    def per_label(self) -> pd.DataFrame:
        """One row a label index, see `tables.per_label_table`."""
        return per_label_table(self.counts, self.labels, self.images["case"], self.surface)

    @functools.cached_property
    def summary(self) -> dict:
        """Scores overall, per view and per group, see `tables.summarize`, with `info` and the
        calibration error.
        """
        scores = summarize(
            self.counts, self.labels, self.images["view"], self.images["case"], self.surface
        )
        error = (
            {}
            if self.reliability is None
            else {"calibration_error": calibration_error(self.reliability)}
        )
        return {**self.info, **error, **scores}

    def scores_by_image(self) -> pd.DataFrame:
        """Return image, case, view, and the means over the labels in each image: iou_present,
        dice_present, ...
        """
        table = self.images.copy()
        for column, (values, convention) in columns_of(
            image_scores(self.counts, self.surface)
        ).items():
            if convention == "present":
                table[column] = [
                    mean_score(values[i : i + 1], convention) for i in range(len(values))
                ]
        return table

    def scores_by_group(self, score: str = "iou") -> pd.DataFrame:
        """Return one row an image and group: image, case, view, group, and the mean over its labels
        in the image.

        Parameters
        ----------
        score : iou, dice, precision, recall, or nsd
        """
        values = image_scores(self.counts, self.surface)[score]
        parts = []
        for group in self.labels.groups:
            indices = [i for i, name in enumerate(self.labels.group) if name == group]
            means = [mean_score(values[i : i + 1, indices], "present") for i in range(len(values))]
            parts.append(self.images.assign(group=group, **{f"{score}_present": means}))
        return pd.concat(parts, ignore_index=True)

    def write(self, folder: str | os.PathLike) -> None:
        """Write counts.npz, per_label.csv and summary.json, each atomically."""
        folder = Path(folder)
        with atomic_write(folder / "counts.npz") as path:
            np.savez_compressed(path, **self._arrays())
        with atomic_write(folder / "per_label.csv") as path:
            self.per_label.to_csv(path, index=False, float_format="%.6f")
        with atomic_write(folder / "summary.json") as path:
            path.write_text(json.dumps(self.summary, indent=1, allow_nan=False), encoding="utf-8")

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            f"{name}s": self.images[name].astype(str).to_numpy(dtype=str) for name in self.images
        }
        arrays |= {"names": np.array(self.labels.names)}
        arrays |= {"tp": self.counts.tp, "fp": self.counts.fp, "fn": self.counts.fn}
        if self.surface is not None:
            arrays |= {f"surface_{name}": getattr(self.surface, name) for name in _SURFACE}
        if self.reliability is not None:
            arrays |= {f"bins_{name}": getattr(self.reliability, name) for name in _BINS}
        return arrays

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Evaluation":
        """Read what `write` wrote; the tables are computed again from the counts."""
        folder = Path(folder)
        with np.load(folder / "counts.npz", allow_pickle=False) as file:
            images = pd.DataFrame({name: file[f"{name}s"] for name in ("image", "case", "view")})
            found = Counts(file["tp"], file["fp"], file["fn"])
            labels = LabelSet(file["names"].tolist())
            surface = (
                Surface(*(file[f"surface_{name}"] for name in _SURFACE))
                if "surface_total" in file
                else None
            )
            bins = (
                Reliability(*(file[f"bins_{name}"] for name in _BINS))
                if "bins_pixels" in file
                else None
            )
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        computed = ("overall", "views", "groups", "calibration_error")
        info = {key: value for key, value in summary.items() if key not in computed}
        return cls(found, labels, images, info, surface, bins)


def evaluate(
    model: torch.nn.Module | str | os.PathLike,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    split: str = "test",
    out: str | os.PathLike | None = None,
    device: str = "cpu",
    threshold: float = 0.5,
    mirror: bool = False,
    close_tree: bool = False,
    precision: str = "float32",
) -> Evaluation:
    """Evaluate a model, or the file of one, on a split, each image at its own size.

    Several processes (see `processes`) share the images; each returns the whole evaluation, and the
    first one writes.

    Parameters
    ----------
    model : module from `build_model` or `load_model`, or a path
    data_root, datafile, split : as for `PaxrayDataset`
    out : folder to write counts.npz, per_label.csv and summary.json to, optional
    device : torch device for a model that is loaded from a file
    threshold : a pixel has a label where its sigmoid is greater
    mirror : average each image with its mirror image (see `options.gains_table` for what that
    gains)
    close_tree : add parts to their wholes, see `closing.close_tree`
    precision : "float32", or "bfloat16": faster on hardware that has it, and decides otherwise at
    some outlines

    Raises
    ------
    FileNotFoundError, ValueError
        If the precision is unknown, a file is missing or damaged, or the labels of model and data
        differ.
    """
    check_precision(precision)
    name = str(model) if isinstance(model, (str, os.PathLike)) else model.name
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model, local_device(device))
    dataset = PaxrayDataset(data_root, datafile, split)
    check_labels(model.labels, dataset)
    if precision != "float32":
        model = optimize_for_inference(model, PRECISIONS[precision])
    options = {"mirror": mirror, "close_tree": close_tree}
    found = measure_dataset(model, dataset, threshold, **options)
    info = {
        "model": name,
        "datafile": str(dataset.datafile.path),
        "split": split,
        "threshold": threshold,
        **options,
    }
    info["synthetic"] = bool(dataset.datafile.extra.get("synthetic"))
    info["dtype"] = str(next(model.parameters()).dtype).removeprefix("torch.")
    images = image_table(dataset)
    result = Evaluation(
        found.counts, dataset.labels, images, info, found.surface, found.reliability
    )
    if out is not None and is_first():
        result.write(out)
    return result


def evaluate_constant(
    train: PaxrayDataset,
    test: PaxrayDataset,
    size: int = 128,
    views: Sequence[str] = ("frontal", "lateral"),
) -> Evaluation:
    """Evaluate the best constant guess: for each view the pixels that a label covers in most
    training images.

    Raises
    ------
    ValueError
        If no training image has masks, or a test image has none.
    """
    if not any(entry.target for entry in train.entries):
        raise ValueError(
            f"{train.datafile.path}: no image with masks in split {train.split!r} to make the mean mask from; "
            "leave it out, or name another split"
        )
    check_targets(test)
    guesses = {view: thresholded_mean(train, view, size) for view in views}
    found, surfaces = [], []
    for i, entry in enumerate(test.entries):
        target = test.masks(i)
        guess = guesses[test.datafile.view(entry) or views[0]].resize(*target.shape[1:])
        found.append(counts(guess, target))
        surfaces.append(surface(guess, target))
    info = {"model": "mean mask", "split": test.split}
    return Evaluation(
        Counts.concat(found), test.labels, image_table(test), info, Surface.concat(surfaces)
    )


def published_verdict(summary: dict, published_percent: float, tolerance: float = 0.3) -> str:
    """Say in one line whether a mean IoU under the published convention is the published one, or
    that the data cannot tell, since their file says that they are synthetic.

    Parameters
    ----------
    summary : `Evaluation.summary`
    published_percent : 60.6, 57.07 or 52.77 (Seibold et al., BMVC 2022: all, half, a quarter of the
    training images)
    tolerance : in percentage points
    """
    obtained = 100 * summary["overall"]["iou_published"]
    difference = obtained - published_percent
    if summary.get("synthetic"):
        return (
            f"mean IoU {obtained:.2f} % (convention 'published') on SYNTHETIC data, as their data file says: no "
            f"comparison with the published {published_percent} %, which is of PAXRay's test split; check data_root"
        )
    agrees = "agrees with" if abs(difference) <= tolerance else "DIFFERS FROM"
    return (
        f"mean IoU {obtained:.2f} % (convention 'published') {agrees} the published {published_percent} %: "
        f"difference {difference:+.2f}, tolerance {tolerance}"
    )


PUBLISHED_PERCENT = {"all training images": 60.6, "half of them": 57.07, "a quarter of them": 52.77}
"""Mean IoU on the test split of PAXRay by Seibold et al., BMVC 2022 (arXiv 2210.03416): not
measured here.
"""


def published_table(summary: dict) -> pd.DataFrame:
    """Return mean IoU in percent under the published convention: what was measured, and below it
    the published figures.

    Columns: source ("measured here" or "published"), mean IoU (%), low, high (95 % interval; the
    paper has none)."""
    scores = summary["overall"]
    ends = [np.nan if end is None else 100 * end for end in scores["iou_published_interval"]]
    rows = {"this model, this data": ("measured here", 100 * scores["iou_published"], *ends)}
    for name, percent in PUBLISHED_PERCENT.items():
        rows[f"PAXRay, {name}"] = ("published", percent, np.nan, np.nan)
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["source", "mean IoU (%)", "low", "high"]
    )


def image_table(dataset: PaxrayDataset) -> pd.DataFrame:
    """Return image, case and view ("unknown" where it is) of each sample."""
    view = dataset.datafile.view
    rows = [(entry.image, entry.case, view(entry) or "unknown") for entry in dataset.entries]
    return pd.DataFrame(rows, columns=["image", "case", "view"])


def check_labels(labels: LabelSet, dataset: PaxrayDataset) -> None:
    """Raise ValueError if a model's labels are not those of the data, in order."""
    if labels.names == dataset.labels.names:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(labels, dataset.labels, strict=False)) if a != b), None
    )
    detail = (
        ""
        if first is None
        else f"; label {first} is {labels[first]!r} there and {dataset.labels[first]!r} here"
    )
    raise ValueError(
        f"the model has {len(labels)} labels, but {dataset.datafile.path} has {len(dataset.labels)}{detail}; "
        "use the data file that the model was trained with"
    )
