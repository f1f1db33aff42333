"""COCO annotations of many images in one file, and "sharded_coco_v1": one file an image.

A whole file is read twice: once for the place of each annotation, 16 bytes in memory, and then an
image at a time. So memory does not grow with the masks.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.data.datafile import MAX_BYTES, MAX_ITEMS, SPLITS
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.importing.names import image_path, item_name
from paxray_lib.importing.splits import split_of_file
from paxray_lib.importing.stream import JsonStream
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.coco import draw_coco
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import check_choice, naming_errors, open_file, parse_json, read_bytes

Id = int | str
_LONGEST = 1024  # characters of an id or a name
_MAX_IMAGE_BYTES = 1 << 25  # of the annotations of an image; of 166 labels they take a hundredth


@dataclass(frozen=True)
class _Categories:
    """The labels in the order of the ids of their categories, and the index of each id."""

    labels: LabelSet
    index: dict[Id, int]

    @classmethod
    def of(cls, rows: Iterable[Any], path: Path) -> "_Categories":
        """Return those of a list of {"id", "name"}; ValueError, naming the file, if it is none."""
        with naming_errors(path, "no list of categories"):
            names: dict[Any, str] = {}  # PAX-Ray++ has some with spaces at the end
            for row in rows:
                if row["id"] in names:
                    raise ValueError(f"two categories have the id {row['id']!s:.80}")
                names[_id(row["id"])] = row["name"].strip()
            ids = sorted(names)
            return cls(LabelSet(names[i] for i in ids), {key: i for i, key in enumerate(ids)})

    def draw(self, annotations: Iterable[Any], height: Any, width: Any, where: str) -> PackedMasks:
        """Return the masks of an image from its annotations; ValueError, saying where."""
        with naming_errors(Path(where), "not its masks in COCO"):
            drawn = [(self.index[_id(a["category_id"])], a["segmentation"]) for a in annotations]
            return PackedMasks(draw_coco(drawn, len(self.labels), height, width), self.labels)


def _id(value: Any) -> Id:
    # short ones: half a million may be in memory
    is_id = type(value) is int or (isinstance(value, str) and len(value) < _LONGEST)
    if not is_id or (type(value) is int and value.bit_length() > 63):
        raise ValueError(f"the id {value!s:.80}; ids are whole numbers of 64 bits, or short texts")
    return value


class _Index:
    """Where the annotations of each image are in a file; `strays` are of images not in it."""

    def __init__(self, path: Path):
        self.path = path
        numbers: dict[Id, int] = {}  # of images, as they are met
        owners, starts, ends = array("i"), array("q"), array("q")
        listed: dict[Id, dict] = {}
        categories: list[Any] = []
        with open_file(self.path) as file:
            for key, value, (start, end) in JsonStream(self.path).elements():
                if key == "annotations":
                    owners.append(numbers.setdefault(self._owner(value), len(numbers)))
                    starts.append(start)
                    ends.append(end)
                elif key == "images":
                    row = self._row(_read(file, start, end))
                    if listed.setdefault(row["id"], row) is not row:
                        raise ValueError(f"{self.path}: two images have the id {row['id']!s:.80}")
                elif key == "categories":
                    categories.append(self._category(_read(file, start, end)))
                if max(len(numbers), len(listed), len(categories)) > MAX_ITEMS:
                    raise ValueError(f"{self.path}: more than {MAX_ITEMS} images; split it")
        self.categories = _Categories.of(categories, self.path)
        self.images = list(listed.values())
        self._order = np.argsort(np.frombuffer(owners, np.int32), kind="stable")
        self._starts, self._ends = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
        counts = np.bincount(np.frombuffer(owners, np.int32), minlength=len(numbers))
        self._bounds = np.concatenate(([0], np.cumsum(counts)))
        self._numbers = numbers
        self.strays = sum(int(counts[n]) for key, n in numbers.items() if key not in listed)

    def _owner(self, value: Any) -> Id:
        with naming_errors(self.path, "an annotation without the id of its image"):
            return _id(value["image_id"])

    def _row(self, content: bytes) -> dict:
        with naming_errors(self.path, "an image without id or file_name"):
            row = parse_json(content, "image")
            if not isinstance(row["file_name"], str) or len(row["file_name"]) > _LONGEST:
                raise ValueError(f"file_name {row['file_name']!s:.80}")
            # what is no number is refused when the masks are drawn
            size = {k: row[k] if type(row.get(k)) is int else None for k in ("height", "width")}
            own = {"known": row["known"]} if "known" in row else {}  # of `coco_export`
            return {"id": _id(row["id"]), "file_name": row["file_name"]} | size | own

    def _category(self, content: bytes) -> dict:
        with naming_errors(self.path, "a category without id or name"):
            row = parse_json(content, "category")
            if not isinstance(row["name"], str) or len(row["name"]) > _LONGEST:
                raise ValueError(f"name {row['name']!s:.80}")
            return {"id": _id(row["id"]), "name": row["name"]}

    def annotations(self, key: Id) -> tuple[bytes, ...]:
        """Return the text of each annotation of an image."""
        number = self._numbers.get(key)
        if number is None:
            return ()
        own = self._order[self._bounds[number] : self._bounds[number + 1]]
        places = [(int(self._starts[i]), int(self._ends[i])) for i in own]
        if sum(end - start for start, end in places) > _MAX_IMAGE_BYTES:
            raise ValueError(f"{self.path}: more than {_MAX_IMAGE_BYTES >> 20} MiB for one image")
        with open_file(self.path) as file:
            return tuple(_read(file, start, end) for start, end in places)


def _read(file: Any, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def coco_source(annotations: Sequence[str | os.PathLike], images: str | os.PathLike) -> Source:
    """Return the source of COCO files, which have the same categories, and one folder of images.

    A file is of the split that its name says. Masks are RLE of both kinds, or polygons; a category
    without an annotation in an image is absent there.

    Raises FileNotFoundError or ValueError, naming the file, if one is not such a file."""
    if not Path(images).is_dir():
        raise FileNotFoundError(f"{images}: no such folder; check the path")
    items: list[Item] = []
    failed: list[str] = []
    indices = [_Index(Path(path)) for path in annotations]
    for index in indices:
        if index.categories != indices[0].categories:
            raise ValueError(f"{index.path}: other categories than {indices[0].path}")
        split = split_of_file(index.path)
        for row in index.images:
            name = item_name(row["file_name"])
            items.append(Item(name, split, partial(_open_row, index, row, Path(images))))
        if index.strays:
            failed.append(f"{index.path}: {index.strays} annotations of images that it has not")
    return Source(indices[0].categories.labels, items, failed=tuple(failed))


def _open_row(index: _Index, row: dict, images: Path) -> Opened:
    path = image_path(images, row["file_name"])
    parts = index.annotations(row["id"])
    where = f"{index.path}: image {row['file_name'][:200]}"
    own = (json.dumps(row["known"]).encode(),) if "known" in row else ()

    def draw(_: tuple[int, int]) -> PackedMasks:
        read = (parse_json(part, where) for part in parts)
        masks = index.categories.draw(read, row["height"], row["width"], where)
        return masks.knowing(_known(masks.labels, row["known"], where)) if own else masks

    return Opened(path, (*parts, *own), draw)


def _known(labels: LabelSet, names: Any, where: str) -> np.ndarray:
    """Return which labels an image says are annotated, (L,) bool."""
    known = np.zeros(len(labels), bool)
    with naming_errors(Path(where), "no list of known labels"):
        if not isinstance(names, list):
            raise ValueError(f"{names!s:.80}")
        known[labels.select(*names) if names else []] = True
    return known


def sharded_source(folder: str | os.PathLike) -> Source:
    """Return the source of a folder of "sharded_coco_v1", with its own splits.

    Raises FileNotFoundError or ValueError, naming the file, if it is not one."""
    folder = Path(folder)
    path = folder / "index.json"
    index = parse_json(read_bytes(path, MAX_BYTES), path)
    listed = folder / "categories.json"
    content = parse_json(read_bytes(listed, MAX_BYTES), listed)
    with naming_errors(path, "no index of sharded COCO"):
        check_choice(index["format"], ["sharded_coco_v1"], "format")
        shards = image_path(folder, index.get("ann_dir", "annotations"))
        rows = list(_ids(index["splits"]))
        with naming_errors(listed, "no categories of sharded COCO"):
            categories = _Categories.of(content["categories"], listed)
    items = [
        Item(name, split, partial(_open_shard, shards, name, folder, categories))
        for split, name in rows
    ]
    return Source(categories.labels, items)


def _ids(splits: Any) -> Iterator[tuple[str, str]]:
    for split, names in splits.items():
        check_choice(split, SPLITS, "split")
        for name in names:
            yield split, str(_id(name))


def _open_shard(shards: Path, name: str, folder: Path, categories: _Categories) -> Opened:
    path = image_path(shards, f"{name}.json")
    content = read_bytes(path, _MAX_IMAGE_BYTES)
    with naming_errors(path, "not an image in sharded COCO"):
        parsed = parse_json(content, "content")
        row, annotations = parsed["image"], parsed["annotations"]
        image = image_path(folder, row["file_name"])

    def draw(_: tuple[int, int]) -> PackedMasks:
        return categories.draw(annotations, row.get("height"), row.get("width"), str(path))

    return Opened(image, (content,), draw)
