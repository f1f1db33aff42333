"""The model card, docs/open_model.md, from measured files: ``python benchmarks/open_model/card.py
[--scores runs/score/scores.json]``, or ``make card SCORES=runs/score/scores.json``.

Figures are those of scores.json beside this script, which ``--scores`` replaces by a new one of
score.py; data, recipe and licence those of the model file's header. Scores of other weights are an
error. With ``--scores`` pictures are drawn anew from the masks beside that file: of the example
films and the projected CT to docs/open_model/, of wingspan to runs/card/, named by number. The
section "Doubt" is doubt.md beside this script, if doubt.py wrote it of the same weights.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from card_pictures import bland_altman, committed_pictures, ten, wingspan_pictures
from jinja2 import Environment, StrictUndefined
from measures import fingerprint
from score import DATA

from paxray_lib.labels.table import LABELS
from paxray_lib.models import load_model
from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.utils import parse_json, read_bytes, read_json, write_text

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE, SCORES, DOUBT = (
    Path(__file__).with_name(name) for name in ("card_template.md", "scores.json", "doubt.md")
)
CARD, PICTURES, PRIVATE = ROOT / "docs/open_model.md", ROOT / "docs/open_model", ROOT / "runs/card"
NO_DOUBT = "How far a single result can be believed has not been measured of these weights."
PARTS = {
    "visible_lungs": "both lungs",
    "visible_lungs_elsewhere": "both lungs, where people's end at the heart",
    "left_lung": "left lung",
    "right_lung": "right lung",
    "heart": "heart",
}
RULES = {
    "found": "found on both sides",
    "whole": "each in one main piece (90 % of its pixels)",
    "order": "in order from top to bottom",
    "sides": "left ribs on the left",
    "obey_all": "all of these",
}
CONTRAST = {
    "contrast": "contrast",
    "contrast_positive": "share of films positive",
    "contrast_of_other_films_ribs": "with others' ribs",
    "falls_to": "falls to",
}
SETTINGS = ("image_size", "crop_size", "batch_size", "epochs", "learning_rate")


def card(about: Mapping[str, Any], scores: Mapping[str, Any], doubt: str = NO_DOUBT) -> str:
    """Return the text of the card, from a model file's header and measured scores."""
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"digits": digits, "interval": interval, "named": named}
    wingspan, v7, ct = (scores[name] for name in ("wingspan", "v7", "ct"))
    text = TEMPLATE.read_text(encoding="utf-8")
    return environment.from_string(text).render(
        about=about,
        scores=scores,
        wingspan=wingspan,
        v7=v7,
        ct=ct,
        ratio=wingspan["cardiothoracic_ratio"],
        size=" x ".join(map(str, about["preprocessing"]["size"])),
        doubt=doubt.strip(),
        tables={
            "sources": sources_table(about["sources"]),
            "recipe": recipe_table(about["recipe"]),
            "films": films_table(wingspan, v7),
            "rules": rules_table(wingspan["ribs"], v7["ribs"]),
            "contrast": contrast_table(wingspan["ribs"], v7["ribs"]),
            "ct": ct_table(ct),
        },
        groups=groups(ct["per_label"]),
        failures=[
            ("wingspan, both lungs", wingspan["visible_lungs"]),
            ("wingspan, heart", wingspan["heart"]),
            ("v7, both lungs", v7["lungs"]),
        ],
        worst=worst(ct["per_label"]),
        ten=ten([film["id"] for film in wingspan["per_film"]]),
    )


def sources_table(sources: Sequence[Mapping[str, str]]) -> str:
    """Return what the model was made from."""
    rows = [
        [s["name"], s["what"], s["licence"], "; ".join(s[k] for k in ("cite", "note") if k in s)]
        for s in sources
    ]
    return table(["name", "what", "licence", "cite, note"], rows)


def recipe_table(recipe: Sequence[Mapping[str, Any]]) -> str:
    """Return the trainings, one after the other."""
    rows = []
    for number, stage in enumerate(recipe, 1):
        settings = stage["settings"]
        data = settings.get("data") or [{"root": settings.get("data_root")}]
        names = [f"{Path(str(part['root'])).name} x {part.get('weight', 1):g}" for part in data]
        minutes = f"{stage.get('seconds', 0) / 60:.0f}"
        values = [str(settings.get(key, "")) for key in SETTINGS]
        mean = f", then the mean with {stage['averaged_with']}" if "averaged_with" in stage else ""
        rows.append([str(number) + mean, ", ".join(names), *values, minutes])
    names = [key.replace("_", " ") for key in SETTINGS]
    return table(["stage", "data x weight", *names, "minutes"], rows)


