"""What all importers share: from a `Source` to a data set in the PAXRay layout.

An image is copied to `images/NAME.png` (or its own suffix), its masks go to `labels/NAME.pxm`.
`manifest.jsonl` has a digest of what an item was made of: the same again is skipped. `paxray.json`
is written at the end, with all items that could be imported.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.data.datafile import SPLITS, Entry, exact_names, read_datafile, write_datafile
from paxray_lib.images.files import IMAGE_SUFFIXES
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.images.read import decode_image
from paxray_lib.images.views import case_of, view_of
from paxray_lib.importing.splits import read_splits, split_of
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import (
    Manifest,
    atomic_write,
    check_choice,
    inside,
    is_disk_full,
    map_ahead,
    progress,
    read_bytes,
    read_manifest,
)

_VERSION = 1  # raise it when the same source gives other files
_MAX_WORKERS = 8


@dataclass(frozen=True)
class Opened:
    """An item, opened: its image, the content that its masks are drawn from, and how.

    `draw` gets height and width of the image, which masks of their own size may ignore.
    """

    image: Path
    parts: tuple[bytes, ...]
    draw: Callable[[tuple[int, int]], PackedMasks]


@dataclass(frozen=True)
class Item:
    """An image of a source.

    `name` is that of its files without a suffix, as in "a/p01"; `split` is what the source says
    of it, or None. `open` raises ValueError or OSError, naming the file.
    """

    name: str
    split: str | None
    open: Callable[[], Opened]


@dataclass(frozen=True)
class Source:
    """A data set in another layout.

    Attributes
    ----------
    labels : LabelSet
    items : what can be imported
    recipe : settings that change the masks, as JSON can hold them
    failed : what cannot be imported, a line each
    notes : what is left out on purpose, a line each
    """

    labels: LabelSet
    items: Sequence[Item]
    recipe: Any = None
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """What became of a source: the data file, counts of "ok", "skipped" and "failed", and lines."""

    path: Path
    counts: Counter[str]
    failed: list[str]
    notes: list[str]


@dataclass(frozen=True)
class _Outcome:
    item: Item
    status: str
    entry: Entry | None = None
    reason: str = ""


def import_dataset(
    source: Source,
    out: str | os.PathLike,
    *,
    splits: str | os.PathLike | None = None,
    split: str | None = None,
    known: Iterable[str] = (),
) -> Imported:
    """Write a source to a data set in the PAXRay layout, several images at a time.

    What was imported from the same source before is skipped; what cannot be imported is left out
    and listed.

    Parameters
    ----------
    splits : a CSV with the columns id and split; an id is the name of an image, with or without
        folder and suffix
    split : the split of all images that `splits` does not list, in place of what the source says
    known : names, groups and patterns of the labels that are annotated; all by default

    Raises
    ------
    ValueError
        If no image has a split, a setting is wrong, or `out` holds other data.
    OSError
        If the disk is full: what is done is kept, and the same call goes on.
    """
    out, known = Path(out), list(known)
    if split is not None:
        check_choice(split, SPLITS, "split")
    if known:
        source.labels.select(*known)  # an unknown name is an error before anything is written
    items, failed = _planned(source, read_splits(splits) if splits else {}, split)
    _check_existing(out, source)
    with Manifest(out) as manifest:
        names = (name for item in items for name in _outputs(item.name))
        manifest.clean(itertools.chain(["paxray.json"], names))
        importer = _Importer(out, manifest, source, known)
        threads = min(_MAX_WORKERS, os.cpu_count() or 1)
        done = map_ahead(importer.one, items, threads, ahead=2 * threads, patience_s=None)
        outcomes = list(progress(done, "importing", len(items)))
        entries: dict[str, list[Entry]] = {name: [] for name in SPLITS}
        for outcome in outcomes:
            if outcome.entry and outcome.item.split:
                entries[outcome.item.split].append(outcome.entry)
        path = out / "paxray.json"
        extra = {"known": known} if known else {}
        write_datafile(path, source.labels, entries, extra)
    failed += [outcome.reason for outcome in outcomes if outcome.reason]
    counts = Counter(outcome.status for outcome in outcomes) | Counter(failed=len(failed))
    return Imported(path, counts, failed, [*source.notes, *_unknown_lines(source.labels, outcomes)])


def _target(name: str) -> str:
    return f"labels/{name}.pxm"


def _outputs(name: str) -> Iterator[str]:
    """Yield the files that an item may have: the suffix of its image is not known beforehand."""
    yield _target(name)
    yield from (f"images/{name}{suffix}" for suffix in ("", *IMAGE_SUFFIXES))


def _planned(
    source: Source, listed: dict[str, str], split: str | None
) -> tuple[list[Item], list[str]]:
    """Return the items with their splits, and lines on those that have none or share a name."""
    items: list[Item] = []
    failed = list(source.failed)
    names = Counter(item.name.casefold() for item in source.items)
    without_split = 0
    for item in source.items:
        own = split_of(item.name, listed) or split or item.split
        if names[item.name.casefold()] > 1:
            failed.append(f"{item.name}: several images of the source have this name; rename them")
        elif own is None:
            without_split += 1
            failed.append(f"{item.name}: in no split; list it in --splits, or give --split")
        else:
            items.append(Item(item.name, own, item.open))
    if without_split == len(source.items):
        raise ValueError(
            f"none of {without_split} images has a split; "
            "give --splits, a CSV with the columns id and split, or --split for all"
            if without_split
            else "; ".join(failed[:3]) or "no image in the source; check the path"
        )
    return items, failed


def _check_existing(out: Path, source: Source) -> None:
    """Raise ValueError if `out` holds a data set that is not one of this source."""
    if not os.path.lexists(out / "paxray.json"):
        return
    data = read_datafile(out)
    targets = {_target(item.name) for item in source.items}
    others = [e.image for part in data.splits.values() for e in part if e.target not in targets]
    if others or data.labels != source.labels:
        reason = f"images such as {others[0]}" if others else "other labels"
        raise ValueError(f"{data.path}: lists {reason}, not of this source; use another --out")


class _Importer:
    """Makes the files of items below `out`."""

    def __init__(self, out: Path, manifest: Manifest, source: Source, known: list[str]):
        self.out, self.manifest, self.labels = out, manifest, source.labels
        self.recipe = json.dumps([_VERSION, source.labels.names, source.recipe]).encode()
        self.chosen = np.full(len(source.labels), not known)
        if known:
            self.chosen[source.labels.select(*known)] = True
        self.earlier = read_manifest(out)

    def one(self, item: Item) -> _Outcome:
        """Import one item; whatever is wrong with it makes it a failed one."""
        try:
            return self._import(item)
        except (ValueError, OSError, MemoryError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            reason = str(error) or "not enough memory"
            where = "" if item.name in reason else f"{item.name}: "
            return _Outcome(item, "failed", reason=f"{where}{reason}")

    def _import(self, item: Item) -> _Outcome:
        item.name.encode()  # a name that is not UTF-8 cannot stand in paxray.json
        opened = item.open()
        content = read_bytes(opened.image, MAX_BYTES)
        suffix = opened.image.suffix.lower()
        suffix = suffix if suffix in IMAGE_SUFFIXES else ""
        image, target = f"images/{item.name}{suffix}", _target(item.name)
        files = [inside(self.out, name) for name in (image, target)]
        digest = self._digest((content, *opened.parts))
        states = [*self.earlier.get(target, {"sources": {}})["sources"].values()]
        is_done = states and isinstance(states[0], list) and states[0][:1] == [digest]
        if is_done and all(file.is_file() for file in files):
            return _Outcome(item, "skipped", self._entry(image, target, states[0][1]))
        is_ours = self.manifest.may_write(target, opened.image)
        if not is_ours or (not states and os.path.lexists(files[0])):
            raise ValueError(f"{files[not is_ours]}: is of another source; use another --out")
        shape = decode_image(content, opened.image).pixels.shape
        masks = _fitted(opened.draw(shape), shape, opened.image)
        known = None if masks.known.all() else masks.known.tolist()
        self.manifest.start(target, opened.image, [digest, known])
        with atomic_write(files[0]) as temporary:
            temporary.write_bytes(content)
        masks.write(files[1])
        return _Outcome(item, "ok", self._entry(image, target, known))

    def _digest(self, parts: Iterable[bytes]) -> str:
        digest = hashlib.blake2b(self.recipe, digest_size=16)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()

    def _entry(self, image: str, target: str, known: Sequence[bool] | None) -> Entry:
        own = None
        if known is not None:
            own = exact_names(self.labels, (known & self.chosen).tolist())
        return Entry(image, target, case_of(image), view_of(image), own)


def _fitted(masks: PackedMasks, shape: tuple[int, ...], path: Path) -> PackedMasks:
    """Return masks at the size of their image: resized, if they have its proportions."""
    height, width = masks.shape[1:]
    if height * shape[1] != width * shape[0]:
        raise ValueError(f"{path}: masks of {height} x {width} do not fit {shape[0]} x {shape[1]}")
    return masks if (height, width) == shape else masks.resize(shape[0], shape[1])


def _unknown_lines(labels: LabelSet, outcomes: Iterable[_Outcome]) -> list[str]:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.entry and outcome.entry.known is not None:
            known = set(labels.select(*outcome.entry.known)) if outcome.entry.known else set()
            counts.update(name for i, name in enumerate(labels) if i not in known)
    return [f"{name}: not known in {count} images" for name, count in counts.items()]
