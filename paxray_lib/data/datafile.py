"""The PAXRay layout on disk: `paxray.json`, its splits and their images.

    {"label_dict": {"0": "lung_overall", ...},
     "train": [{"image": "images/x.png", "target": "labels/x.npy"}, ...],
     "val": [...], "test": [...]}

Paths are relative to the data root. A target may be absent. An item may name its "view" and "case";
otherwise both come from the file stem, `<case>frontal` or `<case>lateral`, or else the view from
the header of a DICOM image. A packed file beside a `.npy` target, of the same stem, is read in its
place.

"known" lists the labels that are annotated, by names, groups and patterns: at the top for all
items, or in an item, where it replaces the one at the top. Without it all labels are. A label that
is not known in an image is neither present nor absent there. Other top-level keys are kept and
ignored."""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from paxray_lib.images.read import Image, read_view
from paxray_lib.images.views import VIEWS, case_of, view_of
from paxray_lib.labels.table import LabelSet
from paxray_lib.utils import check_choice, parse_json, read_bytes, write_text

SPLITS = ("train", "val", "test")
# far above the largest collections of chest X-rays: 380,000 images take 32 MiB
MAX_BYTES, MAX_ITEMS = 64 << 20, 500_000


@dataclass(frozen=True)
class Entry:
    """One image of a split: its paths relative to the data root, patient case, and view.

    The view is "frontal", "lateral" or None, as far as the data file and the name say it;
    `Datafile.view` asks the image too. `known` is what the item itself says, see
    `Datafile.known`."""

    image: str
    target: str | None
    case: str
    view: str | None
    known: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Datafile:
    """A parsed `paxray.json`.

    Attributes
    ----------
    path, root : Path
        The file itself, and the folder that its paths are relative to.
    labels : LabelSet
        From `label_dict`; their number and order are those of the masks.
    splits : dict of str to tuple of Entry
    extra : dict
        Top-level keys that are neither `label_dict` nor a split: "known" among them.
    """

    path: Path
    root: Path
    labels: LabelSet
    splits: dict[str, tuple[Entry, ...]]
    extra: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of a split; an unknown one is a ValueError with the existing names."""
        check_choice(name, self.splits, f"{self.path}: split")
        return self.splits[name]

    def target_path(self, entry: Entry) -> Path | None:
        """Return the mask file of an entry, packed where there is one, or None without a target."""
        if entry.target is None:
            return None
        listed = self.root / entry.target
        packed = listed.with_suffix(".pxm")
        is_stack = listed.suffix.lower() == ".npy"
        return packed if is_stack and packed.is_file() else listed

    def known(self, entry: Entry) -> np.ndarray:
        """Return which labels are annotated in an entry, (L,) bool."""
        names = self.extra.get("known") if entry.known is None else entry.known
        return _selected(self.labels, None if names is None else tuple(names))

    def view(self, entry: Entry, image: Image | None = None) -> str | None:
        """Return the view, "frontal", "lateral" or None, of an entry, or else of its image.

        An image that has not been read is asked by its file, without decoding it."""
        if entry.view is not None:
            return entry.view
        return read_view(self.root / entry.image) if image is None else image.view


def read_datafile(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> Datafile:
    """Read and check the structure of a data file.

    Parameters
    ----------
    data_root : folder that the paths in the file are relative to
    datafile : absolute, or relative to `data_root`, or else to the working directory

    Raises
    ------
    FileNotFoundError
        If the folder or the file is missing.
    ValueError
        If the file is not JSON of the layout above, has a key twice in one object, or more than
        `MAX_BYTES` or `MAX_ITEMS`; the message names the split and the item.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such data folder; {_remedy(root)}")
    path = next((p for p in (root / datafile, Path(datafile)) if p.is_file()), None)
    if path is None:
        names = ", ".join(sorted(path.name for path in root.glob("*.json")))
        there = f"the folder has {names or 'no .json file at all; ' + _remedy(root)}"
        raise FileNotFoundError(f"{root / datafile}: no such data file; {there}")
    content = parse_json(read_bytes(path, MAX_BYTES), path)
    try:
        return _parse(path, root, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(path: Path, root: Path, content: Any) -> Datafile:
    if not isinstance(content, dict) or "label_dict" not in content:
        raise ValueError("no 'label_dict'; a PAXRay data file has label_dict, train, val and test")
    labels = LabelSet.from_label_dict(content["label_dict"])
    splits, extra = {}, {}
    for name, items in content.items():
        # other keys may hold lists too, authors, say
        first = items[0] if isinstance(items, list) and items else None
        if name in SPLITS and not isinstance(items, list):
            raise ValueError(f"split {name!r} must be a list of items, got {type(items).__name__}")
        if name in SPLITS or (isinstance(first, dict) and "image" in first):
            if len(items) > MAX_ITEMS:
                raise ValueError(
                    f"split {name!r} has {len(items)} items, more than the limit of {MAX_ITEMS}; "
                    "make several data files of it"
                )
            splits[name] = tuple(
                _entry(f"{name}[{i}]", item, labels) for i, item in enumerate(items)
            )
        elif name != "label_dict":
            extra[name] = items
    if "known" in extra:
        _known("the file", extra["known"], labels)
    if not splits:
        raise ValueError("no split; a PAXRay data file has train, val and test")
    return Datafile(path, root, labels, splits, extra)


def write_datafile(
    path: str | os.PathLike,
    labels: LabelSet,
    splits: Mapping[str, Sequence[Entry]],
    extra: Mapping | None = None,
) -> None:
    """Write a `paxray.json` atomically; `extra` adds top-level keys (name, license, ...).

    An item gets a case or a view where its file stem says another one, and "known" where it has
    one of its own."""
    content: dict[str, Any] = {"label_dict": labels.to_label_dict(), **(extra or {})}
    said = {"case": case_of, "view": view_of}
    for name, entries in splits.items():
        rows = [(entry, asdict(entry)) for entry in entries]
        content[name] = [
            {
                key: value
                for key, value in row.items()
                if value != (said[key](entry.image) if key in said else None) or key == "target"
            }
            for entry, row in rows
        ]
    write_text(Path(path), json.dumps(content, indent=1))


def exact_names(labels: LabelSet, known: Sequence[bool]) -> tuple[str, ...]:
    """Return what "known" says for these (L,) labels: a name, or a pattern where groups have it.

    A name that several labels have is left out unless all of them are known.

    >>> exact_names(LabelSet(["ribs", "rib_1", "heart"]), [True, False, True])
    ('rib[s]', 'heart')
    """
    names = dict.fromkeys(name for name, is_known in zip(labels, known, strict=True) if is_known)
    return tuple(
        f"{name[:-1]}[{name[-1]}]" if labels.select(name) != labels.index(name) else name
        for name in names
        if all(known[i] for i in labels.index(name))
    )


def _remedy(root: Path) -> str:
    # a hint at the sample elsewhere would have phantoms trained in the place of patients
    if "sample" in root.name.lower():
        return f"'paxray sample {root}' makes the sample data set there"
    return f"check the path; the PAXRay data set comes by 'paxray fetch dataset --to {root}'"


def _known(where: str, names: Any, labels: LabelSet) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{where} has in 'known' {reprlib.repr(names)}; it must be a list of label names"
        )
    try:
        _selected(labels, tuple(names))
    except ValueError as error:
        raise ValueError(f"{where} has in 'known' {error}") from error
    return tuple(names)


