"""Tables of measurements over predictions and data sets."""

import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images import VIEWS, read_image, read_view
from paxray_lib.images.image import PIXEL_MM, possible_spacing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.definitions import describe_columns
from paxray_lib.measurement.geometry import COUNTS, HEIGHTS, WIDTHS, measure
from paxray_lib.prediction.pipeline import DEFINITIONS_FILE, MEASUREMENTS
from paxray_lib.prediction.predict import read_settings
from paxray_lib.utils import (
    Pace,
    check_choice,
    map_ahead,
    progress,
    read_table,
    write_table,
    write_text,
)
from paxray_lib.utils.manifest import is_unchanged, read_manifest

_ABOUT = ("view", "problem", "spacing_from", "row_mm", "column_mm")
FLAGGED = "not measured, for it is flagged"
_ONE_AT_A_TIME = threading.Lock()  # masks of a large image take 2 GB


def format_measurements(values: Mapping[str, float]) -> list[str]:
    """Return one line of text per measurement that is not NaN, in mm where the spacing is known.

    Parameters
    ----------
    values : from `measure`
    """
    lines = [f"ctr {values['ctr']:.2f}", *(f"{name} {values[name]:.0f}" for name in COUNTS)]
    for name in (*WIDTHS, *HEIGHTS):
        unit = "px" if math.isnan(values[f"{name}_mm"]) else "mm"
        lines.append(f"{name} {values[f'{name}_{unit}']:z.0f} {unit}")
    return [line.replace("_", " ") for line in lines if "nan" not in line]


# -- the outputs of a prediction


def measure_predictions(
    out: str | os.PathLike,
    report: pd.DataFrame,
    view: str | None = None,
    *,
    views: Mapping[str, str | None] | None = None,
    spacing_mm: float | None = None,
    doubtful: bool = False,
) -> pd.DataFrame:
    """Measure the outputs of `predict`, and write `measurements.csv` into their folder.

    `measurements.md` beside it says what the columns are.

    Parameters
    ----------
    out : folder of the predictions, of any format
    report : what `predict` returned
    view : "frontal" or "lateral" for the images that do not say theirs by header or name; where
        this is not given either, the view that the report says, which may have been recognized
    views : {file: view} of what is known better than by header or name, as of the entries of a
        data set
    doubtful : measure also what the report's column `flags` says is no upright film of a chest
    spacing_mm : distance of pixel centres for the images that do not say theirs

    Returns
    -------
    DataFrame
        One row per input: file, output, view, problem, the spacing and what told it, and the
        columns of `measure`; all of them empty for an input without an output. `problem` says why
        an output could not be measured, or not in millimetres. Rows of an earlier call without a
        problem are kept where their output is older than the table, and view and spacing are the
        same.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no predictions, or a view is unknown, or no film has that spacing.
    """
    known = views or {}
    for name in [name for name in {*known.values(), view} if name is not None]:
        check_choice(name, VIEWS, "view")
    check_spacing(spacing_mm)
    out = Path(out)
    labels = predicted_labels(out)
    earlier, made_from = _earlier_rows(out), read_manifest(out)

    def row_of(item: tuple[str, str, str, str]) -> dict[str, Any]:
        file, output, recognized, flags = item
        if not output:
            return {"file": file}
        row = {"file": file, "output": output, "view": None, "problem": None}
        try:
            row["view"] = known.get(file) or read_view(file) or view or recognized or None
            flagged = flags and not doubtful
            kept = earlier.get((file, output))
            if kept and not flagged and _is_kept(kept, row["view"], spacing_mm):
                return kept
            states = made_from.get(output, {"sources": {}})["sources"].values()
            if not all(is_unchanged(file, state) for state in states):
                raise ValueError(f"{file}: changed since it was predicted; predict it again")
            row |= _measure_file(out / output, labels, file, row["view"], spacing_mm)
            return _without_numbers(row, flags) if flagged else row
        except (ValueError, OSError) as error:
            return row | {"problem": str(error)}

    none = pd.Series("", report.index)
    told = [report.get(name, none).astype(object).fillna("") for name in ("view", "flags")]
    items = list(zip(report["file"], report["output"], *told, strict=True))
    rows: list[dict[str, Any]] = []
    pace = Pace(wait_s=5)
    for row in progress(map_ahead(row_of, items), "measuring", len(items)):
        rows.append(row)
        pace.call(lambda: _write(out, rows))
    write_text(out / DEFINITIONS_FILE, describe_columns())
    return _write(out, rows)


def check_spacing(spacing_mm: float | None) -> None:
    """Raise ValueError for a distance of pixels that no X-ray film has."""
    if spacing_mm is not None and not possible_spacing((spacing_mm, spacing_mm), (1, 1))[0]:
        low, high = PIXEL_MM
        raise ValueError(f"spacing {spacing_mm:g} mm: pixels of a film have {low:g} to {high:g} mm")


def predicted_labels(out: Path) -> LabelSet:
    """Return the labels of the predictions in a folder; ValueError if its settings have none."""
    labels = read_settings(out).get("labels")
    if not isinstance(labels, list):
        raise ValueError(f"{out}: its settings name no labels; predict into another folder")
    return LabelSet(labels)


