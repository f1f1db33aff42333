"""Score a model on what the open model is judged by: ``python benchmarks/open_model/score.py
[WEIGHTS|open] [--split val] [--wingspan DIR] [--v7 DIR] [--ct DIR] [--out runs/score]``.

Scored are the masks that `predict` writes, at each film's own size:

- wingspan: visible lungs and heart (Dice), cardiothoracic ratio, ribs. ``--split test`` is for the
  one last report, never for a choice.
- v7: both lungs (Dice) of the patients that v7_split.csv leaves out of the training; pixels of the
  value 127 are not counted.
- ct: IoU on both projections of a real CT, made by `paxray project`.

A folder that is not there is left out, which the file says. OUT/scores.json has all figures, means
with 95 % intervals over patients, and the digest of the model's file. Masks stay in OUT for the
card, a folder for each digest.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measures import (
    agreement,
    cardiothoracic_ratio,
    dice,
    dice_summary,
    fingerprint,
    number,
    numbers,
    overlap,
)
from ribs import Spaces, contrasts, obeys

from data import V7_SPLIT, read_rows
from paxray_lib.ct.dataset import project_cases
from paxray_lib.ct.pairing import find_cases
from paxray_lib.data.datafile import Datafile, read_datafile
from paxray_lib.data.mapping import read_map
from paxray_lib.images.read import read_image
from paxray_lib.importing.pictures import read_mask, read_values
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.metrics import counts, iou
from paxray_lib.metrics.scores import known_mean
from paxray_lib.models import AnatomySegmenter, load_model
from paxray_lib.models.named import find_weights
from paxray_lib.prediction.predict import predict
from paxray_lib.utils import now, read_bytes, sha256, write_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WINGSPAN = ("left_lung", "right_lung", "heart")
FLOORS = dict.fromkeys(("visible_lungs", "left_lung", "right_lung", "v7"), 0.88) | {"heart": 0.85}
"""A film below is a failure, which the card shows."""
MOST_OVERLAP = 0.1
"""Of people's heart with their lungs: if more, lungs were drawn through the heart on this film."""
CT_LABELS = {"lungs": "lung_overall"} | {n: n for n in ("heart", "diaphragm", "spine", "ribs")}


@dataclass(frozen=True)
class Scorer:
    """A model, and where its masks go."""

    model: AnatomySegmenter
    masks: Path
    mirror: bool

    def masks_of(self, images: Sequence[Path], name: str, view: str | None) -> list[PackedMasks]:
        """Return the masks that `predict` writes for images, in their order."""
        out = self.masks / name
        report = predict(self.model, images, out, mirror=self.mirror, view=view, overwrite=True)
        failed = report[~report["status"].isin(["ok", "skipped"])]
        if len(failed):
            raise ValueError(f"{len(failed)} images failed, first: {failed['reason'].iloc[0]}")
        return [PackedMasks.read(out / output) for output in report["output"]]


def score_wingspan(scorer: Scorer, folder: Path, split: str) -> dict[str, Any]:
    """Return the scores of a split of wingspan: lungs, heart, cardiothoracic ratio, ribs."""
    ids = [row["id"] for row in read_rows(folder / "split.csv") if row["split"] == split]
    paths = [folder / f"images/{name}.png" for name in ids]
    masks = scorer.masks_of(paths, f"wingspan_{split}", "frontal")
    names = LabelSet(WINGSPAN)
    label_map = read_map("wingspan", scorer.model.labels, names)
    films = []
    for name, mask in zip(ids, masks, strict=True):
        ours = PackedMasks(label_map.map_prediction(mask.data), names).unpack()  # (3, H, W)
        people = [_people(folder / part / f"{name}.png") for part in WINGSPAN]
        films.append({"id": name} | _wingspan_film(ours, people))
    column = {key: [film[key] for film in films] for key in films[0]}
    alike = [film for film in films if film["people_overlap"] <= MOST_OVERLAP]
    same = [film["id"] for film in alike]
    lungs = [film["visible_lungs"] for film in alike]
    return {
        "split": split,
        "films": len(ids),
        **{
            part: dice_summary(column[part], ids, ids, FLOORS[part])
            for part in ("visible_lungs", *WINGSPAN)
        },
        "drawn_through_heart": [name for name in ids if name not in same],
        "visible_lungs_elsewhere": dice_summary(lungs, same, same, FLOORS["visible_lungs"]),
        "cardiothoracic_ratio": agreement(column["ctr"], column["ctr_people"], ids),
        "ribs": score_ribs(paths, masks, ids),
        "per_film": [_written(film) for film in films],
    }