@lru_cache(maxsize=256)  # as many items say the same
def _selected(labels: LabelSet, names: tuple[str, ...] | None) -> np.ndarray:
    """Return (L,) bool, read-only: the labels that names, groups and patterns select; None: all."""
    chosen = np.full(len(labels), names is None)
    if names:
        chosen[labels.select(*names)] = True
    chosen.flags.writeable = False
    return chosen


def _entry(where: str, item: Any, labels: LabelSet) -> Entry:
    if not isinstance(item, dict):
        raise ValueError(f"{where} must be an object with 'image', not {reprlib.repr(item)}")
    image, target, case = item.get("image"), item.get("target"), item.get("case")
    if not _is_path(image):
        raise ValueError(f"{where} has the image {reprlib.repr(image)}; it must be a path")
    if target is not None and not _is_path(target):
        raise ValueError(
            f"{where} has the target {reprlib.repr(target)}; it must be a path or null"
        )
    view = item.get("view", view_of(image))
    if view not in (*VIEWS, None):
        raise ValueError(
            f"{where} has the view {reprlib.repr(view)}; it must be 'frontal' or 'lateral'"
        )
    if isinstance(case, bool) or not isinstance(case, str | int | None):
        raise ValueError(
            f"{where} has the case {reprlib.repr(case)}; it must be text or a whole number"
        )
    known = None if item.get("known") is None else _known(where, item["known"], labels)
    return Entry(image, target, case_of(image) if case is None else str(case), view, known)


def _is_path(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.strip("./") != ""
