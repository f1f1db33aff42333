"""Corrected masks in a folder, which is a data set: train on it with `data` and `init_from`.

    labels/NAME.pxm              masks
    labels/NAME.correction.json  who, when, digest of the film and the masks, of those before, ...
    images/NAME.png              the film, as it was
    paxray.json                  all of them

The JSON is written before the masks, and says what the masks before were, so that whatever a kill
leaves can be read. Nothing is written over that was not read.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.data.datafile import SPLITS, Entry, exact_names, read_datafile, write_datafile
from paxray_lib.images.files import IMAGE_SUFFIXES
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.images.read import decode_image
from paxray_lib.images.views import case_of, view_of
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import (
    atomic_write,
    check_choice,
    inside,
    lock,
    naming_errors,
    now,
    parse_json,
    read_bytes,
    write_text,
)

_MAX_ABOUT = 1 << 20  # bytes
_CHANGED = "load them again, and correct what is there now"
_OTHER_FILM = "give a file with a name of its own, or use another folder of corrections"


def digest(masks: PackedMasks) -> str:
    """Return a fingerprint of masks: their size, the names of their labels, known, and bits."""
    head = json.dumps([masks.shape, masks.labels.names, masks.known.tolist()]).encode()
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(np.ascontiguousarray(masks.data).data)
    return digest.hexdigest()


def film_digest(pixels: np.ndarray) -> str:
    """Return a fingerprint of a film: its size, and its (H, W) or (H, W, 3) uint8 pixels."""
    digest = hashlib.blake2b(json.dumps(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels, np.uint8).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Saved:
    """Masks that were saved, and the id of the last stroke that made them, if strokes did."""

    masks: PackedMasks
    stroke: str | None


def load_corrections(folder: str | os.PathLike, name: str, labels: LabelSet) -> PackedMasks | None:
    """Return the masks that were saved of an image, or None; errors as of `read_corrections`."""
    saved = read_corrections(folder, name, labels)
    return saved.masks if saved else None


def read_corrections(
    folder: str | os.PathLike, name: str, labels: LabelSet, film: str | None = None
) -> Saved | None:
    """Return what was saved of an image, or None.

    Raises
    ------
    ValueError
        If the masks are damaged, of other labels, or were changed by another program; or, with the
        `film_digest`, if they are of another film, or those of the film have another name.
    """
    folder = Path(folder)
    path, about_path = _paths(folder, name)
    if not os.path.lexists(path):
        _check_names(folder, name, film)
        return None
    masks = PackedMasks.read(path, labels)
    about = parse_json(read_bytes(about_path, _MAX_ABOUT), about_path)
    with naming_errors(about_path, "not what was written beside corrected masks", "remove both"):
        other = film is not None and about.get("film") not in (None, film)
        for state in filter(None, (about["masks"], about["masks_before"])):
            known = np.zeros(len(labels), bool)
            known[state["known"]] = True
            read = Saved(PackedMasks(masks.data, labels, known), state.get("stroke"))
            if digest(read.masks) == state["digest"] and not other:
                return read
    if other:
        raise ValueError(f"{path}: is of another film that was called {name!r}; {_OTHER_FILM}")
    raise ValueError(
        f"{path}: was changed by another program, or is of other labels; keep one of them, and "
        f"remove {about_path.name} with the other"
    )


def save_corrections(
    folder: str | os.PathLike,
    name: str,
    masks: PackedMasks,
    base_digest: str,
    who: str,
    *,
    image: str | os.PathLike | None = None,
    split: str = "train",
    case: str | None = None,
    view: str | None = None,
    film: str | None = None,
    stroke: str | None = None,
) -> Path:
    """Write corrected masks, and list them in the folder's `paxray.json`; return their path.

    Parameters
    ----------
    name : of the image, without a suffix, as in "deep/a"
    base_digest : `digest` of the masks that were read: from `load_corrections`, or if that gave
        None, those of the original
    who : corrected them
    image : the film, which is copied as it is; without it, masks are kept but not listed
    split, case, view : of an image that is not listed yet; case and view by default by its name
    film : its `film_digest`, which later ones under this name must have
    stroke : id of the last stroke that made the masks

    Raises
    ------
    ValueError
        If the masks in the folder are not those that were read (someone else saved meanwhile), have
        other labels, or do not fit the film; or there is another film of that name, or another name
        of that film.
    OSError
        If something cannot be written.
    """
    check_choice(split, SPLITS, "split")
    folder = Path(folder)
    path, about_path = _paths(folder, name)
    copied = None if image is None else _Film(folder, name, Path(image), masks)
    with lock(folder, ".corrections.lock"):
        with contextlib.suppress(FileNotFoundError):
            listed = read_datafile(folder).labels
            if listed != masks.labels:
                raise ValueError(f"{folder}: holds masks of other labels; use another folder")
        before = read_corrections(folder, name, masks.labels, film)
        if before is not None and digest(before.masks) != base_digest:
            by = parse_json(read_bytes(about_path, _MAX_ABOUT), about_path).get("who")
            raise ValueError(f"{path}: was saved meanwhile by {by!s:.80}; {_CHANGED}")
        if copied:
            copied.write()
        about = {
            "image": name,
            "film": film,
            "who": who,
            "when": now(),
            "made_from": base_digest,
            "masks": _state(Saved(masks, stroke)),
            "masks_before": None if before is None else _state(before),
        }
        write_text(about_path, json.dumps(about, indent=1))
        masks.write(path)
        if copied:
            known = _known_names(masks)
            case, view = case or case_of(copied.name), view or view_of(copied.name)
            entry = Entry(copied.name, f"labels/{name}.pxm", case, view, known)
            _list(folder, entry, masks.labels, split)
    return path


def _state(saved: Saved) -> dict[str, Any]:
    known = np.flatnonzero(saved.masks.known).tolist()
    return {"digest": digest(saved.masks), "known": known, "stroke": saved.stroke}


def _known_names(masks: PackedMasks) -> tuple[str, ...] | None:
    return None if masks.known.all() else exact_names(masks.labels, masks.known.tolist())


def _check_names(folder: Path, name: str, film: str | None) -> None:
    """Raise ValueError if a film that has no masks under this name has some under another."""
    for path in sorted((folder / "labels").rglob("*.correction.json")) if film else ():
        about = parse_json(read_bytes(path, _MAX_ABOUT), path)
        if isinstance(about, dict) and about.get("film") == film:
            raise ValueError(
                f"{path}: is of the same film as {name!r}, under another name; open the film by "
                "that name, or use another folder of corrections"
            )


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of the masks of an image and of what is said of them."""
    if not name or name != name.strip("/") or not name.isprintable():
        raise ValueError(f"{name[:200]!r}: no name of an image, as in 'deep/a'; rename it")
    path, about = (f"labels/{name}{suffix}" for suffix in (".pxm", ".correction.json"))
    return inside(folder, path), inside(folder, about)