def _wingspan_film(ours: np.ndarray, people: Sequence[np.ndarray]) -> dict[str, float]:
    (left, right, heart), (true_left, true_right, true_heart) = ours, people
    parts = zip(WINGSPAN, ours, people, strict=True)
    return {
        "visible_lungs": dice(left | right, true_left | true_right),
        **{name: dice(mask, truth) for name, mask, truth in parts},
        "ctr": cardiothoracic_ratio(heart, left, right),
        "ctr_people": cardiothoracic_ratio(true_heart, true_left, true_right),
        "people_overlap": overlap(true_heart, true_left | true_right),
    }


def _people(path: Path) -> np.ndarray:
    mask = read_mask(read_bytes(path), path)
    assert mask is not None  # nothing is ignored
    return mask


def _written(film: dict[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, str) else number(v) for k, v in film.items()}


def score_v7(scorer: Scorer, folder: Path) -> dict[str, Any]:
    """Return the scores of v7's patients that nobody trains on: both lungs, ribs."""
    rows = [row for row in read_rows(V7_SPLIT) if row["split"] == "test"]
    ids, patients = [row["id"] for row in rows], [row["patient"] for row in rows]
    paths = [folder / f"images/{name}.png" for name in ids]
    masks = scorer.masks_of(paths, "v7", "frontal")
    label_map = read_map("v7", scorer.model.labels, LabelSet(["lungs"]))
    values = []
    for name, mask in zip(ids, masks, strict=True):
        ours = label_map.map_prediction(mask.data)[..., 0] == 1
        path = folder / f"lungs/{name}.png"
        people = read_values(read_bytes(path), path)
        values.append(dice(ours, people == 255, people != 127))
    films = [
        {"id": i, "patient": p, "lungs": v} for i, p, v in zip(ids, patients, values, strict=True)
    ]
    return {
        "films": len(ids),
        "patients": len(set(patients)),
        "lungs": dice_summary(values, ids, patients, FLOORS["v7"]),
        "ribs": score_ribs(paths, masks, ids),
        "per_film": [_written(film) for film in films],
    }


def score_ribs(paths: Sequence[Path], masks: Sequence[PackedMasks], ids: Sequence[str]) -> dict:
    """Return the shares of films whose ribs obey the rules and follow the film, see `ribs`."""
    films = [read_image(path).pixels for path in paths]
    found = contrasts(films, [Spaces.of(mask) for mask in masks])
    own = [value for value, _ in found]
    mean, control = known_mean(np.array(found), axis=0)
    shares: dict[str, Any] = {}
    for part in ("", "posterior_"):
        rules = [obeys(mask, part) for mask in masks]
        broken = [name for name, rule in zip(ids, rules, strict=True) if not all(rule.values())]
        shares[part.rstrip("_") or "whole_ribs"] = {
            "obey_all": number(1 - len(broken) / len(ids)),
            **numbers({key: float(np.mean([rule[key] for rule in rules])) for key in rules[0]}),
            "broken": broken,
        }
    return shares | {
        "contrast_positive": number(np.mean(np.array(own) > 0)),
        "contrast": number(mean),
        "contrast_of_other_films_ribs": number(control),
        "falls_to": number(control / mean) if mean > 0 else None,
        "not_positive": [name for name, value in zip(ids, own, strict=True) if not value > 0],
    }


def score_ct(scorer: Scorer, folder: Path, projections: Path) -> dict[str, Any]:
    """Return IoU on the projections of a real CT, per label and view; they are made if missing."""
    cases, _ = find_cases(folder, folder)
    for outcome in project_cases(cases, projections):
        if outcome.status == "failed":
            raise ValueError(outcome.reason)
    data = read_datafile(projections)
    entries = data.splits["test"]
    masks = scorer.masks_of([projections / entry.image for entry in entries], "ct", None)
    scores = [_iou(mask, data, str(e.target)) for mask, e in zip(masks, entries, strict=True)]
    columns = np.array([list(view.values()) for view in scores])  # (N, L)
    means = dict(zip(scores[0], known_mean(columns, axis=0).tolist(), strict=True))
    views = [str(entry.view) for entry in entries]
    return {
        "cases": len(cases),
        "views": views,
        "iou": numbers({name: means[label] for name, label in CT_LABELS.items()}),
        "mean_iou": number(known_mean(np.array(list(means.values())), axis=0)),
        "labels": int(np.isfinite(list(means.values())).sum()),
        "per_label": numbers(means),
        "per_view": {
            view: numbers({name: score[label] for name, label in CT_LABELS.items()})
            for view, score in zip(views, scores, strict=True)
        },
    }


