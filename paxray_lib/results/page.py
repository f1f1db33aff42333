"""One page of all films of a prediction: thumbnails, measurements, and what is doubtful.

It is one file, with styles and pictures inside, and opens without a network.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.labels import CHECK_MARKS, LabelSet
from paxray_lib.measurement.definitions import DEFINITIONS, GENERAL
from paxray_lib.prediction.doubt import SIGNS, by_doubt
from paxray_lib.prediction.pipeline import PAGE
from paxray_lib.prediction.predict import common_folder, read_settings
from paxray_lib.results.overlays import Picture, chosen_labels
from paxray_lib.runs.pages import render
from paxray_lib.utils import write_text

#: Films on the page and on the sheet: a page of more opens slowly, and is too large to send.
MOST_FILMS = 1000
_TEMPLATES = Path(__file__).with_name("templates")
#: Columns of the page: a title, and the measurements in it, all of one unit.
COLUMNS = {
    "Cardio\u00adthoracic ratio": ("ctr",),
    "Heart width": ("heart_width",),
    "Thorax width": ("thorax_width",),
    "Heart area": ("heart_area",),
    "Lung area, right / left": ("lung_right_area", "lung_left_area"),
    "Right ribs above diaphragm, front / back": ("ribs_anterior", "ribs_posterior"),
    "From the spine: heart / airways / ribs": (
        *("heart_to_spine", "airways_to_spine", "ribs_to_spine"),
    ),
}


def write_page(
    out: str | os.PathLike,
    report: pd.DataFrame,
    measured: pd.DataFrame,
    pictures: Mapping[str, Picture],
    names: list[str] | None = None,
) -> Path:
    """Write `report.html` into the folder of a prediction; return its path.

    Parameters
    ----------
    out : folder of the predictions
    report : what `predict` returned; films are in the order of `by_doubt` if any has a doubt, else
        of their names; of more than `MOST_FILMS` these are the first
    measured : from `measure_predictions`
    pictures : from `draw_predictions`
    names : of the labels that were drawn, as there
    """
    out = Path(out)
    settings = read_settings(out)
    labels = LabelSet(settings["labels"])
    films = films_of(report, measured, pictures)
    base = common_folder(report["file"])
    failed = report[report["status"] == "failed"]
    with_masks = int((report["output"].fillna("") != "").sum())
    page = render(
        "predictions.html",
        folder=_TEMPLATES,
        kind="PAXRay masks",
        name=out.resolve().name,
        settings=settings,
        films=films,
        with_masks=with_masks,
        failed=[_short(row.reason, row.file, base) for row in failed[:MOST_FILMS].itertuples()],
        failures=len(failed),
        pending=int((report["status"] == "pending").sum()),
        columns=[title for title in COLUMNS if any(film["cells"][title] for film in films)],
        is_ranked=is_ranked(report),
        has_flags=any(film["flags"] for film in films),
        structures=[
            (labels.display_names[i] + CHECK_MARKS[labels.checked[i]], labels.colors[i].tolist())
            for i in chosen_labels(labels, names)
        ],
        embedded=sum(4 * len(film["picture"].thumbnail) // 3 for film in films),
        definitions=DEFINITIONS,
        general=GENERAL,
    )
    write_text(out / PAGE, page)
    return out / PAGE


def films_of(
    report: pd.DataFrame, measured: pd.DataFrame, pictures: Mapping[str, Picture]
) -> list[dict[str, Any]]:
    """Return what is said of each film with masks, in the order of `write_page`.

    The keys are name, picture, view, spacing, is_given, doubt, signs, flags, notes, and cells: the
    text of each of `COLUMNS`.
    """
    shown = in_order(report)
    by_file = {
        row["file"]: row
        for row in measured[measured["file"].isin(shown["file"])].to_dict("records")
    }
    base = common_folder(report["file"])
    return [
        _film(row, by_file.get(row["file"], {}), pictures[row["file"]], base)
        for row in shown.to_dict("records")
        if row["file"] in pictures
    ]


def in_order(report: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the films on the page, in their order: at most `MOST_FILMS`."""
    by_name = report.sort_values("file", kind="stable")
    by_name = by_name[by_name["output"].fillna("") != ""]
    return (by_doubt(by_name) if is_ranked(report) else by_name)[:MOST_FILMS]


def is_ranked(report: pd.DataFrame) -> bool:
    """Tell whether any film has a number of doubt, by which films are in order."""
    return bool(report["doubt"].notna().any())


def _film(
    row: Mapping[str, Any], measured: Mapping[str, Any], picture: Picture, base: str
) -> dict[str, Any]:
    """Return what the page says of one film."""
    file = row["file"]
    said = [_text(measured.get("problem")), picture.problem, _text(row["reason"])]
    said[2:] = [] if row["status"] != "ok" or said[2] in said[0] else said[2:]
    return {
        "name": os.path.relpath(file, base),
        "picture": picture,
        "view": _text(measured.get("view")),
        "spacing": [measured.get("row_mm", math.nan), measured.get("column_mm", math.nan)],
        "is_given": measured.get("spacing_from") == "given",
        "doubt": _or(row["doubt"], None),
        "signs": ", ".join(f"{name.replace('_', ' ')} {row[name]}" for name in SIGNS),
        "flags": _text(row["flags"]).replace("_", " "),
        "notes": [_short(text.removeprefix(f"{file}: "), file, base) for text in said if text],
        "cells": {title: _cell(measured, names) for title, names in COLUMNS.items()},
    }


def _cell(measured: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return measurements of one unit as text, in millimetres or cm² where that is known."""
    for suffix, unit, divisor, digits in _units(names[0]):
        values = [_or(measured.get(f"{name}{suffix}"), math.nan) / divisor for name in names]
        if not all(map(math.isnan, values)):
            texts = ["–" if math.isnan(value) else f"{value:z,.{digits}f}" for value in values]
            return " / ".join(texts) + unit.replace(" ", "\u00a0")
    return ""


def _units(name: str) -> Iterator[tuple[str, str, float, int]]:
    """Yield suffix, unit, divisor and digits by which a measurement is shown, the best first."""
    if name.endswith("_area"):
        yield "_mm2", " cm²", 100.0, 0
    elif name != "ctr" and not name.startswith("ribs_ant"):
        yield "_mm", " mm", 1.0, 0
    yield "_px", " px", 1.0, 0
    yield "", "", 1.0, 2 if name == "ctr" else 0


def _or(value: Any, default: Any) -> Any:
    return default if value is None or pd.isna(value) else value


def _text(value: Any) -> str:
    return str(_or(value, ""))


def _short(text: str, file: str, base: str) -> str:
    """Return a reason with a file's name in place of its whole path."""
    return text.replace(file, os.path.relpath(file, base))
