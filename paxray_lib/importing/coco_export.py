"""A data set as COCO files for tools elsewhere, and so that `coco.coco_source` brings it back.

A split is a file of its own, written an image at a time. Categories have the index of their label
for an id: two labels of one name stay apart. What COCO cannot say, an image does in a key of its
own: "known", as in `paxray.json`, if some labels are not annotated.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from paxray_lib.data.datafile import Datafile, Entry, exact_names, read_datafile
from paxray_lib.images.read import read_image
from paxray_lib.importing.names import image_path
from paxray_lib.masks.coco import coco_categories, iter_annotations
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import atomic_write, map_ahead, progress


@dataclass
class Exported:
    """What became of a data set.

    Attributes
    ----------
    images : the folder that the file names in the COCO files are relative to
    counts : of "images", "without masks" (left out), and masks: "polygons", "run lengths"
    failed : images that are left out, a line each
    """

    images: Path
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def export_coco(
    data_root: str | os.PathLike,
    datafile: str | os.PathLike,
    out: str | os.PathLike,
    *,
    polygons: bool = False,
) -> Exported:
    """Write `out/SPLIT.json` for each split with images; masks are run lengths, bit for bit.

    Parameters
    ----------
    data_root, datafile : as for `read_datafile`
    polygons : masks are polygons where these are drawn as the same bits, for tools that take
        nothing else

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such data set, or a file to write is there already.
    """
    data, out = read_datafile(data_root, datafile), Path(out)
    splits = {f"{name}.json": entries for name, entries in data.splits.items() if entries}
    for name in splits:
        if os.path.lexists(out / name):
            raise ValueError(f"{out / name}: is there already; move it away, or use another --out")
    base = _common_folder(data)
    done = Exported(data.root / base)
    for name, entries in splits.items():
        with atomic_write(out / name) as temporary, open(temporary, "w", encoding="ascii") as file:
            _write(file, data, entries, base, polygons, done)
    return done


def _common_folder(data: Datafile) -> str:
    """Return the folder of all images, relative to the root."""
    names = [entry.image for entries in data.splits.values() for entry in entries]
    folders = {os.path.dirname(name) for name in names if not os.path.isabs(name)}
    return os.path.commonpath(folders) if folders else ""


def _write(
    file: TextIO,
    data: Datafile,
    entries: tuple[Entry, ...],
    base: str,
    polygons: bool,
    done: Exported,
) -> None:
    def read(entry: Entry) -> tuple[dict[str, Any], list[dict[str, Any]]] | str | None:
        try:
            return _read(data, entry, base, polygons)
        except (ValueError, OSError) as error:
            return str(error)

    rows: list[dict[str, Any]] = []
    annotations = 0
    file.write(f'{{"categories": {json.dumps(coco_categories(data.labels))}, "annotations": [')
    for content in progress(map_ahead(read, entries), "exporting", len(entries)):
        if content is None:
            done.counts["without masks"] += 1
        elif isinstance(content, str):
            done.failed.append(content)
        else:
            row, masks = content
            rows.append({"id": len(rows) + 1, **row})
            for mask in masks:
                line = {"id": annotations + 1, "image_id": len(rows), **mask}
                file.write(",\n"[not annotations :] + json.dumps(line))
                annotations += 1
                is_drawn = isinstance(mask["segmentation"], list)
                done.counts["polygons" if is_drawn else "run lengths"] += 1
    done.counts["images"] += len(rows)
    file.write(f'],\n"images": {json.dumps(rows)}}}\n')


def _read(
    data: Datafile, entry: Entry, base: str, polygons: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Return the row of an image and its annotations, without ids, or None without a target."""
    path, target = image_path(data.root, entry.image), data.target_path(entry)
    if target is None:
        return None
    masks, known = PackedMasks.read(target, data.labels), data.known(entry)
    masks = masks.knowing(known)
    count, height, width = masks.shape
    size = read_image(path).pixels.shape
    if (height, width) != size:
        raise ValueError(f"{target}: masks of {height} x {width} do not fit {path} of {size}")
    row = {"file_name": os.path.relpath(entry.image, base or "."), "height": height, "width": width}
    if not known.all():
        row["known"] = exact_names(data.labels, known.tolist())
    return row, list(iter_annotations(masks.data, count, (height, width), polygons=polygons))
