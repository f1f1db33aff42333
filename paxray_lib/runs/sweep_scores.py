"""The numbers of a sweep: what each member's folder holds, scores with intervals, paired
differences to one member.

Scores are computed from the members' counts (evaluation/counts.npz) alone. Intervals are those of
`bootstrap`: patients are resampled, all members with the same draws, so that the difference of two
members is taken within each resample."""

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from paxray_lib.data.dataset import read_datafile
from paxray_lib.evaluation.tables import labels_scored
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.bootstrap import (
    draw_weights,
    interval,
    mean_over_labels,
    patients_scored,
    resample_per_label,
)
from paxray_lib.metrics.counting import Counts
from paxray_lib.metrics.scores import CONVENTIONS, dice, iou, mean_score

SCORES = {
    f"{name}_{c}": (score, c)
    for name, score in (("iou", iou), ("dice", dice))
    for c in reversed(CONVENTIONS)
}
"""Column of a score: the function of counts, and the convention of its mean."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """Counts of a member, with the names of their rows and columns.

    Attributes
    ----------
    counts : Counts of (N, L)
    labels : LabelSet
    images, cases, views : (N,) text arrays
    """

    counts: Counts
    labels: LabelSet
    images: np.ndarray
    cases: np.ndarray
    views: np.ndarray

    @classmethod
    def read(cls, path: Path) -> "Scored":
        """Read counts.npz; raises ValueError or OSError, naming the file, if it is damaged."""
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                found = Counts(file["tp"], file["fp"], file["fn"])
                return cls(
                    found,
                    LabelSet(file["names"].tolist()),
                    *(file[f"{k}s"] for k in ("image", "case", "view")),
                )
        except (KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: not readable: {error}") from error

    def same_images(self, other: "Scored") -> bool:
        """Say whether two members were tested on the same images, labels and masks, in the same
        order.
        """
        pixels = [scored.counts.tp + scored.counts.fn for scored in (self, other)]
        return (
            self.labels == other.labels
            and np.array_equal(self.images, other.images)
            and np.array_equal(*pixels)
        )


@dataclasses.dataclass(frozen=True)
class Member:
    """What is known of a member of a sweep, from its folder.

    Attributes
    ----------
    name : name of the profile, which is that of the folder too
    folder : path
    state, error, seconds : of the sweep's status
    settings : plain values, as in config.yaml
    provenance : git state and fingerprint of the data, as in environment.txt
    train_images : number of training images in its data file, None if unknown
    synthetic : whether the data file says that its images are generated
    metrics : table of metrics.csv, empty without one
    scored : its counts on the test images, None without any
    trouble : why something above could not be read
    """

    name: str
    folder: Path
    state: str
    error: str | None
    seconds: float | None
    settings: Mapping[str, Any]
    provenance: Mapping[str, str]
    train_images: int | None
    synthetic: bool
    metrics: pd.DataFrame
    scored: Scored | None
    trouble: str


def read_member(
    name: str, folder: Path, root: Path, step: Mapping[str, Any], settings: Mapping[str, Any]
) -> Member:
    """Read what a member's folder holds so far; what is damaged is left out and named in `trouble`.

    Parameters
    ----------
    root : folder that a relative `data_root` is below
    step : the member's entry in the sweep's status
    settings : those that it is meant to have, for a member that has not begun
    """
    troubles: list[str] = []
    config = _read(
        folder / "config.yaml",
        lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
        troubles,
    )
    metrics = _read(folder / "metrics.csv", pd.read_csv, troubles)
    scored = _read(folder / "evaluation" / "counts.npz", Scored.read, troubles)
    images, synthetic = _describe_data(root, config or settings, troubles)
    return Member(
        name,
        folder,
        step["state"],
        step.get("error"),
        step.get("seconds"),
        config or settings,
        _provenance(folder / "environment.txt"),
        images,
        synthetic,
        pd.DataFrame() if metrics is None else metrics,
        scored,
        "; ".join(troubles),
    )


def _read(path: Path, reader: Any, troubles: list[str]) -> Any:
    if not path.is_file():
        return None
    try:
        return reader(path)
    except (ValueError, OSError, yaml.YAMLError) as error:
        text = str(error)
        troubles.append(text if str(path) in text else f"{path}: {text}")
        return None


def _describe_data(
    root: Path, settings: Mapping[str, Any], troubles: list[str]
) -> tuple[int | None, bool]:
    if "data_root" not in settings:
        return None, False
    try:
        data = read_datafile(root / settings["data_root"], settings.get("datafile", "paxray.json"))
    except (ValueError, OSError) as error:
        troubles.append(str(error))
        return None, False
    return len(data.splits.get("train", ())), bool(data.extra.get("synthetic"))


def _provenance(path: Path) -> dict[str, str]:
    """Return git state and data of environment.txt; of a resumed run the latest."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    known = {"git": "git", "data": "data", "data, made by this run": "data"}
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {known[key]: value for key, value in pairs if key in known}


