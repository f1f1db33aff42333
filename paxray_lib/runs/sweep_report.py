"""The page that compares the members of a sweep, and the same numbers for programs."""

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.metrics.bootstrap import LEVEL, RESAMPLES, SEED
from paxray_lib.runs.pages import (
    chart,
    heading,
    link,
    note,
    page,
    score_text,
    section,
    state_mark,
    table,
)
from paxray_lib.runs.provenance import FREE_KEYS, write_record
from paxray_lib.runs.sweep_plots import TITLES, plot_curves, plot_fractions, plot_parts
from paxray_lib.runs.sweep_scores import SCORES, Member, score_table
from paxray_lib.utils.progress import duration

# Settings that say nothing of how a model was made.
ASIDE = (*FREE_KEYS, "published", "notebooks", "shown", "device", "workers")


def write_comparison(folder: Path, status: Mapping[str, Any], members: Sequence[Member]) -> Path:
    """Write index.html, sweep.json and scores.csv of a sweep, and return the page's path.

    Parameters
    ----------
    folder : folder of the sweep; the members' folders lie in it
    status : as runfolder.read_status returns it
    members : in the order of the profiles
    """
    scores = score_table(members)
    write_record(
        folder,
        "sweep.json",
        json.dumps(describe(status, members, scores), indent=1, allow_nan=False) + "\n",
    )
    write_record(folder, "scores.csv", scores.to_csv(index=False, float_format="%.6f"))
    body = "\n".join(_sections(folder, status, members, scores))
    return write_record(folder, "index.html", page(folder.name, "PAXRay sweep", body, _FOOTER))


def describe(
    status: Mapping[str, Any], members: Sequence[Member], scores: pd.DataFrame
) -> dict[str, Any]:
    """Return what sweep.json holds.

    Keys: state; reference (the member that others are compared with); interval (level, resamples,
    seed); members, a list of name, folder, state, error, seconds, settings, git, data,
    train_images, synthetic, published (the published mean IoU in percent, where it belongs),
    trouble; scores, the rows of `score_table`. What is unknown is null."""
    return {
        "state": status["state"],
        "reference": None if scores.empty else scores["member"].iloc[0],
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "unit": "patient"},
        "members": [
            {
                "name": member.name,
                "folder": member.folder.name,
                "state": member.state,
                "error": member.error,
                "seconds": member.seconds,
                "settings": dict(member.settings),
                "git": member.provenance.get("git"),
                "data": member.provenance.get("data"),
                "train_images": member.train_images,
                "synthetic": member.synthetic,
                "published": published_score(member),
                "trouble": member.trouble or None,
            }
            for member in members
        ],
        "scores": [
            {key: _plain(value) for key, value in row.items()} for row in scores.to_dict("records")
        ],
    }


def published_score(member: Member) -> float | None:
    """Return the published mean IoU in percent that a profile names, if data and recipe are the
    published ones.

    A profile names it by `published`. It belongs to no generated data, and to no training with
    other settings."""
    settings = member.settings
    if settings.get("published") is None or member.synthetic:
        return None
    return (
        float(settings["published"])
        if settings.get("weights") or not _other_than_recipe(settings)
        else None
    )


def _other_than_recipe(settings: Mapping[str, Any]) -> list[str]:
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.training.config import TrainConfig

    recipe, mine = TrainConfig(encoder_weights="imagenet"), build_config(TrainConfig, settings)
    free = (
        "data_root",
        "datafile",
        "run_dir",
        "device",
        "workers",
        "precision",
        "compile",
        "seed",
        "val_every",
    )
    free += ("save_every", "log_every")
    return [
        name
        for name in vars(recipe)
        if name not in free and getattr(mine, name) != getattr(recipe, name)
    ]


def differing(members: Sequence[Member], same: bool = False) -> list[str]:
    """Return the names of settings that are not the same for all members, or with `same` of those
    that are.
    """
    keys = dict.fromkeys(
        key for member in members for key in member.settings if key not in FREE_KEYS
    )
    return [
        key
        for key in keys
        if (len({_shown(member.settings, key) for member in members}) == 1) == same
    ]