def _iou(mask: PackedMasks, data: Datafile, target: str) -> dict[str, float]:
    truth = PackedMasks.read(data.root / target)
    values = iou(counts(mask.relabel(truth.labels), truth))[0]
    return dict(zip(truth.labels.display_names, values.tolist(), strict=True))


def score(weights: str, sets: dict[str, Path], split: str, out: Path, mirror: bool) -> Path:
    """Score a model on the data sets that are there; return the path of scores.json."""
    file = find_weights(weights)
    digest, model = sha256(file), load_model(weights)
    scorer = Scorer(model, out / digest[:12], mirror)
    steps: dict[str, Callable[[Path], dict[str, Any]]] = {
        "wingspan": lambda folder: score_wingspan(scorer, folder, split),
        "v7": lambda folder: score_v7(scorer, folder),
        "ct": lambda folder: score_ct(scorer, folder, out / "projections"),
    }
    scores: dict[str, Any] = {
        "model": {
            "file": file.name,
            "bytes": file.stat().st_size,
            "sha256": digest,
            "weights": fingerprint(model),
            "name": model.name,
            "labels": len(model.labels),
            "preprocessing": model.preprocessing.to_dict(),
        },
        "date": now()[:10],
        "mirror": mirror,
        "masks": scorer.masks.name,
        "left_out": [],
    }
    for name, step in steps.items():
        if sets[name].is_dir():
            start = time.monotonic()
            scores[name] = step(sets[name])
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        else:
            scores["left_out"].append(name)
    path = out / "scores.json"
    write_text(path, json.dumps(scores, indent=1, allow_nan=False) + "\n")
    return path


def main() -> None:
    """Score and print what matters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", default="open")
    parser.add_argument("--split", choices=["train", "val", "test"], default="val")
    parser.add_argument("--wingspan", type=Path, default=DATA / "wingspan")
    parser.add_argument("--v7", type=Path, default=DATA / "v7_lungs")
    parser.add_argument("--ct", type=Path, default=DATA / "ct")
    parser.add_argument("--out", type=Path, default=Path("runs/score"))
    parser.add_argument("--mirror", action="store_true", help="average with the mirror image")
    options = parser.parse_args()
    sets = {name: getattr(options, name) for name in ("wingspan", "v7", "ct")}
    path = score(options.weights, sets, options.split, options.out, options.mirror)
    print("\n".join(summary(json.loads(path.read_text()))), f"\n{path}")


def summary(scores: dict[str, Any]) -> list[str]:
    """Return the lines that are compared with the floors."""
    lines = []
    if wing := scores.get("wingspan"):
        ratio = wing["cardiothoracic_ratio"]
        for part in ("visible_lungs", "visible_lungs_elsewhere", "heart"):
            lines.append(f"wingspan {wing['split']} {_dice_line(part, wing[part])}")
        lines.append(
            f"cardiothoracic ratio: bias {ratio['bias']['mean']}, mean absolute error "
            f"{ratio['mean_absolute_error']['mean']}, limits {ratio['limits']}"
        )
        lines.append(f"wingspan ribs: {_ribs_line(wing['ribs'])}")
    if v7 := scores.get("v7"):
        lines += [f"v7 {_dice_line('lungs', v7['lungs'])}", f"v7 ribs: {_ribs_line(v7['ribs'])}"]
    if ct := scores.get("ct"):
        lines.append(f"ct IoU: {ct['iou']}; mean of {ct['labels']} labels {ct['mean_iou']}")
    return [*lines, *(f"{name}: left out, no folder" for name in scores["left_out"])]


def _dice_line(name: str, part: dict[str, Any]) -> str:
    return (
        f"{name}: {part['mean']} {part['interval']}, worst {part['worst']} "
        f"({part['worst_film']}), {len(part['below_floor'])} below {part['floor']}"
    )


def _ribs_line(part: dict[str, Any]) -> str:
    whole, posterior = part["whole_ribs"]["obey_all"], part["posterior"]["obey_all"]
    return (
        f"rules {whole} (posterior parts {posterior}), contrast {part['contrast']}, positive "
        f"{part['contrast_positive']}, with other films' ribs falls to {part['falls_to']}"
    )


if __name__ == "__main__":
    main()