def films_table(wingspan: Mapping[str, Any], v7: Mapping[str, Any]) -> str:
    """Return Dice coefficients on films."""
    films = f"wingspan {wingspan['split']}"
    bedside = f"v7, {v7['patients']} patients"
    parts = [(films, name, wingspan[part]) for part, name in PARTS.items()]
    rows = [
        [
            data,
            str(part["films"]),
            name,
            f"{digits(part['mean'])} ({interval(part['interval'])})",
            digits(part["worst"]),
            f"{len(part['below_floor'])} (under {part['floor']:g})",
        ]
        for data, name, part in [*parts, (bedside, "both lungs", v7["lungs"])]
    ]
    return table(["data", "films", "structure", "Dice, mean", "worst", "failures"], rows)


def rules_table(wingspan: Mapping[str, Any], v7: Mapping[str, Any]) -> str:
    """Return the shares of films whose ribs obey the rules."""
    columns = [
        (f"{name}, {words}", found[part])
        for name, found in (("wingspan", wingspan), ("v7", v7))
        for part, words in (("whole_ribs", "ribs"), ("posterior", "back parts"))
    ]
    rows = [
        [words, *(digits(found[rule], 2) for _, found in columns)] for rule, words in RULES.items()
    ]
    return table(["ribs 3 to 8", *(name for name, _ in columns)], rows)


def contrast_table(wingspan: Mapping[str, Any], v7: Mapping[str, Any]) -> str:
    """Return how the ribs follow the films."""
    rows = [
        [name, *(digits(found[key], 2) for key in CONTRAST)]
        for name, found in (("wingspan", wingspan), ("v7", v7))
    ]
    return table(["films", *CONTRAST.values()], rows)


def ct_table(ct: Mapping[str, Any]) -> str:
    """Return IoU on both projections of the CT."""
    views = ct["per_view"]
    rows = [
        [name, digits(value), *(digits(view[name]) for view in views.values())]
        for name, value in ct["iou"].items()
    ]
    return table(["IoU", "both views", *views], rows)


def groups(per_label: Mapping[str, float | None]) -> list[tuple[str, float, str]]:
    """Return name, mean and all labels of each group that has a score."""
    found = []
    for group in LABELS.groups:
        members = zip(LABELS.display_names, LABELS.group, strict=True)
        names = [name for name, own in members if own == group]
        values = {name: value for name in names if (value := per_label.get(name)) is not None}
        if values:
            text = ", ".join(f"{name} {digits(value, 2)}" for name, value in values.items())
            found.append((group.replace("_", " "), float(np.mean(list(values.values()))), text))
    return found


def worst(per_label: Mapping[str, float | None], count: int = 12) -> str:
    """Return the labels with the lowest scores."""
    known = {name: value for name, value in per_label.items() if value is not None}
    names = sorted(known, key=lambda name: known[name])[:count]
    return ", ".join(f"{name} {digits(known[name], 2)}" for name in names)


def named(ids: Sequence[str]) -> str:
    """Return films by number, or how many there are where the list would be long."""
    return ", ".join(ids) if 0 < len(ids) <= 12 else f"{len(ids)} films" if ids else "none"


def interval(ends: Sequence[float | None], places: int = 3) -> str:
    """Return the ends of an interval as text."""
    low, high = (digits(end, places) for end in ends)
    return f"{low} to {high}"


def digits(value: float | None, places: int = 3) -> str:
    """Return a number as text, "none" where there is none."""
    return "none" if value is None else f"{value:.{places}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


def read_doubt(weights: str) -> str:
    """Return the section on doubt, if doubt.py wrote it of these weights."""
    figures = read_json(DOUBT.with_suffix(".json"))
    return DOUBT.read_text(encoding="utf-8") if figures.get("weights") == weights else NO_DOUBT


def check_same(scores: Mapping[str, Any], weights: str, path: Path) -> None:
    """Raise ValueError if scores are of other weights, or of a part of the data only."""
    if scores["model"]["weights"] != weights:
        raise ValueError(f"{path}: scores of other weights; run score.py with this model, too")
    if scores["left_out"]:
        raise ValueError(f"{path}: without {', '.join(scores['left_out'])}; score them, too")


def main() -> None:
    """Write the card, and the pictures if there are new masks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, help="a new scores.json of score.py")
    parser.add_argument("--model", default="open")
    parser.add_argument("--wingspan", type=Path, default=DATA / "wingspan")
    options = parser.parse_args()
    path = options.scores or SCORES
    scores, model = parse_json(read_bytes(path), path), load_model(options.model)
    check_same(scores, fingerprint(model), path)
    about = read_portable(find_weights(options.model))
    if about is None:
        raise ValueError(f"{options.model}: no header says what it was made from; see package.py")
    write_text(CARD, card(about, scores, read_doubt(fingerprint(model))))
    bland_altman(scores["wingspan"], PICTURES / "cardiothoracic_ratio.png")
    if options.scores:
        write_text(SCORES, path.read_text(encoding="utf-8"))
        committed_pictures(model, path.parent, scores, PICTURES)
        wingspan_pictures(options.wingspan, path.parent, scores, PRIVATE)
    print(CARD)


if __name__ == "__main__":
    main()