def _measure_file(
    path: Path, labels: LabelSet, file: str, view: str | None, given_mm: float | None
) -> dict[str, Any]:
    """Return the measurements of an output; without millimetres, and why, if no spacing can be."""
    image = read_image(file)
    spacing, doubt, origin = image.spacing_mm, image.doubt, "file" if image.spacing_mm else None
    if given_mm and not spacing:
        spacing, doubt = possible_spacing((given_mm, given_mm), image.pixels.shape)
        origin = "given" if spacing else None
    del image
    with _ONE_AT_A_TIME:
        measured = measure(PackedMasks.read(path, labels), view, spacing)
    row, column = spacing or (math.nan, math.nan)
    about = {"spacing_from": origin, "row_mm": row, "column_mm": column}
    return {"problem": f"{file}: {doubt}" if doubt else None, **about, **measured}


def _without_numbers(row: dict[str, Any], flags: str) -> dict[str, Any]:
    """Return a row of a flagged film without its measurements, and with that reason."""
    about = {name: row[name] for name in (*_ABOUT, "file", "output")}
    reason = f"{FLAGGED} {', '.join(flags.split()).replace('_', ' ')}"
    before = f"{row['problem']}; " if row["problem"] else f"{row['file']}: "
    return about | {"problem": before + reason}


def _is_kept(row: Mapping[str, Any], view: str | None, given_mm: float | None) -> bool:
    """Tell whether a row of an earlier table was measured with this view and spacing."""
    if row["view"] != view:
        return False
    if row["spacing_from"] == "given":
        return given_mm is not None and math.isclose(row["row_mm"], given_mm, rel_tol=1e-5)
    return row["spacing_from"] == "file" or given_mm is None


def _earlier_rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of an earlier table that are newer than their output, by file and output."""
    path = out / MEASUREMENTS
    if not os.path.lexists(path):
        return {}
    table = read_table(path)
    if list(table.columns) != _columns():
        return {}
    made = path.stat().st_mtime_ns
    if made > time.time_ns():  # the clock was set back: the order of times says nothing
        return {}
    rows = {}
    for row in table[table["output"].notna() & table["problem"].isna()].to_dict("records"):
        output = out / row["output"]
        if os.path.isfile(output) and output.stat().st_mtime_ns < made:
            row |= {name: None for name in ("view", "spacing_from") if pd.isna(row[name])}
            rows[row["file"], row["output"]] = row
    return rows


def _columns() -> list[str]:
    empty = PackedMasks(np.zeros((1, 1, 1), np.uint8), LabelSet(["heart"]))
    return ["file", "output", *_ABOUT, *measure(empty, None)]


def _write(out: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=_columns())
    write_table(out / MEASUREMENTS, table, float_format="%.6g")
    return table


def failures(table: pd.DataFrame) -> list[str]:
    """Return why outputs in a table of `measure_predictions` failed; a flagged film is none."""
    return [text for text in table["problem"].dropna() if f": {FLAGGED} " not in text]


def without_view(table: pd.DataFrame) -> int:
    """Return how many outputs in a table of `measure_predictions` have no view, hence no widths.

    A flagged film that was not measured is none of them.
    """
    flagged = table["problem"].astype(str).str.contains(FLAGGED, regex=False)
    return int((table["output"].notna() & table["view"].isna() & ~flagged).sum())


# -- against the reference masks


def ctr_pairs(measured: pd.DataFrame, dataset: PaxrayDataset) -> pd.DataFrame:
    """Return the cardiothoracic ratio in predicted masks and in a data set's own masks.

    Parameters
    ----------
    measured : from `measure_predictions`
    dataset : the split that the measured images may be of

    Returns
    -------
    DataFrame
        One row per measured frontal image of the split with masks: image (its name), true,
        predicted, error (predicted less true); NaN where there is no heart or lung. Empty for
        images that are not of the split.
    """
    done = measured[measured["output"].notna()]
    predicted = dict(zip(done["file"], done["ctr"], strict=True))
    rows = []
    for i, entry in enumerate(dataset.entries):
        file = str(dataset.image_path(i))
        if file in predicted and dataset.datafile.view(entry) == "frontal":
            masks = dataset.masks(i)
            if masks is not None:
                rows.append((Path(file).name, measure(masks, "frontal")["ctr"], predicted[file]))
    table = pd.DataFrame(rows, columns=["image", "true", "predicted"])
    return table.assign(error=table["predicted"] - table["true"])


def agreement(pairs: pd.DataFrame) -> dict[str, float]:
    """Return images (with both values), bias and mean_absolute_error of pairs from `ctr_pairs`.

    The bias is the mean error, as Bland and Altman define it (Statistical methods for assessing
    agreement between two methods of clinical measurement, Lancet 327, 307, 1986).

    >>> agreement(pd.DataFrame({"error": [0.25, -0.5, math.nan]}))
    {'images': 2, 'bias': -0.125, 'mean_absolute_error': 0.375}
    """
    errors = pairs["error"].dropna()
    return {
        "images": len(errors),
        "bias": float(errors.mean()),
        "mean_absolute_error": float(errors.abs().mean()),
    }
