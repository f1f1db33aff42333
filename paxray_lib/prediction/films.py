"""Films through a network, one after another: reading, the network and deciding side by side.

Nothing is written here. An image that fails is a `Film` with a `problem`, in its place in the
order, and the rest goes on.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from paxray_lib.compute.devices import share_cores
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.images.read import decode_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, Probabilities, close_tree
from paxray_lib.models.inference import NOT_FINITE, Passed, Segmenter, pass_through
from paxray_lib.prediction.doubt import Estimate, Inspector
from paxray_lib.prediction.engines import on_gpu, prepare
from paxray_lib.prediction.recognition import Found, Recognizer
from paxray_lib.utils import map_ahead
from paxray_lib.utils.manifest import State, read_source

_T = TypeVar("_T")


@dataclass(frozen=True)
class Film:
    """One image, and what was made of it.

    Attributes
    ----------
    path : its file
    state : that in which the file was read, see `utils.manifest`
    spacing_mm : (row, column) distance of pixel centres, or None
    found : what it says of itself, and what was recognized
    masks : (L, H, W) of the labels asked for, or None
    probabilities : of the labels of which they are asked for, if any
    problem : why there are no masks, naming the file, or an empty text
    """

    path: Path
    state: State = field(default_factory=list)
    spacing_mm: tuple[float, float] | None = None
    found: Found = field(default_factory=Found)
    masks: PackedMasks | None = None
    probabilities: Probabilities | None = None
    problem: str = ""


# a film that was read, and the network's input (3, h, w)
_Prepared = tuple[Film, np.ndarray | None]
# that input, what the network made of it, and of it mirrored and smaller
_Result = tuple[np.ndarray, Passed, np.ndarray]
_Seen = tuple[Film, _Result | None]


class Films:
    """A model with its settings, and what films are taken for.

    Parameters
    ----------
    model : Segmenter
    settings : as `settings.json` of `predict` has them
    indices : the labels to keep
    views : those that are known better than by header or name
    view : of those that nothing tells
    """

    def __init__(
        self,
        model: Segmenter,
        settings: Mapping[str, Any],
        indices: list[int],
        views: Mapping[Path, str],
        view: str | None,
    ):
        self._model, self._settings, self._indices = model, settings, indices
        self._views, self._told_view = views, view
        self._estimate = Estimate.of(settings["weights"])

    def view(self, path: Path, found: Found) -> tuple[str | None, float]:
        """Return a film's view, and its probability if it was recognized, or NaN."""
        told = self._views.get(path) or found.told or self._told_view
        return (told, math.nan) if told else found.recognized()

    def flags(self, found: Found, view: str | None) -> tuple[str, ...]:
        """Return its flags: a film from the side has no mirrored heart."""
        return tuple(flag for flag in found.flags if (flag, view) != ("mirrored", "lateral"))

    def doubt(self, found: Found, view: str | None) -> float:
        """Return its doubt, 0..1, or NaN where nobody knows what the signs say of it."""
        if not (found.signs and self._estimate) or view == "lateral":
            return math.nan
        # of what is no film of a chest no mask can be right
        return 1.0 if "not_a_chest_film" in found.flags else self._estimate(found.signs)

    def each(
        self, function: Callable[[Film], _T], paths: Iterable[Path], batch_size: int | None
    ) -> Generator[_T, None, None]:
        """Yield `function` of each film, in order; threads decide and call it, two or more.

        A batch has 8 images on a GPU and one elsewhere, unless `batch_size` says otherwise. So many
        films are in memory as two batches and a few more have. If the work ends early, calls that
        have begun are waited for.
        """
        cores, threads = share_cores()
        batch_size = batch_size or (8 if on_gpu(self._model) else 1)
        seen = self._seen(paths, batch_size, cores)
        ahead = max(threads, min(2 * batch_size, 4))
        results = map_ahead(lambda one: function(self._decide(one)), seen, threads, ahead, None)
        with contextlib.closing(seen), contextlib.closing(results):
            yield from results

    def _seen(
        self, paths: Iterable[Path], batch_size: int, cores: int
    ) -> Generator[_Seen, None, None]:
        """Yield each image, in order, with what the network makes of it."""
        waiting = iter(paths)
        first = next(waiting, None)
        if first is None:  # to prepare the network takes seconds
            return
        paths = itertools.chain([first], waiting)
        with prepare(self._model, self._settings["precision"], cores) as model:
            self._take(model)
            prepared = map_ahead(self._read, paths, ahead=2 * batch_size)
            while batch := list(itertools.islice(prepared, batch_size)):
                yield from self._pass(batch)

    def _take(self, model: Segmenter) -> None:
        self._model, self._recognizer = model, Recognizer(model)
        self._inspector = Inspector(model)
        # what a whole gains from parts that are not asked for
        every = range(len(model.labels)) if self._settings["close_tree"] else ()
        self._needed = sorted({*self._indices, *self._recognizer.needed, *every})
        self._decided = LabelSet(model.labels.names[i] for i in self._needed)
        chosen = self._settings["probabilities"] or ()
        self._probable = [i for i, name in enumerate(model.labels.names) if name in chosen]

    def _read(self, path: Path) -> _Prepared:
        """Return an image as the network takes it."""
        try:
            if readable(path) != str(path):
                raise ValueError(
                    f"{readable(path)}: the name is not UTF-8, so no report can hold it; rename it"
                )
            data, state = read_source(path, MAX_BYTES)
            image = decode_image(data, path)
            inputs = self._model.preprocess(image)
        except (ValueError, OSError) as error:
            return Film(path, problem=str(error)), None
        height, width = image.pixels.shape
        said = Found(image.view, note=image.doubt, size=(height, width))
        return Film(path, state, image.spacing_mm, said), inputs

    def _pass(self, batch: list[_Prepared]) -> Generator[_Seen, None, None]:
        good = [(film, inputs) for film, inputs in batch if inputs is not None]
        results: Iterator[_Result] = iter(())
        if good:
            stack = np.stack([inputs for _, inputs in good])  # (N, 3, h, w)
            passed = pass_through(self._model, stack, self._mirror_views(good))
            results = zip(stack, passed, self._inspector.mirrored(stack), strict=True)
        for film, inputs in batch:
            yield film, None if inputs is None else next(results)

    def _mirror_views(self, batch: list[tuple[Film, np.ndarray]]) -> list[str | None]:
        """Return by which view each image is averaged with its mirror image, or None."""
        if not self._settings["mirror"]:
            return [None] * len(batch)
        told = [self.view(film.path, film.found)[0] for film, _ in batch]
        return [
            view or self._recognizer.view(inputs)
            for view, (_, inputs) in zip(told, batch, strict=True)
        ]

    def _decide(self, seen: _Seen) -> Film:
        """Return a film with its masks, or with the problem that it has."""
        film, result = seen
        if result is None:
            return film
        try:
            return self._masks(film, *result)
        except ValueError as error:
            return replace(film, problem=str(error))

    def _masks(self, film: Film, inputs: np.ndarray, passed: Passed, mirrored: np.ndarray) -> Film:
        said = film.found
        bits = passed.decide(said.size, self._settings["threshold"], self._needed)
        if bits is None:
            raise ValueError(f"{film.path}: {NOT_FINITE}")
        masks = PackedMasks(bits, self._decided)
        found = self._recognizer(inputs, masks, said.told)
        view, _ = self.view(film.path, found)
        signs = self._inspector(passed.coarse, mirrored, view)
        if self._settings["close_tree"]:
            masks = close_tree(masks)
        if self._indices != self._needed:
            masks = masks.select([self._needed.index(i) for i in self._indices])
        found = replace(found, signs=signs, note=said.note, size=said.size)
        probabilities = passed.probabilities(self._probable) if self._probable else None
        return replace(film, found=found, masks=masks, probabilities=probabilities)


def readable(path: Path) -> str:
    """Return a path as text for any file: bytes that are not UTF-8 become escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
