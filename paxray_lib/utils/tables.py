"""CSV tables that a spreadsheet opens without running anything.

A text that begins with `=`, `+`, `-`, `@`, a tab or a line end would be a formula there (OWASP,
"CSV injection"): it is written with an apostrophe before it, which `read_table` takes off again.
"""

import os
from typing import TYPE_CHECKING, Any

from paxray_lib.utils.files import atomic_write, check_file

if TYPE_CHECKING:  # pandas takes a while to import
    from pandas import DataFrame

_SPECIAL = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def write_table(
    path: str | os.PathLike, table: "DataFrame", float_format: str | None = None
) -> None:
    """Write a table as CSV, whole or not at all."""
    safe = table.map(_guarded)
    with atomic_write(path) as temporary:
        safe.to_csv(temporary, index=False, float_format=float_format)


def read_table(path: str | os.PathLike) -> "DataFrame":
    """Read a table of `write_table`; only empty cells are missing values.

    ValueError, naming the file, if it is no CSV.
    """
    import pandas as pd

    try:
        table = pd.read_csv(check_file(path), keep_default_na=False, na_values=[""])
    except ValueError as error:  # the class of all errors of pandas's parser
        raise ValueError(f"{path}: not a readable table ({error}); make it again") from error
    return table.map(lambda value: value[1:] if _is_guarded(value) else value)


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_SPECIAL) else value


def _is_guarded(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("'") and value[1:].startswith(_SPECIAL)