class _Film:
    """The film of corrected masks; `name` is its path in the folder."""

    def __init__(self, folder: Path, name: str, source: Path, masks: PackedMasks):
        suffix = source.suffix.lower() if source.suffix.lower() in IMAGE_SUFFIXES else ""
        self.name = f"images/{name}{suffix}"
        self.path = inside(folder, self.name)
        self._content = read_bytes(source, MAX_BYTES)
        shape = decode_image(self._content, source).pixels.shape
        if shape != masks.shape[1:]:
            raise ValueError(f"{source}: of {shape}, but its masks are of {masks.shape[1:]}")

    def write(self) -> None:
        """Write it, unless it is there; ValueError if another film is."""
        if os.path.lexists(self.path):
            if read_bytes(self.path, MAX_BYTES) != self._content:
                raise ValueError(f"{self.path}: is another film of that name; use another folder")
            return
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(self._content)


def _list(folder: Path, entry: Entry, labels: LabelSet, split: str) -> None:
    """Put an image into `paxray.json`, in the split that it is in, or else in this one."""
    splits: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    extra: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        data = read_datafile(folder)
        extra = data.extra
        splits |= {name: list(entries) for name, entries in data.splits.items()}
    for name, entries in splits.items():
        places = [i for i, one in enumerate(entries) if one.target == entry.target]
        for i in places:
            entries[i] = replace(entries[i], image=entry.image, known=entry.known)
        if places:
            split = name
    if not any(one.target == entry.target for one in splits[split]):
        splits[split].append(entry)
    write_datafile(folder / "paxray.json", labels, splits, extra)