def score_table(members: Sequence[Member]) -> pd.DataFrame:
    """Return one row a member, part and score.

    Columns: member; part ("overall", "frontal", "lateral", or a group of labels); score
    (iou_present, iou_published, dice_present, dice_published); images, patients, labels;
    labels_scored (those that the mean is over: of "present" the labels that occur, of "published"
    all); value; low, high (95 % interval); difference, difference_low, difference_high (value less
    that of the first member with scores, and the interval of that; NaN for that member itself, and
    where images, labels or masks are not the same)."""
    scored = [member for member in members if member.scored is not None]
    if not scored:
        return pd.DataFrame()
    reference = scored[0].scored
    base = _resampled_parts(reference)
    rows: list[dict[str, Any]] = []
    for member in scored:
        parts = base if member is scored[0] else _resampled_parts(member.scored)
        paired = member is not scored[0] and member.scored.same_images(reference)
        for (part, score), (value, resampled, about) in parts.items():
            row = {"member": member.name, "part": part, "score": score, **about, "value": value}
            row |= dict(zip(("low", "high"), _interval(resampled), strict=True))
            if paired:
                row["difference"] = value - base[part, score][0]
                ends = _interval(resampled - base[part, score][1])
                row |= dict(zip(("difference_low", "difference_high"), ends, strict=True))
            rows.append(row)
    columns = ["difference", "difference_low", "difference_high"]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*(c for c in table if c not in columns), *columns])


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    low, high = interval(resampled[:, None])
    return float(low[0]), float(high[0])


def _resampled_parts(
    scored: Scored,
) -> dict[tuple[str, str], tuple[float, np.ndarray, dict[str, int]]]:
    """Return for each (part, score) its value, its values in the (R,) resamples, and what went in.

    From the scores of one patient the resamples are NaN, since they say nothing.
    """
    everywhere, every = np.full(len(scored.counts), True), np.arange(len(scored.labels))
    parts = {"overall": (everywhere, every)}
    parts |= {
        str(view): (scored.views == view, every) for view in sorted(set(scored.views.tolist()))
    }
    groups = np.asarray(scored.labels.group)
    parts |= {
        group: (everywhere, np.flatnonzero(groups == group)) for group in scored.labels.groups
    }
    weights, found = draw_weights(scored.cases), {}
    for score, (function, convention) in SCORES.items():
        values = function(scored.counts)  # (N, L)
        for part, (images, labels) in parts.items():
            chosen = values[images][:, labels]
            resampled = mean_over_labels(resample_per_label(chosen, weights[:, images], convention))
            if patients_scored(chosen, scored.cases[images], convention) < 2:
                resampled = np.full_like(resampled, np.nan)
            patients = len(set(scored.cases[images].tolist()))
            about = {"images": int(images.sum()), "patients": patients, "labels": len(labels)}
            about["labels_scored"] = labels_scored(chosen, convention)
            found[part, score] = (mean_score(chosen, convention), resampled, about)
    return found