def fraction_points(members: Sequence[Member], scores: pd.DataFrame) -> pd.DataFrame:
    """Return the points of `plot_fractions`; none unless members differ in the number of training
    images alone.
    """
    if scores.empty:
        return pd.DataFrame()
    rows = scores[scores["part"] == "overall"].set_index(["member", "score"])
    known = [
        member
        for member in members
        if member.train_images and (member.name, "iou_present") in rows.index
    ]
    others = [key for key in differing(known) if key not in (*ASIDE, "datafile")]
    if others or len({member.train_images for member in known}) < 2:
        return pd.DataFrame()
    points = []
    for member in known:
        point: dict[str, Any] = {"train_images": member.train_images, "member": member.name}
        for score in ("iou_present", "iou_published"):
            row = rows.loc[(member.name, score)]
            point |= {score: row["value"], f"{score}_low": row["low"], f"{score}_high": row["high"]}
        paper = published_score(member)
        points.append({**point, "paper": math.nan if paper is None else paper})
    return pd.DataFrame(points)


def _sections(
    folder: Path, status: Mapping[str, Any], members: Sequence[Member], scores: pd.DataFrame
) -> Iterator[str]:
    yield heading(folder.name, status["state"])
    yield f'<p class="when">{_when(status)}</p>'
    if any(member.synthetic for member in members):
        yield (
            '<p class="note"><strong>Synthetic data.</strong> The images are generated phantoms: these scores say that '
            "the software works, and nothing about accuracy on patients.</p>"
        )
    yield from (_trouble(member) for member in members)
    yield from (note(step.get("note")) for step in status["steps"])
    yield section("Members", table("".join(map(_member_row, members)), _MEMBER_HEADINGS))
    if not scores.empty:
        yield section("Scores", _score_tables(members, scores))
        points = fraction_points(members, scores)
        yield section("How much the number of training images matters", _fractions(points))
    curves = plot_curves(members)
    yield section("Training", chart(curves, _CURVES) if curves else "")
    if not scores.empty:
        yield section("Scores by view and group of labels", _parts(members, scores))
    yield section("Settings that differ", _settings(members, differing(members), provenance=True))
    yield section("Settings that all share", _settings(members[:1], differing(members, same=True)))


def _when(status: Mapping[str, Any]) -> str:
    start = datetime.fromisoformat(status["start"])
    done = sum(step["state"] == "done" for step in status["steps"])
    return f"started {start:%Y-%m-%d %H:%M} UTC · {done} of {len(status['steps'])} members done"


def _trouble(member: Member) -> str:
    text = "; ".join(
        filter(
            None,
            (member.error if member.state in ("failed", "interrupted") else "", member.trouble),
        )
    )
    state = member.state if member.state in ("failed", "interrupted") else "interrupted"
    return (
        f'<aside class="{state}"><strong>{html.escape(member.name)}</strong><br>{html.escape(text)}</aside>'
        if text
        else ""
    )


_MEMBER_HEADINGS = ("Member", "State", "Time", "Training images", "Epochs", "Files")
_FILES = (
    "notebooks/02_train.html",
    "notebooks/03_evaluate.html",
    "metrics.csv",
    "evaluation/per_label.csv",
)
_FILES += ("checkpoints/best.ckpt", "config.yaml", "environment.txt")


def _member_row(member: Member) -> str:
    name = member.folder.name
    there = [file for file in _FILES if (member.folder / file).is_file()]
    files = " · ".join(link(f"{name}/{file}", file.rpartition("/")[2]) for file in there)
    title = (
        link(f"{name}/index.html", member.name)
        if (member.folder / "index.html").is_file()
        else html.escape(name)
    )
    time = duration(member.seconds) if member.seconds else ""
    images = "unknown" if member.train_images is None else str(member.train_images)
    epochs = "" if member.metrics.empty else str(member.metrics["epoch"].iloc[-1])
    cells = f"<td>{title}</td><td>{state_mark(member.state)}</td>"
    return f"<tr>{cells}{_numbers(time, images, epochs)}<td>{files}</td></tr>"


def _numbers(*texts: str) -> str:
    return "".join(f'<td class="number">{text}</td>' for text in texts)


