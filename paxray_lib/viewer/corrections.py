"""What strokes make of the masks of each image, in the kernel."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.masks import PackedMasks, byte_count
from paxray_lib.masks.strokes import MaskEditor, Stroke
from paxray_lib.review.corrections import (
    Saved,
    digest,
    film_digest,
    labels_there,
    read_corrections,
    save_corrections,
)
from paxray_lib.review.journal import Journal
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import Source

_MOST_EDITORS = 8  # images whose masks stay in memory; those of others are made again
_OWN = "give a file with a name of its own, or use another folder of corrections"


class WrongStroke(ValueError):
    """A record that can never be kept: it is no stroke, or is on another film."""


class Corrections:
    """Scenes whose target is what strokes made of it.

    What is corrected is what was saved in the folder; else the target; where there is none, a copy
    of the prediction, or else empty masks.

    Parameters
    ----------
    source : Source
    folder : where strokes are written down before they are acknowledged, and masks are saved
        By default strokes live with the kernel.

    Raises
    ------
    ValueError
        If two images bear one name, or the journal or `paxray.json` in the folder is damaged.
    """

    def __init__(self, source: Source, folder: str | os.PathLike | None):
        self._folder = None if folder is None else Path(folder)
        # with the labels of what was saved, also if nothing else here has them
        self.source = source.widened(labels_there(folder) if folder else None)
        self._own = source.labels
        names = source.names
        if self._folder and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two images are called {twice!r}: corrections need different names")
        self._journal = None if self._folder is None else Journal(self._folder)
        self._load = lru_cache(3)(self.source.load)  # the image shown and its neighbours
        self.base = lru_cache(3)(self._base)
        self._saved = lru_cache(3)(self._read_saved)
        self._records: dict[int, list[dict[str, Any]]] = {}
        self._editors: dict[int, MaskEditor] = {}
        self._refused: dict[int, list[str]] = {}  # ids of strokes that the page has to send again

    def _base(self, position: int) -> Scene:
        """Return a scene before all strokes that were not saved."""
        scene, saved = self._load(position), self._saved(position)
        return replace(scene, target=self._original(scene) if saved is None else saved.masks)

    def _read_saved(self, position: int) -> Saved | None:
        if self._folder is None:
            return None
        name, labels = self.source.names[position], self.source.labels
        return read_corrections(self._folder, name, labels, self.film(position))

    def film(self, position: int) -> str:
        """Return the fingerprint of an image: strokes and masks of another one are refused."""
        return film_digest(self._load(position).pixels)

    def scene(self, position: int) -> Scene:
        """Return a scene with its corrected target."""
        if not self.records(position):
            return self.base(position)
        return replace(self._load(position), target=self._editor(position).masks)

    def records(self, position: int) -> list[dict[str, Any]]:
        """Return the records of an image's strokes since it was saved, in order."""
        if position not in self._records:
            self._records[position] = self._written(position)
        return list(self._records[position])

    def _written(self, position: int) -> list[dict[str, Any]]:
        """Return the strokes in the journal that are not in the saved masks."""
        if self._journal is None:
            return []
        name, saved = self.source.names[position], self._saved(position)
        records = self._journal.records(name)
        for record in records:
            self._check(position, record)
        last = saved.stroke if saved else None
        if last in [record["id"] for record in records]:
            # whoever saved was stopped before the journal said so
            self._journal.saved(name, last)
            records = self._journal.records(name)
        return records

    def _check(self, position: int, record: Mapping[str, Any]) -> None:
        """Raise WrongStroke if a record is none, or is of another film."""
        name, film = self.source.names[position], self.film(position)
        if record.get("film", film) != film:
            raise WrongStroke(f"{self._where()}has strokes on another film called {name!r}; {_OWN}")
        labels = dict(enumerate(self.source.labels.names))
        for place, said in (("label", "name"), ("to", "to_name")):
            label, named = record.get(place, 0), record.get(said)
            if named is not None and type(label) is int and labels.get(label) != named:
                raise WrongStroke(
                    f"stroke: on {named!s:.80}, but label {label} is {labels.get(label, 'none')}; "
                    "open it with the masks and predictions that it was drawn on"
                )
        try:
            Stroke.read(record, len(labels))
        except ValueError as error:
            raise WrongStroke(str(error)) from error
        if not isinstance(record.get("id"), str):
            raise WrongStroke(f"stroke: the id {record.get('id')!s:.80} is no text")

    def _where(self) -> str:
        return f"{self._journal.path}: " if self._journal else ""

    def add(self, position: int, record: Mapping[str, Any]) -> bool:
        """Write a stroke to the journal and apply it; return whether it is among `records` now.

        One whose id is there already is not applied again; it may have been saved meanwhile. Once
        one was refused, the page shows what is not here, and all after it are refused, until it
        comes again, or the image is loaded anew (`forget`). WrongStroke for a record that can never
        be kept, and ValueError or OSError if this one cannot.
        """
        self._check(position, record)
        refused, name = self._refused.setdefault(position, []), record["id"]
        if refused and name != refused[0]:
            refused += [] if name in refused else [name]
            raise ValueError("a stroke before it was not kept, and has to be sent first")
        try:
            is_pending = self._add(position, record)
        except (ValueError, OSError):
            refused += [] if refused else [name]
            raise
        del refused[:1]
        return is_pending

    def _add(self, position: int, record: Mapping[str, Any]) -> bool:
        if record["id"] in [other["id"] for other in self.records(position)]:
            return True
        editor = self._editor(position)
        name, film = self.source.names[position], self.film(position)
        record = {**record, "image": name, "film": film}
        if self._journal and not self._journal.append(record):
            return False
        self._records[position].append(record)
        editor.apply(record)
        return True

    def save(self, position: int, who: str) -> Path:
        """Save an image's corrected masks in the folder; ValueError or OSError if that fails."""
        if self._folder is None or self._journal is None:
            raise ValueError("no folder to save corrections in: give corrections=FOLDER")
        source, name, records = self.source, self.source.names[position], self.records(position)
        masks, before = self.scene(position).target, self.base(position).target
        if masks is None or before is None:  # no scene of `base` is without
            raise ValueError(f"{name}: no masks to save")
        saved = self._saved(position)
        last = records[-1]["id"] if records else saved.stroke if saved else None
        path = save_corrections(
            self._folder,
            name,
            masks,
            digest(before),
            who,
            image=source.path_of(position),
            split=source.split,
            case=source.entries[position].case if source.entries else None,
            view=source.views[position],
            film=self.film(position),
            stroke=last,
        )
        self._journal.saved(name)
        self.forget(position)
        return path

    def forget(self, position: int) -> None:
        """Read an image anew when it is asked for; without a folder its strokes stay."""
        self._refused.pop(position, None)
        if self._folder is None:
            return
        self.base.cache_clear()
        self._saved.cache_clear()
        self._records.pop(position, None)
        self._editors.pop(position, None)

    def _original(self, scene: Scene) -> PackedMasks:
        if scene.masks is not None:
            return scene.masks
        shape = (*scene.pixels.shape[:2], byte_count(len(self._own)))
        return PackedMasks(np.zeros(shape, np.uint8), self._own).relabel(self.source.labels)

    def _editor(self, position: int) -> MaskEditor:
        if position not in self._editors:
            scene = self.base(position)
            editor = MaskEditor(scene.target or self._original(scene), scene.prediction)
            for record in self.records(position):
                editor.apply(record)
            self._editors[position] = editor
            if len(self._editors) > _MOST_EDITORS:
                del self._editors[next(iter(self._editors))]
        return self._editors[position]
