"""What strokes make of the masks of each image, in the kernel."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.masks import PackedMasks, byte_count
from paxray_lib.masks.strokes import MaskEditor, Stroke
from paxray_lib.review.corrections import digest, load_corrections, save_corrections
from paxray_lib.review.journal import Journal
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import Source

_MOST_EDITORS = 8  # images whose masks stay in memory; those of others are made again


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
        If two images bear one name, or the journal in the folder is damaged.
    """

    def __init__(self, source: Source, folder: str | os.PathLike | None):
        self._source, self._folder = source, None if folder is None else Path(folder)
        names = source.names
        if self._folder and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two images are called {twice!r}: corrections need different names")
        self._journal = None if self._folder is None else Journal(self._folder)
        self._load = lru_cache(3)(source.load)  # the image shown and its neighbours
        self.base = lru_cache(3)(self._base)
        self._records: dict[int, list[dict[str, Any]]] = {}
        self._editors: dict[int, MaskEditor] = {}

    def _base(self, position: int) -> Scene:
        """Return a scene before all strokes that were not saved."""
        scene, masks = self._load(position), None
        if self._folder:
            name = self._source.names[position]
            masks = load_corrections(self._folder, name, self._source.labels)
        return replace(scene, target=self._original(scene) if masks is None else masks)

    def scene(self, position: int) -> Scene:
        """Return a scene with its corrected target."""
        if not self.records(position):
            return self.base(position)
        return replace(self._load(position), target=self._editor(position).masks)

    def records(self, position: int) -> list[dict[str, Any]]:
        """Return the records of an image's strokes since it was saved, in order."""
        if position not in self._records:
            name = self._source.names[position]
            written = self._journal.records(name) if self._journal else []
            for record in written:
                Stroke.read(record, len(self._source.labels))
            self._records[position] = written
        return self._records[position]

    def add(self, position: int, record: Mapping[str, Any]) -> None:
        """Write a stroke to the journal and apply it; ValueError or OSError if that fails.

        One whose id is there already is not applied again.
        """
        records, editor = self.records(position), self._editor(position)
        record = {**record, "image": self._source.names[position]}
        Stroke.read(record, len(self._source.labels))
        known = [other.get("id") for other in records]
        if record.get("id") in known:
            return
        if self._journal:
            self._journal.append(record)
            written = [other["id"] for other in self._journal.records(record["image"])]
            if record["id"] not in written:
                return  # it was saved before the page heard of it
        records.append(record)
        editor.apply(record)

    def save(self, position: int, who: str | None) -> Path:
        """Save an image's corrected masks in the folder; ValueError or OSError if that fails."""
        if self._folder is None or self._journal is None:
            raise ValueError("no folder to save corrections in: give corrections=FOLDER")
        name, masks = self._source.names[position], self.scene(position).target
        before, film = self.base(position).target, self._source.path_of(position)
        if masks is None or before is None:  # no scene of `base` is without
            raise ValueError(f"{name}: no masks to save")
        who = who or getpass.getuser()
        path = save_corrections(self._folder, name, masks, digest(before), who, image=film)
        self._journal.saved(name)
        self.base.cache_clear()
        self._records.pop(position, None)
        self._editors.pop(position, None)
        return path

    def _original(self, scene: Scene) -> PackedMasks:
        if scene.masks is not None:
            return scene.masks
        labels = self._source.labels
        shape = (*scene.pixels.shape[:2], byte_count(len(labels)))
        return PackedMasks(np.zeros(shape, np.uint8), labels)

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
