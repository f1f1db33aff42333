"""Where the viewer's images come from: one image, a split of a data set, or a folder."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.data.datafile import Entry
from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.images import Image, read_image, view_of
from paxray_lib.images.files import find_images
from paxray_lib.importing.names import item_name
from paxray_lib.labels import LabelSet
from paxray_lib.labels.matching import unite
from paxray_lib.masks import PackedMasks, Probabilities
from paxray_lib.masks.probabilities import probabilities_name
from paxray_lib.prediction.predict import output_names
from paxray_lib.viewer.outputs import find_masks, report_scores
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.uniting import first_labels, onto, own_masks, united
from paxray_lib.viz.overlay import ImageLike, MasksLike, as_pixels

#: Those of two models.
TwoFolders = tuple[str | os.PathLike, str | os.PathLike]
#: A folder of mask files, a function of a sample, or none.
Predictions = str | os.PathLike | Callable[[Sample], MasksLike | None] | None
#: Columns of scores of which the highest is the worst.
HIGHEST = ("doubt", "broken_rules", "disagreement")
#: Or a file of them.
ProbabilitiesLike = str | os.PathLike | Probabilities

#: Where masks are from.
ROLES = ("truth", "prediction")


@dataclass(frozen=True)
class Source:
    """Images to browse, read one by one.

    Attributes
    ----------
    labels : LabelSet
    names : paths of images below their folder, without suffix; as in `review.films`
    views : "frontal", "lateral" or None for each
    load : function of a position
        Returns the Scene, or raises a ValueError or OSError that names the file.
    scores : for each column one number or None per image
    ranks : columns of `ranking` that can be computed
    path_of : function of a position
        Returns the file of the image, or None.
    split : of a data set, else "train"
    entries : of a data set, for each image, else none
    roles : for each image, which it has of `ROLES`, or of `models`
    models : what two models are called, whose masks stand for target and prediction; else none
    blind : whether the names are numbers, and nothing tells the role of the masks
    """

    labels: LabelSet
    names: list[str]
    views: list[str | None]
    load: Callable[[int], Scene]
    scores: dict[str, list[float | None]] = field(default_factory=dict)
    ranks: tuple[str, ...] = ()
    path_of: Callable[[int], Path | None] = lambda _: None
    split: str = "train"
    entries: Sequence[Entry] = ()
    roles: Sequence[tuple[str, ...]] = ()
    models: tuple[str, ...] = ()
    blind: bool = False

    def items(self) -> dict[str, Any]:
        """Return what the page gets to browse by; `highest`: columns of which that is the worst."""
        columns = (*self.scores, *self.ranks)
        return {
            "names": self.names,
            "views": self.views,
            "scores": self.scores,
            "ranks": list(self.ranks),
            "highest": [one for one in columns if one.partition(" of ")[0] in HIGHEST],
        }

    def widened(self, labels: LabelSet | None) -> "Source":
        """Return it with further labels, by name, which are not known in its masks."""
        wide = unite([self.labels, labels or self.labels])
        if wide == self.labels:
            return self

        def load(index: int) -> Scene:
            scene = self.load(index)
            target, found = scene.target, scene.prediction
            return replace(
                scene,
                target=target and target.relabel(wide),
                prediction=found and found.relabel(wide),
            )

        return replace(self, labels=wide, load=load)

    def choose(self, selected: str | Iterable[str] | None, masks: PackedMasks | None) -> list[str]:
        """Return the selected names, or lungs and heart as far as they are there, or one label."""
        names = self.labels.names
        if selected is not None:
            return [names[i] for i in self.labels.select(selected)]
        present = [names[i] for i in np.flatnonzero(masks.counts())] if masks is not None else []
        return [n for n in present if n in ("lung_left", "lung_right", "heart")] or present[:1]


def from_image(
    image: ImageLike,
    masks: MasksLike | None,
    prediction: MasksLike | None,
    labels: LabelSet | None = None,
    probabilities: ProbabilitiesLike | None = None,
) -> Source:
    """Return the source of a single image, of which at least one kind of masks is given."""
    name, path = "image", None
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        name, image = path.stem, read_image(image)
    view, spacing = (image.view, image.spacing_mm) if isinstance(image, Image) else (None, None)
    target = None if masks is None else own_masks(masks, labels)
    predicted = None if prediction is None else own_masks(prediction, labels)
    if target or predicted:
        target, predicted = united(target, predicted)
    if probabilities is None:
        probabilities = _beside(prediction)
    elif isinstance(probabilities, (str, os.PathLike)):
        probabilities = Probabilities.read(probabilities)
    scene = Scene(name, as_pixels(image), target, predicted, view, spacing, probabilities)
    if scene.masks is None:
        raise ValueError("nothing to show over the image: give masks, a prediction, or both")
    return Source(scene.masks.labels, [name], [view], lambda _: scene, path_of=lambda _: path)


def _beside(masks: object) -> Probabilities | None:
    """Return the probabilities in the file beside a mask file, if it is one and they are there."""
    if not isinstance(masks, (str, os.PathLike)):
        return None
    path = Path(probabilities_name(masks))
    return Probabilities.read(path) if os.path.lexists(path) else None


def from_dataset(dataset: PaxrayDataset, predictions: Predictions = None) -> Source:
    """Return the source of the images of a data set, with predictions."""
    if not len(dataset):
        raise ValueError(f"{dataset!r} is empty; choose another split")
    root, images, names, views = films_of(dataset)
    files: Sequence[Path | None] = [None] * len(images)
    scores: dict[str, list[float | None]] = {}
    if predictions is not None and not callable(predictions):
        files = find_masks(predictions, root, images, repr(dataset))
        scores = report_scores(predictions, files)
    labels = unite([dataset.labels, first_labels(files, dataset.labels)])

    def load(index: int) -> Scene:
        sample = dataset[index]
        masks = predictions(sample) if callable(predictions) else files[index]
        prediction = None if masks is None else own_masks(masks, dataset.labels)
        prediction = prediction and onto(prediction, labels, files[index] or names[index])
        name, pixels, target = names[index], as_pixels(sample.image), sample.masks
        view, spacing, found = sample.view, sample.spacing_mm, _beside(masks)
        return Scene(
            name, pixels, target and target.relabel(labels), prediction, view, spacing, found
        )

    ranks = ("rules_kept",) if predictions is None else ("iou_present", "rules_kept")
    return Source(
        labels,
        names,
        views,
        load,
        scores,
        ranks,
        path_of=dataset.image_path,
        split=dataset.split,
        entries=dataset.entries,
        roles=[
            ("truth",) * (entry.target is not None)
            + ("prediction",) * (callable(predictions) or file is not None)
            for entry, file in zip(dataset.entries, files, strict=True)
        ],
    )


def from_folder(
    images: str | os.PathLike, predictions: str | os.PathLike, labels: LabelSet | None = None
) -> Source:
    """Return the source of the images below a folder that have predicted masks below another.

    `images` may be a single file, too.
    """
    root, paths, own, sides = films_of(images)
    files = find_masks(predictions, root, paths, f"{root} ({len(paths)})")
    pairs = [(path, masks) for path, masks in zip(paths, files, strict=True) if masks]
    kept = [k for k, masks in enumerate(files) if masks]
    names, views = [own[k] for k in kept], [sides[k] for k in kept]
    known = first_labels([masks for _, masks in pairs], labels)

    def load(index: int) -> Scene:
        path, masks = pairs[index]
        image, prediction = read_image(root / path), onto(own_masks(masks, known), known, masks)
        pixels, spacing = as_pixels(image), image.spacing_mm
        found = _beside(masks)
        return Scene(names[index], pixels, None, prediction, views[index], spacing, found)

    return Source(
        known,
        names,
        views,
        load,
        scores=report_scores(predictions, [masks for _, masks in pairs]),
        ranks=("rules_kept",),
        path_of=lambda index: root / pairs[index][0],
        roles=[("prediction",)] * len(pairs),
    )


def films_of(
    images: PaxrayDataset | str | os.PathLike,
) -> tuple[Path, list[Path], list[str], list[str | None]]:
    """Return the folder of images, and their paths below it, names and views."""
    if isinstance(images, PaxrayDataset):
        entries, datafile = images.entries, images.datafile
        paths = [Path(entry.image) for entry in entries]
        names = [item_name(entry.image.removeprefix("images/")) for entry in entries]
        return datafile.root, paths, names, [datafile.view(entry) for entry in entries]
    root = Path(images) if Path(images).is_dir() else Path(images).parent
    paths = [path.relative_to(root) for path in find_images(images)]
    names = output_names([path.as_posix() for path in paths], "")
    return root, paths, list(names), [view_of(path) for path in paths]
