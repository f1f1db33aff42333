"""Tables of measurements over predictions and data sets."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.read import read_image, read_view
from paxray_lib.images.views import check_view
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import COUNTS, HEIGHTS, MEASUREMENTS, WIDTHS, measure
from paxray_lib.utils.files import atomic_write
from paxray_lib.utils.progress import map_ahead, progress

_WRITE_EVERY_S = 5.0


def format_measurements(values: Mapping[str, float]) -> list[str]:
    """Return one line of text for each measurement that is there, in mm where the spacing is
    known.
    """
    lines = [
        f"{name} {values[name]:.{digits}f}"
        for name, digits in (("ctr", 2), *((n, 0) for n in COUNTS))
    ]
    for name in (*WIDTHS, *HEIGHTS):
        unit = "px" if math.isnan(values[f"{name}_mm"]) else "mm"
        lines.append(f"{name} {values[f'{name}_{unit}']:z.0f} {unit}")
    return [line.replace("_", " ") for line in lines if "nan" not in line]


# -- the outputs of a prediction


def check_measurable(format: str) -> None:
    """Raise ValueError for a format of predictions that cannot be read back to be measured."""
    if format == "dicom-seg":
        raise ValueError(
            "outputs of the format dicom-seg cannot be measured; use packed, npy or coco"
        )


def measure_predictions(
    out: str | os.PathLike, report: pd.DataFrame, view: str | Mapping[str, str | None] | None = None
) -> pd.DataFrame:
    """Measure the outputs of `predict`, and write `measurements.csv` into their folder, one row an
    input.

    Parameters
    ----------
    out : folder of the predictions
    report : what `predict` returned
    view : "frontal" or "lateral" for the images that do not say theirs by header or name; or {file:
    view} of what is
        known better than that, as of the entries of a data set

    Returns
    -------
    DataFrame
        file, output, view, and the columns of `measure`; all of them empty for an input without an
        output. Rows of an earlier call are kept where their output is older than the table and the
        view is the same.

    Raises
    ------
    ValueError
        If the outputs are of a format that cannot be read back (dicom-seg), or damaged, or a view
        is unknown.
    """
    views = view if isinstance(view, Mapping) else {}
    default = None if isinstance(view, Mapping) else view
    for name in {*views.values(), default} - {None}:
        check_view(name)
    out = Path(out)
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    check_measurable(settings["format"])
    labels = LabelSet(settings["labels"])
    known = _known_rows(out)
    rows = []
    written = time.monotonic()

    def row_of(place: tuple[str, str]) -> dict:
        file, output = place
        if not output:
            return {"file": file}
        seen = views.get(file) or read_view(file) or default
        row = known.get(place)
        return row if row and row["view"] == seen else _measured(out, labels, file, output, seen)

    places = [(row.file, row.output) for row in report.itertuples()]
    work = map_ahead(row_of, places)
    for row in progress(work, "measuring", len(places)):
        rows.append(row)
        if time.monotonic() - written > _WRITE_EVERY_S:
            _write(out, rows)
            written = time.monotonic()
    return _write(out, rows)


def _known_rows(out: Path) -> dict[tuple[str, str], dict]:
    """Return the rows of an earlier table that are newer than their output, by file and output."""
    path = out / MEASUREMENTS
    if not path.is_file():
        return {}
    table, made = pd.read_csv(path, keep_default_na=False, na_values=[""]), path.stat().st_mtime_ns
    rows = table[table["output"].notna()].to_dict("records")
    for row in rows:
        row["view"] = None if pd.isna(row["view"]) else row["view"]
    return {
        (row["file"], row["output"]): row for row in rows if _is_older(out / row["output"], made)
    }


def _is_older(path: Path, than_ns: int) -> bool:
    return path.is_file() and path.stat().st_mtime_ns < than_ns


def _measured(out: Path, labels: LabelSet, file: str, output: str, view: str | None) -> dict:
    masks = PackedMasks.read(out / output, labels)
    return {
        "file": file,
        "output": output,
        "view": view,
        **measure(masks, view, read_image(file).spacing_mm),
    }


def _write(out: Path, rows: list[dict]) -> pd.DataFrame:
    empty = PackedMasks(np.zeros((1, 1, 1), np.uint8), LabelSet(["heart"]))
    table = pd.DataFrame(rows, columns=["file", "output", "view", *measure(empty, None)])
    with atomic_write(out / MEASUREMENTS) as path:
        table.to_csv(path, index=False, float_format="%.6g")
    return table


def without_view(table: pd.DataFrame) -> int:
    """Return how many outputs in a table of `measure_predictions` have no known view, and so no
    widths.
    """
    return int((table["output"].notna() & table["view"].isna()).sum())


# -- against the reference masks


def ctr_pairs(measured: pd.DataFrame, dataset: PaxrayDataset) -> pd.DataFrame:
    """Return the cardiothoracic ratio in predicted masks beside that in a data set's own masks.

    Parameters
    ----------
    measured : from `measure_predictions`
    dataset : the split that the measured images may be of

    Returns
    -------
    DataFrame
        One row for each measured frontal image of the split with masks: image (its name), true,
        predicted, error (predicted less true); NaN where there is no heart or lung. Empty for
        images that are not of the split.
    """
    done = measured[measured["output"].notna()]
    found = dict(zip(done["file"], done["ctr"], strict=True))
    rows = []
    for i, entry in enumerate(dataset.entries):
        file = str(dataset.image_path(i))
        if file in found and entry.target and dataset.datafile.view(entry) == "frontal":
            true, predicted = measure(dataset.masks(i), "frontal")["ctr"], found[file]
            rows.append((Path(file).name, true, predicted, predicted - true))
    return pd.DataFrame(rows, columns=["image", "true", "predicted", "error"])


def agreement(pairs: pd.DataFrame) -> dict[str, float]:
    """Return images (with both values), bias (mean error) and mean_absolute_error of pairs from
    `ctr_pairs`.

    >>> agreement(pd.DataFrame({"error": [0.25, -0.5, math.nan]}))
    {'images': 2, 'bias': -0.125, 'mean_absolute_error': 0.375}
    """
    errors = pairs["error"].dropna()
    return {
        "images": len(errors),
        "bias": float(errors.mean()),
        "mean_absolute_error": float(errors.abs().mean()),
    }
