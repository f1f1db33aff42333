"""What strokes make of the masks of each image, in the kernel."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks, byte_count
from paxray_lib.masks.strokes import MaskEditor, Stroke
from paxray_lib.viewer.scene import Scene


class Journal(Protocol):
    """Where strokes are written down before they are acknowledged."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record to disk; the same id twice is one. OSError if it cannot."""

    def records(self, image: str) -> list[dict[str, Any]]:
        """Return what was written for an image, in order."""


class Corrections:
    """Scenes whose target is what strokes made of it.

    What is corrected is the target; where there is none, a copy of the prediction, or else empty
    masks.

    Parameters
    ----------
    load : function of a position that returns its Scene
    labels : LabelSet
    journal : Journal, optional
        Its strokes are applied when an image is first opened.
    """

    def __init__(self, load: Callable[[int], Scene], labels: LabelSet, journal: Journal | None):
        self._load, self._labels, self._journal = load, labels, journal
        self._records: dict[int, list[dict[str, Any]]] = {}
        self._editors: dict[int, MaskEditor] = {}

    def base(self, position: int) -> Scene:
        """Return a scene before all strokes."""
        scene = self._load(position)
        return replace(scene, target=self._start(scene))

    def scene(self, position: int) -> Scene:
        """Return a scene with its corrected target."""
        if not self.records(position):
            return self.base(position)
        return replace(self._load(position), target=self._editor(position).masks)

    def records(self, position: int) -> list[dict[str, Any]]:
        """Return the records of an image's strokes, in order."""
        if position not in self._records:
            name = self._load(position).name
            written = self._journal.records(name) if self._journal else []
            for record in written:
                Stroke.read(record, len(self._labels))
            self._records[position] = list(written)
        return self._records[position]

    def add(self, position: int, record: Mapping[str, Any]) -> None:
        """Write a stroke to the journal and apply it; ValueError or OSError if that fails.

        One whose id is there already is not applied again.
        """
        records, editor = self.records(position), self._editor(position)
        Stroke.read(record, len(self._labels))
        if not any(record.get("id") == known.get("id") for known in records):
            if self._journal:
                self._journal.append(record)
            records.append(dict(record))
            editor.apply(record)

    def _start(self, scene: Scene) -> PackedMasks:
        if scene.masks is not None:
            return scene.masks
        shape = (*scene.pixels.shape[:2], byte_count(len(self._labels)))
        return PackedMasks(np.zeros(shape, np.uint8), self._labels)

    def _editor(self, position: int) -> MaskEditor:
        if position not in self._editors:
            scene = self._load(position)
            editor = MaskEditor(self._start(scene), scene.prediction)
            for record in self.records(position):
                editor.apply(record)
            self._editors[position] = editor
        return self._editors[position]
