"""Films to masks and numbers, one after another, without a file being written."""

import math
import os
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from paxray_lib.compute.devices import PRECISIONS
from paxray_lib.images.files import find_images
from paxray_lib.images.image import possible_spacing
from paxray_lib.images.views import VIEWS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import measure
from paxray_lib.measurement.tables import check_spacing
from paxray_lib.models.decisions import check_threshold
from paxray_lib.models.inference import Segmenter
from paxray_lib.prediction.doubt import Signs
from paxray_lib.prediction.engines import find_model
from paxray_lib.prediction.films import Film, Films, readable
from paxray_lib.utils import check_choice


@dataclass(frozen=True)
class Prediction:
    """What is known of one film; see `predict` for what the words mean.

    Attributes
    ----------
    file : its path, as text
    masks : PackedMasks (L, H, W) of the film's own size, or None if it failed
    problem : why it failed, naming the file, or an empty text
    note : what its file says and cannot be, such as a spacing of zero, or an empty text
    view : "frontal", "lateral" or None
    view_probability : of a view that was recognized; NaN if it was told
    flags : words such as "upside_down"; none for most films
    doubt : an estimate of 1 - Dice of lungs and heart, or NaN
    signs : what doubt is made of, or None
    spacing_mm : (row, column) distance of pixel centres, or None
    """

    file: str
    masks: PackedMasks | None = None
    problem: str = ""
    note: str = ""
    view: str | None = None
    view_probability: float = math.nan
    flags: tuple[str, ...] = ()
    doubt: float = math.nan
    signs: Signs | None = None
    spacing_mm: tuple[float, float] | None = None

    @cached_property
    def measurements(self) -> dict[str, float]:
        """What `measurement.geometry.measure` finds in the masks, computed when it is asked for.

        Empty for a film that failed or has flags, as `paxray predict --measure` leaves it out; the
        function itself measures any masks.
        """
        if self.masks is None or self.flags:
            return {}
        return measure(self.masks, self.view, self.spacing_mm)


def predict_each(
    model: Segmenter | str | os.PathLike,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    threshold: float = 0.5,
    labels: str | Iterable[str] | None = None,
    batch_size: int | None = None,
    mirror: bool = False,
    precision: str = "float32",
    close_tree: bool = False,
    view: str | None = None,
    spacing_mm: float | None = None,
) -> Generator[Prediction, None, None]:
    """Return a generator of one `Prediction` per image, in order; nothing is written.

    An image that cannot be read has a `problem`, and the next one follows. A few images are in
    memory at a time, however many there are: read, segmented and decided on ahead of the caller.

    Parameters
    ----------
    model : "open", a file of weights, or a module, as for `predict`
    images : a file, a folder with everything below it, or paths, which may come from a generator
    spacing_mm : distance of pixel centres for the images that do not say theirs
    threshold, labels, batch_size, mirror, precision, close_tree, view : as for `predict`

    Raises
    ------
    FileNotFoundError, ValueError
        At once, if there is no image, or a setting is wrong.
    """
    check_threshold(threshold)
    check_choice(precision, PRECISIONS, "precision")
    check_spacing(spacing_mm)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be 1 or more")
    if view is not None:
        check_choice(view, VIEWS, "view")
    if isinstance(model, (str, os.PathLike)):
        model = find_model(model, precision=precision)
    indices = model.labels.select(labels) if labels else list(range(len(model.labels)))
    paths = find_images(images) if isinstance(images, (str, os.PathLike)) else map(Path, images)
    settings = {
        "weights": model.weights_digest(),
        "threshold": threshold,
        "probabilities": None,
        "mirror": mirror,
        "precision": precision,
        "close_tree": close_tree,
    }
    films = Films(model, settings, indices, {}, view)
    return _predictions(films, paths, batch_size, spacing_mm)


def _predictions(
    films: Films, paths: Iterable[Path], batch_size: int | None, spacing_mm: float | None
) -> Generator[Prediction, None, None]:
    def conclude(film: Film) -> Prediction:
        return _conclude(films, film, spacing_mm)

    with closing(films.each(conclude, paths, batch_size)) as predictions:
        yield from predictions


def _conclude(films: Films, film: Film, given_mm: float | None) -> Prediction:
    if film.masks is None:
        return Prediction(readable(film.path), problem=film.problem)
    found, masks = film.found, film.masks
    if masks.shape[1:] != found.size:
        masks = masks.resize(*found.size)
    spacing, note = film.spacing_mm, found.note
    if given_mm and not spacing:
        spacing, note = possible_spacing((given_mm, given_mm), found.size)
    view, probability = films.view(film.path, found)
    return Prediction(
        file=readable(film.path),
        masks=masks,
        note=note,
        view=view,
        view_probability=probability,
        flags=films.flags(found, view),
        doubt=films.doubt(found, view),
        signs=found.signs,
        spacing_mm=spacing,
    )
