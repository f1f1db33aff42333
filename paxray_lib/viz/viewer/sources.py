"""What the LabelViewer shows: an image with masks, a split of a data set, or a folder of images;
and how they travel.

Masks travel as the table of distinct label sets (packed bits, row 0 the empty set) and one table
row a pixel, images as the rest that remains when each pixel is predicted from its neighbours; both
compressed by zlib, which browsers undo."""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.images.files import find_images
from paxray_lib.images.read import read_image
from paxray_lib.images.views import view_of
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import as_words
from paxray_lib.masks.files import MASK_SUFFIXES
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.errors import did_you_mean
from paxray_lib.viz.coerce import as_masks, as_pixels, check_size

_ZLIB_LEVEL = 6


@dataclass(frozen=True)
class Scene:
    """One image with its masks.

    Attributes
    ----------
    name : str
    pixels : (H, W) or (H, W, 3) uint8 array
    target, prediction : PackedMasks of the image's height and width, or None
    view : "frontal", "lateral" or None
    spacing_mm : (row, column) spacing, or None
    """

    name: str
    pixels: np.ndarray
    target: PackedMasks | None
    prediction: PackedMasks | None
    view: str | None = None
    spacing_mm: tuple[float, float] | None = None

    def __post_init__(self):
        stacks = {"masks": self.target, "predicted masks": self.prediction}
        for what, masks in stacks.items():
            if masks is not None:
                check_size(self.pixels, masks, what)
        if (
            self.target is not None
            and self.prediction is not None
            and self.target.labels != self.prediction.labels
        ):
            labels = self.target.labels, self.prediction.labels
            raise ValueError(
                f"{self.name}: masks and prediction have different labels: {labels[0]} and {labels[1]}"
            )

    def reduced(self, part: float) -> "Scene":
        """Return it with height and width times `part`: the image by area, the masks by nearest
        neighbour.
        """
        height, width = (max(1, int(side * part)) for side in self.pixels.shape[:2])
        pixels = np.asarray(
            PilImage.fromarray(self.pixels).resize((width, height), PilImage.Resampling.BOX)
        )
        stacks = (
            None if masks is None else masks.resize(height, width)
            for masks in (self.target, self.prediction)
        )
        spacing = self.spacing_mm and tuple(mm / part for mm in self.spacing_mm)
        return Scene(self.name, pixels, *stacks, self.view, spacing)

    def to_message(self) -> dict:
        """Return what the browser gets: plain values, and bytes for image, target and
        prediction.
        """
        height, width = self.pixels.shape[:2]
        message = {
            "name": self.name,
            "view": self.view,
            "spacing": None if self.spacing_mm is None else [float(mm) for mm in self.spacing_mm],
            "width": width,
            "height": height,
            "channels": 3 if self.pixels.ndim == 3 else 1,
            "sets": {},
            "image": pack_image(self.pixels),
        }
        for role, masks in (("target", self.target), ("prediction", self.prediction)):
            if masks is not None:
                message["sets"][role], message[role] = pack_masks(masks)
        return message


def pack_image(pixels: np.ndarray) -> bytes:
    """Return zlib data of (H, W) or (H, W, 3) uint8 pixels, plane by plane, less their prediction,
    modulo 256.

    The prediction is the median of left, up, and left + up - upper left; outside the image is 0.
    """
    planes = np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.int16)  # (C, H, W)
    around = np.pad(planes, ((0, 0), (1, 0), (1, 0)))
    left, up, corner = around[:, 1:, :-1], around[:, :-1, 1:], around[:, :-1, :-1]
    guess = np.clip(left + up - corner, np.minimum(left, up), np.maximum(left, up))
    return zlib.compress((planes - guess).astype(np.uint8).tobytes(), _ZLIB_LEVEL)


def pack_masks(masks: PackedMasks) -> tuple[int, bytes]:
    """Return the number K of distinct label sets, and zlib data: the (K, B) uint8 sets, then the
    row of each pixel.

    Rows are (H, W), little-endian, uint16 for K <= 65536, else uint32.
    """
    pixels = masks.data.reshape(-1, masks.data.shape[2])
    # the empty set comes first, then the pixels
    rows, first = _distinct(as_words(np.insert(pixels, 0, 0, axis=0)))
    # (K, B)
    sets = np.concatenate([np.zeros((1, pixels.shape[1]), np.uint8), pixels[first[1:] - 1]])
    ids = rows[1:].astype("<u2" if len(sets) <= 65536 else "<u4")
    return len(sets), zlib.compress(sets.tobytes() + ids.tobytes(), _ZLIB_LEVEL)


