"""What is known of each film of a prediction, as lines of JSON for programs."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.measurement.definitions import ABOUT_COLUMNS
from paxray_lib.prediction.doubt import SIGNS


def json_lines(
    out: str | os.PathLike, report: pd.DataFrame, measured: pd.DataFrame
) -> Iterator[str]:
    """Yield one JSON object per film, in the order of the report, each on one line of ASCII.

    Keys: file, output (a path below `out`), status, reason; height, width, view, view_probability,
    flags (a list), doubt, signs (an object); spacing_mm ([row, column]), measurements (an object;
    empty if there are none), and problem, why it was not measured. What is not known is null.

    Parameters
    ----------
    out : folder of the predictions
    report : what `predict` returned
    measured : from `measure_predictions`
    """
    rows = {row["file"]: row for row in measured.to_dict("records")}
    for row in report.to_dict("records"):
        yield json.dumps(_film(Path(out), row, rows.get(row["file"], {})), allow_nan=False)


def _film(out: Path, row: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: _plain(value) for name, value in measured.items() if name not in ABOUT_COLUMNS}
    spacing = [_plain(measured.get(name)) for name in ("row_mm", "column_mm")]
    return {
        "file": row["file"],
        "output": str(out / row["output"]) if row["output"] else None,
        "status": row["status"],
        "reason": row["reason"],
        "height": _plain(row["height"]),
        "width": _plain(row["width"]),
        "view": row["view"] or None,
        "view_probability": _plain(row["view_probability"]),
        "flags": row["flags"].split(),
        "doubt": _plain(row["doubt"]),
        "signs": {name: _plain(row[name]) for name in SIGNS},
        "spacing_mm": None if None in spacing else spacing,
        "measurements": {} if set(numbers.values()) == {None} else numbers,
        "problem": _plain(measured.get("problem")),
    }


def _plain(value: Any) -> Any:
    """Return a cell of a table as JSON knows it: None for what is missing, and Python's numbers."""
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
