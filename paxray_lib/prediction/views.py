"""Views of images from a table, where neither header nor name tells them, or tells them wrongly."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from paxray_lib.images.views import VIEW_WORDS
from paxray_lib.prediction.predict import find_inputs
from paxray_lib.utils import check_choice, naming_errors, read_bytes
from paxray_lib.utils.errors import did_you_mean

_MOST_BYTES = 1 << 26
_COLUMNS = ("image", "view")


def read_views(
    table: str | os.PathLike, images: str | os.PathLike, out: str | os.PathLike
) -> dict[str, str]:
    """Return {file: view} from a CSV file with the columns image and view; others are ignored.

    Parameters
    ----------
    table : the file; an image is its path below `images`, its name if no other has it, or its path
        as in `report.csv`; a view is frontal, PA or AP, or lateral, LAT, LL or RL, in any case of
        letters, or empty if it is not known
    images, out : as for `predict`

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such table or no image, or a row names no image, one of several, one that an
        earlier row names, or another view.
    """
    base, paths = find_inputs(images, out)
    files: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        below = Path(os.path.relpath(os.path.abspath(path), base)).as_posix()
        for name in (below, path.name, str(path)):
            files[name].add(str(path))
    views: dict[str, str] = {}
    for place, image, view in _rows(Path(table)):
        found = files.get(image, set())
        if len(found) != 1:
            problem = "none" if not found else f"{len(found)} of them; write its path there"
            near = "" if found else did_you_mean(image, files)
            raise ValueError(f"{place}: image {image!r}: in {images} is {problem}{near}")
        (file,) = found
        if file in views:
            raise ValueError(f"{place}: image {image!r} stands in an earlier row, too; remove one")
        if view:
            check_choice(view, VIEW_WORDS, f"{place}: view")
        views[file] = VIEW_WORDS.get(view, "")
    return {file: view for file, view in views.items() if view}


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the place of each row, for errors, its image, and its view in small letters."""
    data = read_bytes(table, _MOST_BYTES)
    with naming_errors(table, "not a table of images and views", "write it as CSV in UTF-8"):
        text = data.decode("utf-8-sig")  # some spreadsheets write such a mark
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
        names = reader.fieldnames or []
        if missing := [name for name in _COLUMNS if names.count(name) != 1]:
            raise ValueError(f"not one column {missing[0]!r} but {', '.join(names):.80}")
    for number, row in rows:
        image, view = ((row[name] or "").strip() for name in _COLUMNS)
        yield f"{table}, line {number}", image, view.lower()