def _distinct(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each row's value in (N, W) words, by first appearance, and where each
    value comes first.
    """
    rows = np.zeros(len(words), np.int64)
    for column in words.T:
        codes, values = pd.factorize(column)
        rows, _ = pd.factorize(rows * len(values) + codes)
    last_to_first = np.arange(len(rows) - 1, -1, -1)
    first = np.empty(rows.max() + 1, np.int64)
    first[rows[last_to_first]] = last_to_first
    return rows, first


class OneScene:
    """A single image, in the form that the viewer browses."""

    def __init__(self, scene: Scene):
        masks = scene.target if scene.target is not None else scene.prediction
        if masks is None:
            raise ValueError("nothing to show over the image: give masks, a prediction, or both")
        self.labels = masks.labels
        self.names, self.views = [scene.name], [scene.view]
        self._scene = scene

    def load(self, index: int) -> Scene:
        """Return the scene."""
        return self._scene


class DatasetScenes:
    """The images of a PaxrayDataset, with predictions from a folder, a function of the sample, or
    none.
    """

    def __init__(
        self,
        dataset: PaxrayDataset,
        predictions: str | os.PathLike | Callable[[Sample], PackedMasks] | None = None,
    ):
        if not len(dataset):
            raise ValueError(f"{dataset!r} is empty; choose another split")
        self.labels = dataset.labels
        self.names = [Path(entry.image).stem for entry in dataset.entries]
        self.views = [dataset.datafile.view(entry) for entry in dataset.entries]
        self._dataset, self._predictions = dataset, predictions
        if predictions is not None and not callable(predictions):
            found = [find_masks(predictions, entry.image) for entry in dataset.entries]
            if not any(found):
                raise ValueError(
                    f"{predictions}: no mask file there bears the name of an image of {dataset!r}"
                )
            paths = dict(zip(self.names, found, strict=True))
            self._predictions = lambda sample: paths[sample.name]

    def load(self, index: int) -> Scene:
        """Read one image; raises ValueError or OSError that names the file."""
        sample = self._dataset[index]
        found = None if self._predictions is None else self._predictions(sample)
        prediction = None if found is None else as_masks(found, self.labels)
        return Scene(
            sample.name,
            as_pixels(sample.image),
            sample.masks,
            prediction,
            sample.view,
            sample.spacing_mm,
        )


class FolderScenes:
    """The images below a folder that have predicted masks of the same name below another.

    `labels` are those of mask files that do not carry them, if not the 166 published ones.
    """

    def __init__(
        self,
        images: str | os.PathLike,
        predictions: str | os.PathLike,
        labels: LabelSet | None = None,
    ):
        root = Path(images)
        relative = [path.relative_to(root) for path in find_images(root)]
        found = {path: find_masks(predictions, path) for path in relative}
        self._pairs = [(root / path, masks) for path, masks in found.items() if masks]
        if not self._pairs:
            raise ValueError(
                f"{predictions}: no mask file there bears the name of an image in {root} ({len(found)})"
            )
        self.names = [path.with_suffix("").as_posix() for path, masks in found.items() if masks]
        self.views = [view_of(path) for path, _ in self._pairs]
        self.labels = PackedMasks.read(self._pairs[0][1], labels).labels

    def load(self, index: int) -> Scene:
        """Read one image; raises ValueError or OSError that names the file."""
        path, masks = self._pairs[index]
        image = read_image(path)
        prediction = PackedMasks.read(masks, self.labels)
        return Scene(
            self.names[index],
            as_pixels(image),
            None,
            prediction,
            self.views[index],
            image.spacing_mm,
        )


def find_masks(folder: str | os.PathLike, image: str | os.PathLike) -> Path | None:
    """Return the mask file of an image below a folder: at its relative path, or else directly in
    the folder.

    The suffix is replaced (`a/s.pxm`) or added (`a/s.png.pxm`), as `predict` names its output.
    """
    folder, image = Path(folder), Path(image)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of predictions")
    for place in (image, Path(image.name)):
        for suffix in MASK_SUFFIXES:
            for path in (folder / place.with_suffix(suffix), folder / (place.as_posix() + suffix)):
                if path.is_file():
                    return path
    return None


def score_columns(table: pd.DataFrame, names: Iterable[str]) -> Mapping[str, list[float | None]]:
    """Return the numeric columns of a table of scores in the order of `names`; None where an image
    is not in it.

    Parameters
    ----------
    table : DataFrame
        One row an image, named by its column image, file or name: a path, or the stem alone.
    names : names of the images, stems or paths without suffix

    Raises
    ------
    ValueError
        If it has no such column, no numeric one, or none of the images.
    """
    key = next((column for column in ("image", "file", "name") if column in table), None)
    numeric = table.select_dtypes("number")
    if key is None or numeric.shape[1] == 0:
        raise ValueError(
            f"scores need a column 'image' and numbers, but have the columns {', '.join(map(str, table))}"
        )
    places = {Path(str(name)).stem: i for i, name in enumerate(table[key])}
    rows = [places.get(Path(name).name) for name in names]
    if all(row is None for row in rows):
        raise ValueError(
            f"scores are for other images: {table[key].iloc[0]!r} is not among those to browse"
        )
    return {str(column): [_number(numeric[column], row) for row in rows] for column in numeric}


def _number(column: pd.Series, row: int | None) -> float | None:
    value = None if row is None else float(column.iloc[row])
    return None if value is None or not np.isfinite(value) else value


def find_name(names: list[str], wanted: str) -> int:
    """Return the position of a name; raises ValueError with near matches."""
    if wanted not in names:
        raise ValueError(f"no image {wanted!r} to show{did_you_mean(wanted, names)}")
    return names.index(wanted)


def label_message(labels: LabelSet) -> dict:
    """Return what the browser needs to know of the labels."""
    return {
        "names": list(labels.names),
        "groups": list(labels.group),
        "colors": labels.colors.tolist(),
        "tree": [list(entry) for entry in labels.tree()],
    }
