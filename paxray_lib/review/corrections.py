"""Corrected masks in a folder, which is a data set: train on it with `data` and `init_from`.

    labels/NAME.pxm              masks
    labels/NAME.correction.json  who, when, digest of the film and the masks, of those before, ...
    images/NAME.png              the film, as it was
    paxray.json                  all of them

The JSON is written before the masks, and says what the masks before were, so that whatever a kill
leaves can be read. Nothing is written over that was not read.

All masks in a folder are over the same labels. They are read by name, so that it does not matter
over which others they are shown; masks that know further labels add these to all in the folder.
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
from paxray_lib.images.views import case_of, view_of
from paxray_lib.labels.matching import match, unite
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.review.film_copy import FilmCopy
from paxray_lib.utils import (
    check_choice,
    inside,
    lock,
    naming_errors,
    now,
    parse_json,
    read_bytes,
    write_text,
)

_ABOUT = ".correction.json"
_MAX_ABOUT = 1 << 20  # bytes
_CHANGED = "load them again, and correct what is there now"
_AWAY = "move the masks away, and the .correction.json beside them"
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
    """Return what was saved of an image, by name over `labels`, or None.

    Raises
    ------
    ValueError
        If the masks are damaged, know a label that is not among `labels`, or were changed by
        another program; or, with the `film_digest`, if they are of another film, or those of the
        film have another name.
    """
    folder = Path(folder)
    path, about_path = _paths(folder, name)
    if not os.path.lexists(path):
        _check_names(folder, name, film)
        return None
    saved = _read(path, about_path, film)
    if lacking := _lacking(saved.masks, labels):
        raise ValueError(
            f"{path}: has masks of {lacking}, which are not among the {len(labels)} labels here; "
            "open it anew, with these too"
        )
    return replace(saved, masks=saved.masks.relabel(labels))


def labels_there(folder: str | os.PathLike) -> LabelSet | None:
    """Return the labels of the masks in a folder of corrections, or None if it has none."""
    with contextlib.suppress(FileNotFoundError):
        return read_datafile(folder).labels
    sets = []
    for path in sorted(Path(folder, "labels").rglob("*.pxm")):  # of arrays, which are not listed
        with contextlib.suppress(ValueError, OSError):  # said once its image is opened
            sets.append(PackedMasks.read(path).labels)
    return unite(sets) if sets else None


def _read(path: Path, about_path: Path, film: str | None = None) -> Saved:
    """Return what was saved in a file, over its own labels; errors as of `read_corrections`."""
    masks = PackedMasks.read(path)
    about = parse_json(read_bytes(about_path, _MAX_ABOUT), about_path)
    with naming_errors(about_path, "not what was written beside corrected masks", _AWAY):
        other = film is not None and about.get("film") not in (None, film)
        for state in filter(None, (about["masks"], about["masks_before"])):
            # masks that a kill left behind may have fewer labels than what is said of the next ones
            known = np.isin(np.arange(len(masks.labels)), state["known"])
            read = Saved(PackedMasks(masks.data, masks.labels, known), state.get("stroke"))
            if digest(read.masks) == state["digest"] and not other:
                return read
    if other:
        raise ValueError(
            f"{path}: is of another film that was called {about.get('image')!r:.200}; {_OTHER_FILM}"
        )
    raise ValueError(f"{path}: was changed by another program; {_AWAY}")


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
        If the masks in the folder are not those that were read (someone else saved meanwhile), or
        do not fit the film; if masks and folder each know labels that the other lacks; or there is
        another film of that name, or another name of that film.
    OSError
        If something cannot be written.
    """
    check_choice(split, SPLITS, "split")
    folder = Path(folder)
    path, about_path = _paths(folder, name)
    copied = None if image is None else FilmCopy(folder, name, Path(image), masks)
    with lock(folder, ".corrections.lock"):
        before = read_corrections(folder, name, masks.labels, film)
        if before is not None and digest(before.masks) != base_digest:
            by = parse_json(read_bytes(about_path, _MAX_ABOUT), about_path).get("who")
            raise ValueError(f"{path}: was saved meanwhile by {by!s:.80}; {_CHANGED}")
        masks = _fit(folder, masks)
        if copied:
            copied.write()
        about = {
            "image": name,
            "film": film,
            "who": who,
            "when": now(),
            "made_from": base_digest,
            "masks": _state(Saved(masks, stroke)),
            "masks_before": None if before is None else _state(_read(path, about_path)),
        }
        write_text(about_path, json.dumps(about, indent=1))
        masks.write(path)
        if copied:
            known = _known_names(masks)
            case, view = case or case_of(copied.name), view or view_of(copied.name)
            entry = Entry(copied.name, f"labels/{name}.pxm", case, view, known)
            _list(folder, entry, masks.labels, split)
    return path


