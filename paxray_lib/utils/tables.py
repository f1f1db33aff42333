"""CSV tables that a spreadsheet opens without running anything.

A text that begins with `=`, `+`, `-`, `@`, a tab or a line end would be a formula there (OWASP,
"CSV injection"): it is written with an apostrophe before it, which `read_table` takes off again.
"""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import check_file, write_text

if TYPE_CHECKING:  # pandas takes a while to import
    from pandas import DataFrame

_SPECIAL = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def write_table(
    path: str | os.PathLike, table: "DataFrame", float_format: str | None = None
) -> None:
    """Write a table as CSV, whole or not at all."""
    write_text(Path(path), table_text(table, float_format))


def table_text(table: "DataFrame", float_format: str | None = None) -> str:
    """Return the text of a table's CSV file."""
    safe = table.map(_guarded)
    # a carriage return ends a line, too, for spreadsheets; by itself it would not be quoted
    has_returns = safe.map(lambda value: isinstance(value, str) and "\r" in value).any(axis=None)
    quoting = csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
    return safe.to_csv(index=False, float_format=float_format, lineterminator="\n", quoting=quoting)


def read_table(path: str | os.PathLike, *, as_text: bool = False) -> "DataFrame":
    """Read a table of `write_table`; only empty cells are missing values.

    With `as_text` all cells are text, as it stands there, and empty ones are empty texts.
    ValueError, naming the file, if it is no CSV.
    """
    import pandas as pd

    path = check_file(path)
    with naming_errors(path, "not a readable table"):
        options: dict[str, Any] = {"dtype": str} if as_text else {"na_values": [""]}
        table = pd.read_csv(path, keep_default_na=False, **options)
    return table.map(lambda value: value[1:] if _is_guarded(value) else value)


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_SPECIAL) else value


def _is_guarded(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("'") and value[1:].startswith(_SPECIAL)
