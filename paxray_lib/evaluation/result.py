"""The result of an evaluation: counts per image and label, and every table made from them.

Files of an evaluation (`Evaluation.write`):

    counts.npz     images, cases, views (N,) and names (L,) text; tp, fp, fn (N, L) int64 pixels,
                   known (N, L) bool;
                   surface_within, surface_total (N, L) int64, surface_hd95 (N, L) float64, see
                   `metrics.surface`; bins_pixels, bins_true (L, K) int64, bins_probability (L, K)
                   float64, see `metrics.calibration`
    per_label.csv  one row per label index, see `tables.per_label_table`
    summary.json   scores overall, per view and per group, each under both conventions, see
                   `tables.summarize`; calibration_error, and what was evaluated

Both tables can be computed again from counts.npz alone.
"""

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.tables import per_label_table, score_columns, summarize
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics import Counts, Reliability, Surface, calibration_error, known_mean
from paxray_lib.utils import atomic_write, naming_errors, read_json, write_table, write_text
from paxray_lib.utils.arrays import read_arrays
from paxray_lib.utils.settings import cast

_IMAGES = ("image", "case", "view")
_FORMS = {
    **dict.fromkeys(("images", "cases", "views"), ("U", "N")),
    "names": ("U", "L"),
    **dict.fromkeys(("tp", "fp", "fn", "surface_within", "surface_total"), ("iu", "NL")),
    "known": ("b", "NL"),
    "surface_hd95": ("f", "NL"),
    **dict.fromkeys(("bins_pixels", "bins_true"), ("iu", "LK")),
    "bins_probability": ("f", "LK"),
}
_Scores = dict[str, int | float | tuple[float | None, float | None] | None]
_COMPUTED = {"overall": _Scores, "views": dict[str, _Scores], "groups": dict[str, _Scores]}


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
    info: dict[str, Any] = field(default_factory=dict)
    surface: Surface | None = None
    reliability: Reliability | None = None

    @functools.cached_property
    def per_label(self) -> pd.DataFrame:
        """One row per label index, see `tables.per_label_table`."""
        return per_label_table(self.counts, self.labels, self.images["case"], self.surface)

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """`info`, the calibration error, and the scores of `tables.summarize`."""
        views, cases, bins = self.images["view"], self.images["case"], self.reliability
        error = {} if bins is None else {"calibration_error": calibration_error(bins)}
        scores = summarize(self.counts, self.labels, views, cases, self.surface)
        return {**self.info, **error, **scores}

    def scores_by_image(self) -> pd.DataFrame:
        """Return image, case, view, and the means over each image's labels: iou_present, ..."""
        columns = score_columns(self.counts, self.surface).items()
        means = {name: known_mean(v, axis=1) for name, v in columns if name.endswith("_present")}
        return self.images.assign(**means)

    def scores_by_group(self, score: str = "iou") -> pd.DataFrame:
        """Return image, case, view, group, and the mean over its labels: a row per image and group.

        The score is iou, dice, precision, recall, or nsd.
        """
        column, groups = f"{score}_present", np.array(self.labels.group)
        values = score_columns(self.counts, self.surface)[column]
        means = {name: known_mean(values[:, groups == name], axis=1) for name in self.labels.groups}
        parts = [self.images.assign(group=name, **{column: m}) for name, m in means.items()]
        return pd.concat(parts, ignore_index=True)

    def write(self, folder: str | os.PathLike) -> None:
        """Write counts.npz, per_label.csv and summary.json, each atomically."""
        folder = Path(folder)
        arrays = {f"{name}s": self.images[name].to_numpy(dtype=str) for name in _IMAGES}
        arrays |= {"names": np.array(self.labels.names), **vars(self.counts)}
        for prefix, part in (("surface", self.surface), ("bins", self.reliability)):
            if part is not None:
                arrays |= {f"{prefix}_{name}": values for name, values in vars(part).items()}
        with atomic_write(folder / "counts.npz") as path:
            np.savez_compressed(path, allow_pickle=False, **arrays)
        write_table(folder / "per_label.csv", self.per_label, "%.6f")
        text = json.dumps(self.summary, indent=1, allow_nan=False)
        write_text(folder / "summary.json", text)

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Evaluation":
        """Read what `write` wrote; the tables are computed again from the counts.

        Raises FileNotFoundError or ValueError if counts.npz is missing or damaged.
        """
        path = Path(folder) / "counts.npz"
        data = read_arrays(path, _FORMS, "evaluate again")
        with naming_errors(path, "not readable"):
            found = Counts(data["tp"], data["fp"], data["fn"], data["known"])
            images = pd.DataFrame({name: data[f"{name}s"] for name in _IMAGES})
            labels = LabelSet(data["names"].tolist())
            surface, bins = (
                {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
                for prefix in ("surface_", "bins_")
            )
            outlines = Surface(**surface) if surface else None
            reliability = Reliability(**bins) if bins else None
        summary = read_summary(path.with_name("summary.json")).items()
        info = {
            key: value for key, value in summary if key not in (*_COMPUTED, "calibration_error")
        }
        return cls(found, labels, images, info, outlines, reliability)


def read_summary(path: Path) -> dict[str, Any]:
    """Read summary.json, of which a missing one is empty; ValueError if it holds no scores."""
    summary = read_json(path)
    parts = {
        key: cast(summary[key], _COMPUTED[key], f"{path}: {key}")
        for key in _COMPUTED.keys() & summary.keys()
    }
    return {**summary, **parts}


def image_table(dataset: PaxrayDataset) -> pd.DataFrame:
    """Return image, case and view ("unknown" where it is) of each sample."""
    rows = [(e.image, e.case, dataset.datafile.view(e) or "unknown") for e in dataset.entries]
    return pd.DataFrame(rows, columns=list(_IMAGES))
