"""One picture of classes for each image: a data file as PAXRay's, whose targets are PNG."""

import os
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from paxray_lib.data.datafile import MAX_BYTES, SPLITS
from paxray_lib.images.image import MAX_BYTES as MAX_IMAGE_BYTES
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.importing.names import image_path, item_name
from paxray_lib.importing.pictures import read_classes
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_count, check_size, pack_planes
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import naming_errors, parse_json, read_bytes

_MOST = 1 << 16  # classes: a PNG has 16 bits


def multiclass_source(datafile: str | os.PathLike) -> Source:
    """Return the source of a data file with label_dict, train, val and test.

    Paths are relative to its folder. The value of a pixel is its class, a key of label_dict, which
    may have gaps. Class 0 is the background if it has no name, or one of the word "background".

    Raises FileNotFoundError or ValueError, naming the file, if it is not one."""
    path = Path(datafile)
    content = parse_json(read_bytes(path, MAX_BYTES), path)
    with naming_errors(path, "no data file with label_dict, train, val and test"):
        names = {int(key): name for key, name in content["label_dict"].items()}
        if len(names) != len(content["label_dict"]) or not all(0 <= n < _MOST for n in names):
            raise ValueError(f"classes must be different numbers from 0 to {_MOST - 1}")
        if str(names.get(0, "")).strip(" _").lower() in ("", "background"):
            names.pop(0, None)
        classes = sorted(names)
        labels = LabelSet(names[number] for number in classes)
        rows = [(split, row) for split in SPLITS for row in content.get(split, [])]
        items = [
            Item(_name(row["image"]), split, partial(_open, path.parent, row, labels, classes))
            for split, row in rows
        ]
    return Source(labels, items, {"classes": classes})


def _name(image: str) -> str:
    parts = PurePosixPath(item_name(image)).parts
    return "/".join(parts[1:] if len(parts) > 1 and parts[0] == "images" else parts)


def _open(folder: Path, row: dict[str, Any], labels: LabelSet, classes: list[int]) -> Opened:
    image, target = image_path(folder, row["image"]), row.get("target")
    if not isinstance(target, str):
        raise ValueError(f"{image}: no target; it needs a picture of classes")
    path = image_path(folder, target)
    part = read_bytes(path, MAX_IMAGE_BYTES)

    def draw(_: tuple[int, int]) -> PackedMasks:
        values = read_classes(part, path)
        present = np.flatnonzero(np.bincount(values.ravel()))
        if unknown := sorted(set(present.tolist()) - {0, *classes}):
            raise ValueError(f"{path}: class {unknown[0]} is not in label_dict; add its name")
        with naming_errors(path, "masks too large"):
            check_size(values.shape[0], values.shape[1], len(labels))
        codes = np.zeros((max([0, *classes]) + 1, byte_count(len(labels))), np.uint8)
        codes[classes] = pack_planes(
            np.eye(len(labels), dtype=bool)[:, None], (1, len(labels)), labels
        )[0]
        return PackedMasks(codes[values], labels)

    return Opened(image, (part,), draw)
