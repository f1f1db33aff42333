"""CheXmask: a CSV of run lengths for each source of images.

A table of 200,000 rows has several GB: it is read once for the place of each row, and then a row
at a time. Gaggion et al., Scientific Data 2024, doi 10.1038/s41597-024-03358-1.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from paxray_lib.images.files import find_images
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.importing.names import item_name
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import check_size, pack_planes
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import check_file, naming_errors, open_file

LABELS = LabelSet(("Left Lung", "Right Lung", "Heart"))
_SIZE = ("Height", "Width")
_QUALITY = "Dice RCA (Mean)"
_OTHERS = ("", "Unnamed: 0", "Landmarks", "Dice RCA (Max)")
_LONGEST_LINE, _MAX_ROWS = 1 << 22, 2_000_000
Place = tuple[int, int]  # the first byte in the file, and the one after the last


def chexmask_source(
    table: str | os.PathLike, images: str | os.PathLike, min_dice: float = 0.7
) -> Source:
    """Return the source of a CheXmask table and a folder with the images that it is of.

    Rows whose estimated Dice, column "Dice RCA (Mean)", is less than `min_dice` are left out and
    counted, and so are rows without an image in the folder, and images without a row. An image is
    found by the path that the row has, or else by its name in any folder below.

    Raises FileNotFoundError or ValueError, naming the file, if it is no such table."""
    table = check_file(table)
    if not 0 <= min_dice <= 1:
        raise ValueError(f"the least Dice {min_dice}: must be 0 to 1")
    folder = _Images(Path(images))
    items, failed, left_out = [], [], Counter[str]()
    poor = f"images, their {_QUALITY} is less than {min_dice:g}"
    missing = f"rows of {table}, without an image in {images}"
    rows = _rows(table)
    header, _ = next(rows)
    columns, id_column = _columns(header, table)
    for row, place in rows:
        try:
            name, dice = _id_and_dice(row, columns, id_column)
            image = folder.find(name)
        except ValueError as error:
            failed.append(f"{table}: byte {place[0]}: {error}")
            continue
        if image is None or dice < min_dice:
            left_out[poor if image else missing] += 1
        else:
            own = item_name(image.relative_to(images).as_posix())
            items.append(Item(own, None, partial(_open, table, place, columns, image)))
    left_out[f"images, without a row in {table}"] = folder.unused()
    notes = [f"left out: {count} {reason}" for reason, count in left_out.items() if count]
    if not items:
        raise ValueError("; ".join([f"{table}: nothing to import", *notes, *failed[:3]]))
    return Source(LABELS, items, failed=tuple(failed), notes=tuple(notes))


class _Images:
    """The images in and below a folder, found by path or name."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; check the path")
        self.folder, self.used = folder, set[Path]()
        self.by_name: dict[str, list[Path]] = {}
        for path in find_images(folder):
            self.by_name.setdefault(item_name(path.name), []).append(path)

    def find(self, name: str) -> Path | None:
        """Return the image of a row, or None; ValueError if it could be several."""
        found = self.by_name.get(item_name(PurePosixPath(name).name), [])
        exact = [path for path in found if path == self.folder / name]
        if len(found) > 1 and not exact:
            raise ValueError(f"{name:.80}: several images have this name, such as {found[0]}")
        image = next(iter(exact or found), None)
        if image:
            self.used.add(image)
        return image

    def unused(self) -> int:
        """Return how many images were not found by any row."""
        return sum(map(len, self.by_name.values())) - len(self.used)


def _columns(header: list[str], table: Path) -> tuple[dict[str, int], int]:
    """Return the column of each name, and that of the image, whose name differs by the source."""
    columns = {name: i for i, name in enumerate(header)}
    needed = (*LABELS, *_SIZE, _QUALITY)
    lacking = [name for name in needed if name not in columns]
    others = [i for name, i in columns.items() if name not in (*needed, *_OTHERS)]
    if lacking or not others:
        lack = ", ".join(lacking) or "of the image"
        raise ValueError(f"{table}: no column {lack}; is it a table of CheXmask?")
    return columns, others[0]


def _id_and_dice(row: list[str], columns: dict[str, int], id_column: int) -> tuple[str, float]:
    dice = float(row[columns[_QUALITY]]) if len(row) > max(*columns.values(), id_column) else -1.0
    if not 0 <= dice <= 1 or not row[id_column]:
        raise ValueError(f"a row without image or {_QUALITY}")
    return row[id_column], dice


def _rows(table: Path, start: int = 0) -> Iterator[tuple[list[str], Place]]:
    """Yield the rows from a place on, each with its place; the first is the header."""
    end = start

    def lines() -> Iterator[str]:
        nonlocal end
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise ValueError(f"a line of more than {_LONGEST_LINE >> 20} MiB")
            end += len(line)
            yield line.decode("utf-8-sig")

    with open_file(table) as file, naming_errors(table, "not a readable table"):
        file.seek(start)
        count = 0
        for row in csv.reader(lines(), strict=True):
            yield row, (start, end)
            start, count = end, count + 1
            if count > _MAX_ROWS:
                raise ValueError(f"more than {_MAX_ROWS} rows; split it")
        if not count:
            raise ValueError("it is empty")


def _open(table: Path, place: Place, columns: dict[str, int], image: Path) -> Opened:
    row, _ = next(_rows(table, place[0]))
    if len(row) <= max(columns.values()):
        raise ValueError(f"{table}: changed while it was imported; run again")
    texts = [row[columns[name]] for name in (*LABELS, *_SIZE)]

    def draw(_: tuple[int, int]) -> PackedMasks:
        with naming_errors(table, f"byte {place[0]}, {image.name}: not masks of CheXmask"):
            height, width = (int(float(text)) for text in texts[-2:])
            check_size(height, width, len(LABELS))
            planes = (_mask(text, height, width) for text in texts[:-2])
            return PackedMasks(pack_planes(planes, (height, width), LABELS.names), LABELS)

    return Opened(image, tuple(text.encode() for text in texts), draw)


def _mask(text: str, height: int, width: int) -> np.ndarray:
    """Return the (H, W) bool mask of "start length start length ...": from 1, row by row."""
    numbers, size = np.array(text.split(), np.int64), height * width
    if len(numbers) % 2 or ((numbers < 0) | (numbers > size)).any():
        raise ValueError(f"run lengths that are not those of {height} x {width}")
    starts = numbers[::2] - 1
    ends = starts + numbers[1::2]
    if (starts < 0).any() or (ends > size).any():
        raise ValueError(f"run lengths that do not lie in {height} x {width}")
    edges = np.zeros(size + 1, np.int32)
    np.add.at(edges, starts, 1)
    np.add.at(edges, ends, -1)
    return (np.cumsum(edges[:-1]) > 0).reshape(height, width)
