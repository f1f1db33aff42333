"""The page that compares the members of a sweep, and the same numbers for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.metrics.bootstrap import LEVEL, RESAMPLES, SEED
from paxray_lib.runs.pages import render
from paxray_lib.runs.provenance import FREE_KEYS, write_record
from paxray_lib.runs.sweep_plots import plot_curves, plot_fractions, plot_parts
from paxray_lib.runs.sweep_scores import SCORES, Member, score_table
from paxray_lib.utils.tables import table_text
from paxray_lib.viz.plots.style import score_title

# Settings that say nothing of how a model was made.
ASIDE = (*FREE_KEYS, "published", "notebooks", "shown", "device", "workers")
_PAGES = ("notebooks/02_train.html", "notebooks/03_evaluate.html")
_TABLES = ("metrics.csv", "evaluation/per_label.csv")
_FILES = (*_PAGES, *_TABLES, "checkpoints/best.ckpt", "config.yaml", "environment.txt")
# Fields of TrainConfig that may differ from the published recipe.
_EVERY = ("val_every", "save_every", "log_every")
_FREE_FIELDS = (*ASIDE, *_EVERY, "data_root", "datafile", "precision", "compile", "seed")


def write_comparison(folder: Path, status: Mapping[str, Any], members: Sequence[Member]) -> Path:
    """Write index.html, sweep.json and scores.csv of a sweep, and return the page's path.

    `status` is as `runs.status.read_status` returns it; the members are in the profiles' order.
    """
    scores = score_table(members)
    content = _describe(status, members, scores)
    write_record(folder, "sweep.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_record(folder, "scores.csv", table_text(scores, "%.6f"))
    rows = {(row["part"], row["score"], row["member"]): row for row in content["scores"]}
    scored = scores["member"].unique().tolist()
    overall = {name: rows["overall", "iou_present", name] for name in scored}
    points = fraction_points(members, scores)
    page = render(
        "sweep.html",
        kind="PAXRay sweep",
        name=folder.name,
        status=status,
        started=f"{datetime.fromisoformat(status['start']):%Y-%m-%d %H:%M}",
        members=[_describe_member(member) for member in members],
        interval={"level": f"{100 * LEVEL:.0f}", "resamples": RESAMPLES},
        rows=rows,
        score_names={score: score_title(score) for score in SCORES},
        scored=scored,
        compared=[name for name in scored[1:] if overall[name]["difference"] is not None],
        parts=scores["part"].unique().tolist(),
        parts_chart=plot_parts(scores, [m.name for m in members]) if scored else None,
        curves=plot_curves({member.name: member.metrics for member in members}),
        fractions=None if points.empty else plot_fractions(points),
        has_published=not points.empty and points["paper"].notna().any(),
        differing=_settings(members, differing(members)) + _origins(members),
        shared=_settings(members[:1], differing(members, same=True)),
    )
    return write_record(folder, "index.html", page)


def _describe(
    status: Mapping[str, Any], members: Sequence[Member], scores: pd.DataFrame
) -> dict[str, Any]:
    """Return what sweep.json holds; what is unknown is null.

    reference: the member that others are compared with; published: the published mean IoU in
    percent, where it belongs; scores: the rows of `score_table`.
    """
    return {
        "state": status["state"],
        "reference": None if scores.empty else scores["member"].iloc[0],
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "unit": "patient"},
        "members": [
            {
                "name": member.name,
                "folder": member.folder.name,
                **{key: getattr(member, key) for key in ("state", "error", "seconds")},
                "settings": dict(member.settings),
                **{key: member.provenance.get(key) for key in ("git", "data")},
                **{key: getattr(member, key) for key in ("train_images", "synthetic")},
                "published": published_score(member),
                "trouble": member.trouble or None,
            }
            for member in members
        ],
        "scores": scores.astype(object).where(scores.notna(), None).to_dict("records"),
    }


def published_score(member: Member) -> float | None:
    """Return the published mean IoU in percent that a profile names as `published`.

    None if data or recipe are not the published ones: it belongs to no generated data, and to no
    training with other settings.
    """
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.training.config import TrainConfig

    settings = member.settings
    if settings.get("published") is None or member.synthetic:
        return None
    recipe, own = TrainConfig(encoder_weights="imagenet"), build_config(TrainConfig, settings)
    fields = vars(recipe).keys() - set(_FREE_FIELDS)
    as_published = all(getattr(own, name) == getattr(recipe, name) for name in fields)
    return float(settings["published"]) if as_published or settings.get("weights") else None


def differing(members: Sequence[Member], same: bool = False) -> list[str]:
    """Return the settings that are not the same for all members, or with `same` those that are."""
    keys = dict.fromkeys(key for member in members for key in member.settings)
    return [
        key
        for key in keys
        if key not in FREE_KEYS
        and (len({_shown(member.settings, key) for member in members}) == 1) == same
    ]


def fraction_points(members: Sequence[Member], scores: pd.DataFrame) -> pd.DataFrame:
    """Return the points of `plot_fractions`; none unless members differ in these images alone."""
    rows = scores[scores["part"] == "overall"].set_index(["member", "score"])
    known = [m for m in members if m.train_images and (m.name, "iou_present") in rows.index]
    others = [key for key in differing(known) if key not in (*ASIDE, "datafile")]
    if others or len({member.train_images for member in known}) < 2:
        return pd.DataFrame()
    points = []
    for member in known:
        paper = published_score(member)
        point = {"train_images": member.train_images, "member": member.name, "paper": paper}
        for score in ("iou_present", "iou_published"):
            row = rows.loc[(member.name, score)]
            point |= {score: row["value"], f"{score}_low": row["low"], f"{score}_high": row["high"]}
        points.append(point)
    return pd.DataFrame(points).astype({"paper": float})


def _describe_member(member: Member) -> dict[str, Any]:
    """Return what the page says of a member."""
    stopped = member.state in ("failed", "interrupted")
    complaints = [member.error if stopped else None, member.trouble]
    files = [file for file in ("index.html", *_FILES) if (member.folder / file).is_file()]
    links = {f"{member.folder.name}/{file}": Path(file).name for file in files}
    page = f"{member.folder.name}/index.html"
    return {
        **vars(member),
        "page": page if links.pop(page, None) else None,
        "files": list(links.items()),
        "epochs": "" if member.metrics.empty else member.metrics["epoch"].iloc[-1],
        "complaint": "; ".join(filter(None, complaints)),
    }


def _settings(members: Sequence[Member], keys: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return each key with its value per member."""
    return [(key, [_shown(member.settings, key) for member in members]) for key in keys]


def _origins(members: Sequence[Member]) -> list[tuple[str, list[str]]]:
    """Return code and data per member, where they are known and differ."""
    rows = [
        (title, [member.provenance.get(key, "–") for member in members])
        for key, title in (("git", "code (git)"), ("data", "data"))
    ]
    return [(title, values) for title, values in rows if len(set(values) - {"–"}) > 1]


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"