def _lacking(masks: PackedMasks, labels: LabelSet) -> str:
    """Return the first names that masks know and that are not among `labels`; "" for none."""
    places = np.flatnonzero(masks.known & (match(masks.labels, labels) < 0))
    return ", ".join(masks.labels[k] for k in places[:3]) + " ..." * (len(places) > 3)


def _fit(folder: Path, masks: PackedMasks) -> PackedMasks:
    """Return masks over the labels of a folder, which gets those that only these masks know."""
    try:
        listed = read_datafile(folder).labels
    except FileNotFoundError:
        return masks
    if not (lacking := _lacking(masks, listed)):
        return masks.relabel(listed)
    if (match(listed, masks.labels) < 0).any():
        raise ValueError(
            f"{folder}: holds masks of other labels, without {lacking}; open it anew, with both, "
            "or use another folder"
        )
    labels = unite([listed, masks.labels])
    _widen(folder, labels)
    return masks.relabel(labels)


def _widen(folder: Path, labels: LabelSet) -> None:
    """Write the masks of a folder, then its `paxray.json`, over more labels, not known in them.

    Nothing is written if one cannot be read. What a kill leaves can be read by name, and the next
    save of masks that know these labels finishes it.
    """
    data = read_datafile(folder)
    places, splits = match(labels, data.labels), dict[str, list[Entry]]()
    for split, entries in data.splits.items():
        known = [(places >= 0) & data.known(entry)[places] for entry in entries]
        names = [exact_names(labels, each.tolist()) for each in known]
        splits[split] = [replace(e, known=n) for e, n in zip(entries, names, strict=True)]
    targets = {entry.target for entries in splits.values() for entry in entries if entry.target}
    paths = [inside(folder, target) for target in sorted(targets)]
    both = [(path, path.with_suffix(_ABOUT)) for path in paths]
    for path, about_path in both:
        _read(path, about_path)
    for path, about_path in both:
        own = _read(path, about_path)
        wide = replace(own, masks=own.masks.relabel(labels))
        about = parse_json(read_bytes(about_path, _MAX_ABOUT), about_path)
        about |= {"masks": _state(wide), "masks_before": _state(own)}
        write_text(about_path, json.dumps(about, indent=1))
        wide.masks.write(path)
    write_datafile(folder / "paxray.json", labels, splits, data.extra)


def _state(saved: Saved) -> dict[str, Any]:
    known = np.flatnonzero(saved.masks.known).tolist()
    return {"digest": digest(saved.masks), "known": known, "stroke": saved.stroke}


def _known_names(masks: PackedMasks) -> tuple[str, ...] | None:
    return None if masks.known.all() else exact_names(masks.labels, masks.known.tolist())


def _check_names(folder: Path, name: str, film: str | None) -> None:
    """Raise ValueError if a film that has no masks under this name has some under another."""
    for path in sorted((folder / "labels").rglob(f"*{_ABOUT}")) if film else ():
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
    path, about = (f"labels/{name}{suffix}" for suffix in (".pxm", _ABOUT))
    return inside(folder, path), inside(folder, about)


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