def _score_tables(members: Sequence[Member], scores: pd.DataFrame) -> str:
    rows = scores[scores["part"] == "overall"].set_index(["member", "score"])
    names = list(dict.fromkeys(scores["member"]))
    values = _table_of(rows, names, lambda row: score_text(row["value"], row["low"], row["high"]))
    about, reference = rows.iloc[0], names[0]
    text = (
        f"Means on {about['images']} test images of {about['patients']} patients, each with its {100 * LEVEL:.0f} % "
        f"interval from {RESAMPLES} bootstrap resamples of the patients. The intervals say how far a score would move "
        "with other patients of the same kind, not how far it would with another training. <em>present</em>: mean over "
        "the labels that occur; <em>published</em>: a label that is absent from prediction and target counts as 0."
    )
    body = values + f'<p class="note">{text}</p>'
    compared = [
        name for name in names[1:] if not math.isnan(rows.loc[(name, "iou_present"), "difference"])
    ]
    if compared:
        body += f"<h3>Difference to {html.escape(reference)}</h3>"
        body += _table_of(rows, compared, _difference)
        body += '<p class="note">Paired: both members on the same resamples. Bold where the interval excludes 0.</p>'
    return body


def _table_of(rows: pd.DataFrame, names: Sequence[str], cell: Any) -> str:
    lines = []
    for name in names:
        cells = _numbers(*(cell(rows.loc[(name, score)]) for score in SCORES))
        lines.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return table("".join(lines), ("Member", *(TITLES[score] for score in SCORES)), numbers=True)


def _difference(row: pd.Series) -> str:
    text = score_text(row["difference"], row["difference_low"], row["difference_high"], "+")
    return (
        f"<strong>{text}</strong>"
        if row["difference_low"] > 0 or row["difference_high"] < 0
        else text
    )


def _fractions(points: pd.DataFrame) -> str:
    if points.empty:
        return ""
    text = _FRACTIONS + (
        ""
        if points["paper"].isna().all()
        else " Crosses: the figures in the paper, not measured here."
    )
    return chart(plot_fractions(points), text, narrow=True)


def _parts(members: Sequence[Member], scores: pd.DataFrame) -> str:
    """Show a figure of one score, and a table of both conventions, for each view and group."""
    chosen = scores[scores["score"].isin(["iou_present", "iou_published"])].set_index(
        ["part", "member", "score"]
    )
    names, parts = list(dict.fromkeys(scores["member"])), list(dict.fromkeys(scores["part"]))
    lines = []
    for score in ("iou_present", "iou_published"):
        for part in parts:
            rows = [
                chosen.loc[(part, name, score)] if (part, name, score) in chosen.index else None
                for name in names
            ]
            texts = (
                "–" if row is None else score_text(row["value"], row["low"], row["high"])
                for row in rows
            )
            label = f"{html.escape(part.replace('_', ' '))}, {TITLES[score]}"
            lines.append(f"<tr><td>{label}</td>{_numbers(*texts)}</tr>")
    return chart(plot_parts(members, scores), _PARTS) + table(
        "".join(lines), ("Part", *names), numbers=True
    )


def _settings(members: Sequence[Member], keys: Sequence[str], provenance: bool = False) -> str:
    rows = [(key, [_shown(member.settings, key) for member in members]) for key in keys]
    if provenance:
        for key, title in (("git", "code (git)"), ("data", "data")):
            values = [member.provenance.get(key, "–") for member in members]
            rows += [(title, values)] if len(set(values) - {"–"}) > 1 else []
    lines = []
    for key, values in rows:
        cells = "".join(f"<td><code>{html.escape(value)}</code></td>" for value in values)
        lines.append(f"<tr><td>{html.escape(key)}</td>{cells}</tr>")
    names = tuple(member.name for member in members) if provenance else ("Value",)
    return table("".join(lines), ("Setting", *names)) if lines else "<p>None.</p>"


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


_CURVES = (
    "Left the training loss, right the validation score, by epoch. A member that learned enough is flat at the end; a "
    "loss that still falls while the score does not rise is overfitting."
)
_PARTS = (
    "Points: the mean over the labels of a group that occur; lines: the 95 % interval over patients. Where the lines "
    "of two members overlap, look at the paired differences before saying that one is better."
)
_FRACTIONS = (
    "Mean IoU on the same test images against the number of training images (logarithmic), under both conventions, "
    "with 95 % intervals over patients. The steeper the line is on the right, the more would further images bring."
)
_FOOTER = (
    f"The same for programs: {link('sweep.json', 'sweep.json')}, {link('scores.csv', 'scores.csv')}; "
    f"{link('status.json', 'status.json')} is the current state. Each member's folder holds its settings, environment, "
    "git state, the data's fingerprint and its logs."
)
