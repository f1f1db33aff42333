"""The numbers of a sweep: what each member's folder holds, its scores, paired differences.

Scores are computed from the members' counts (evaluation/counts.npz) alone. Intervals are those of
`metrics.bootstrap`: patients are resampled, all members with the same draws, so that the difference
of two members is taken within each resample.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.data.datafile import read_datafile
from paxray_lib.evaluation.compare import compare_evaluations
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.runs.pages import read_environment, read_metrics, read_part
from paxray_lib.runs.provenance import saved_settings

SCORES = ("iou_present", "iou_published", "dice_present", "dice_published")


@dataclasses.dataclass(frozen=True)
class Member:
    """What is known of a member of a sweep, from its folder.

    Attributes
    ----------
    name : of the profile, which is that of the folder too
    state, error, seconds : of the sweep's status
    settings : plain values, as in config.yaml
    provenance : git state and fingerprint of the data, as in environment.txt
    train_images : number of training images in its data file, None if unknown
    synthetic : whether the data file says that its images are generated
    metrics : table of metrics.csv, empty without one
    evaluation : Evaluation of its test images, None without any
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
    evaluation: Evaluation | None
    trouble: str


def read_member(
    name: str, folder: Path, root: Path, step: Mapping[str, Any], settings: Mapping[str, Any]
) -> Member:
    """Read what a member's folder holds so far; what is damaged is left out and named in `trouble`.

    A relative `data_root` is below `root`; `step` is the member's entry in the sweep's status;
    `settings` count for a member that has not begun.
    """
    troubles: list[str] = []
    config = read_part(folder / "config.yaml", lambda path: saved_settings(path.parent), troubles)
    metrics = read_part(folder / "metrics.csv", read_metrics, troubles)
    counts = folder / "evaluation" / "counts.npz"
    evaluation = read_part(counts, lambda path: Evaluation.read(path.parent), troubles)
    images, synthetic = _describe_data(root, config or settings, troubles)
    metrics = pd.DataFrame() if metrics is None else metrics
    known: dict[str, Any] = {key: step.get(key) for key in ("state", "error", "seconds")}
    known |= {"settings": config or settings, "provenance": read_environment(folder)}
    known |= {"train_images": images, "synthetic": synthetic, "metrics": metrics}
    return Member(name, folder, evaluation=evaluation, trouble="; ".join(troubles), **known)


def _describe_data(
    root: Path, settings: Mapping[str, Any], troubles: list[str]
) -> tuple[int | None, bool]:
    if "data_root" not in settings:
        return None, False
    only = {"root": settings["data_root"], "datafile": settings.get("datafile", "paxray.json")}
    try:
        sets = settings.get("data") or [only]
        files = [read_datafile(root / part["root"], part["datafile"]) for part in sets]
    except (ValueError, OSError) as error:
        troubles.append(str(error))
        return None, False
    synthetic = any(data.extra.get("synthetic") for data in files)
    return sum(len(data.splits.get("train", ())) for data in files), synthetic


def score_table(members: Sequence[Member]) -> pd.DataFrame:
    """Return one row per member, score and part; empty if no member has scores.

    Columns: member; part ("overall", "frontal", "lateral", or a group of labels); score, one of
    `SCORES`; images, patients, labels; labels_scored (those that the mean is over: of "present" the
    labels that occur, of "published" all); value; low, high (95 % interval); difference,
    difference_low, difference_high (value less that of the first member with scores, and the
    interval of that; NaN for that member itself, and where images, labels or masks differ).
    """
    scored_members = [(m.name, m.evaluation) for m in members if m.evaluation is not None]
    rows = []
    for name, evaluation in scored_members:
        summary = evaluation.summary
        parts = {"overall": summary["overall"], **summary["views"], **summary["groups"]}
        reference = scored_members[0][1]
        differences = {} if evaluation is reference else _differences(reference, evaluation)
        for score in SCORES:
            for part, scores in parts.items():
                about = [scores[key] for key in ("images", "patients", "labels")]
                scored = scores["labels_scored" if score.endswith("present") else "labels"]
                values = (scores[score], *scores[f"{score}_interval"])
                difference = differences.get((part, score), (None, None, None))
                rows.append((name, part, score, *about, scored, *values, *difference))
    floats = ["value", "low", "high", "difference", "difference_low", "difference_high"]
    columns = ["member", "part", "score", "images", "patients", "labels", "labels_scored", *floats]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(floats, float))


def _differences(
    reference: Evaluation, evaluation: Evaluation
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Return difference, low and high by part and score; none if the two cannot be compared."""
    try:
        return {
            (row.name, score): (row.difference, row.low, row.high)
            for score in SCORES
            for row in compare_evaluations(
                reference, evaluation, score, by_label=False
            ).itertuples()
        }
    except ValueError:  # of other images, labels or masks
        return {}
