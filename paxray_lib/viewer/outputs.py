"""What a folder of predictions, or a table of scores, has of the viewer's images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from paxray_lib.masks import MASK_SUFFIXES
from paxray_lib.prediction.pipeline import REPORT
from paxray_lib.utils import read_table


def find_masks(
    folder: str | os.PathLike, root: str | os.PathLike, images: Sequence[Path], source: str
) -> list[Path | None]:
    """Return the mask file of each image, at its path in a folder or directly in it, or None.

    The suffix is replaced (`a/s.pxm`) or added (`a/s.png.pxm`), as `predict` names its output. If
    nothing is found so, images of several folders were predicted together: then their outputs lie
    below the names of folders, of `root` and those above it (`sample/a/s.pxm`).

    Parameters
    ----------
    root : folder of the images
    images : their paths below it
    source : what None for all images is a ValueError of
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of predictions")
    above = Path(os.path.abspath(root)).parts[1:]
    for k in range(len(above), -1, -1):
        files = [_find_mask(folder, Path(*above[k:], image)) for image in images]
        if any(files):
            return files
    raise ValueError(f"{folder}: no mask file there bears the name of an image of {source}")


def _find_mask(folder: Path, image: Path) -> Path | None:
    candidates = (
        Path(folder, name)
        for path in (image, Path(image.name))
        for suffix in MASK_SUFFIXES
        for name in (path.with_suffix(suffix), f"{path.as_posix()}{suffix}")
    )
    return next((path for path in candidates if path.is_file()), None)


def report_scores(
    folder: str | os.PathLike, files: Sequence[Path | None]
) -> dict[str, list[float | None]]:
    """Return what the report of a prediction says of mask files by which they can be sorted."""
    path = Path(folder, REPORT)
    report = read_table(path) if os.path.lexists(path) else pd.DataFrame()
    columns = [name for name in ("doubt", "broken_rules") if name in report and "output" in report]
    numbers = {name: pd.to_numeric(report[name], errors="coerce") for name in columns}
    places = {Path(folder, str(output)): k for k, output in enumerate(report.get("output", ()))}
    rows = [places.get(file) if file else None for file in files]
    found = {
        name: [None if k is None or np.isnan(values[k]) else float(values[k]) for k in rows]
        for name, values in numbers.items()
    }
    return {name: values for name, values in found.items() if set(values) != {None}}


def score_columns(table: pd.DataFrame, names: Sequence[str]) -> dict[str, list[float | None]]:
    """Return the numeric columns of a table of scores, in the order of the images' names.

    The table has one row per image, named by its column image, file or name: a path, or the stem.
    The result has one number, or None, per column and image. Other tables are a ValueError.
    """
    key = next((column for column in ("image", "file", "name") if column in table), None)
    numbers = table.select_dtypes("number")
    if key is None or numbers.empty:
        raise ValueError(
            "scores need a column 'image' and numbers, but have the columns "
            f"{', '.join(map(str, table))}"
        )
    stems = [Path(name).name for name in names]
    rows = numbers.set_index(table[key].map(lambda image: Path(str(image)).stem))
    if not rows.index.isin(stems).any():
        raise ValueError(
            f"scores are for other images: {table[key].iloc[0]!r} is not among those to browse"
        )
    rows = rows[~rows.index.duplicated(keep="last")].reindex(stems)
    rows = rows.replace([np.inf, -np.inf], np.nan).astype(object)
    return {str(name): column.where(column.notna(), None).tolist() for name, column in rows.items()}
