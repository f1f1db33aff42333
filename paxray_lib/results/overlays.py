"""Pictures of films with the structures found: JPEG files with a legend, and thumbnails.

They have the film's aspect ratio: where rows and columns are not equally far apart, the distances
in millimetres count.
"""

import contextlib
import io
import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image as PilImage

from paxray_lib.images import Image, read_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.measurement.tables import predicted_labels
from paxray_lib.prediction.predict import FORMATS, OVERLAYS
from paxray_lib.utils import atomic_write, map_ahead, progress
from paxray_lib.utils.errors import is_disk_full
from paxray_lib.utils.manifest import Manifest, read_manifest
from paxray_lib.viz.compose import label_entries, legend_page, side_by_side
from paxray_lib.viz.overlay import render

#: Drawn by default where a model has them: large structures that hide little of each other. The
#: names are those of PAXRay and of CXAS.
LARGE = (
    *("lung_right", "lung_left", "right lung", "left lung", "heart", "aorta", "airways", "trachea"),
    *("spine", "hemidiaphragm_right", "hemidiaphragm_left", "right hemidiaphragm"),
    *("left hemidiaphragm", "clavicle right", "clavicle left"),
)
# sizes in pixels of the longer side, opacity of 255; chosen by eye
_LARGEST, _SMALL = 1024, 256
_ALPHA, _QUALITY, _SMALL_QUALITY = 40, 88, 75
_ONE_AT_A_TIME = threading.Lock()  # masks of a large image take 2 GB


@dataclass(frozen=True)
class Picture:
    """What was drawn of one output: a thumbnail (JPEG), the large picture's name, a problem."""

    thumbnail: bytes = b""
    overlay: str = ""
    problem: str = ""


def chosen_labels(labels: LabelSet, names: str | Iterable[str] | None = None) -> list[int]:
    """Return the indices of the labels to draw: what `names` select, or else those of `LARGE`.

    All, if the labels have none of these.
    """
    if names:
        return labels.select(names)
    return [i for name in LARGE for i in labels.find(name)] or list(range(len(labels)))


def draw_predictions(
    out: str | os.PathLike,
    report: pd.DataFrame,
    names: str | Iterable[str] | None = None,
    *,
    overlays: bool = True,
    thumbnails: Collection[str] | None = None,
) -> dict[str, Picture]:
    """Draw each output of a prediction over its image.

    Parameters
    ----------
    out : folder of the predictions
    report : what `predict` returned
    names : names, groups and patterns of the labels to draw; by default the large structures, see
        `chosen_labels`
    overlays : also write `overlays/x.jpg` in that folder, with a legend
    thumbnails : the files of which a small picture is wanted, too; by default all

    Returns
    -------
    dict of file to Picture
        For the inputs that have an output, without overlays for those of `thumbnails`. A problem
        says why one could not be drawn.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no predictions, or a label is unknown.
    """
    out = Path(out)
    labels = predicted_labels(out)
    indices = chosen_labels(labels, names)
    with Manifest(out / OVERLAYS) if overlays else contextlib.nullcontext() as manifest:
        done = report[report["output"].fillna("") != ""]
        small = set(done["file"] if thumbnails is None else thumbnails)
        if not overlays:
            done = done[done["file"].isin(small)]
        artist = _Artist(out, labels, indices, manifest, small)
        items = list(zip(done["file"], done["output"], strict=True))
        if manifest:
            manifest.clean([overlay_name(output) for _, output in items])
        drawn = map_ahead(artist.picture_of, items, patience_s=None)
        return dict(zip(done["file"], progress(drawn, "drawing", len(items)), strict=True))


class _Artist:
    """One call of `draw_predictions`: large pictures are written if they have a manifest."""

    def __init__(
        self,
        out: Path,
        labels: LabelSet,
        indices: list[int],
        manifest: Manifest | None,
        small: Collection[str],
    ):
        self.out, self.labels, self.indices, self.manifest = out, labels, indices, manifest
        self.small = small
        self.made_from = read_manifest(out)

    def picture_of(self, item: tuple[str, str]) -> Picture:
        """Return what was drawn of a file and its output."""
        file, output = item
        try:
            image = read_image(file)
            with _ONE_AT_A_TIME:
                masks = PackedMasks.read(self.out / output, self.labels)
                if masks.shape[1:] != image.pixels.shape:
                    raise ValueError(f"{file}: changed since it was predicted; predict it again")
                masks = masks.resize(*picture_size(image, _LARGEST if self.manifest else _SMALL))
            name = self._write(self.manifest, item, image, masks) if self.manifest else ""
            if file not in self.small:
                return Picture(overlay=name)
            small = masks.resize(*picture_size(image, _SMALL))
            thumbnail = draw(image, small, self.indices, outline=1)
            return Picture(_jpeg(thumbnail, _SMALL_QUALITY), name)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            return Picture(problem=str(error))

    def _write(
        self, manifest: Manifest, item: tuple[str, str], image: Image, masks: PackedMasks
    ) -> str:
        """Write the large picture with its legend; return its name in the folder of the outputs."""
        file, output = item
        name = overlay_name(output)
        states = [*self.made_from.get(output, {"sources": {}})["sources"].values()]
        if not manifest.may_write(name, file):
            raise ValueError(
                f"{self.out / OVERLAYS / name}: is there already and was not drawn from {file}; "
                "move it away, or predict into another folder"
            )
        shown = [i for i, count in enumerate(masks.counts()) if count and i in self.indices]
        drawn = draw(image, masks, shown, outline=2)
        legend = legend_page(label_entries(self.labels, shown), len(drawn))
        picture = np.asarray(side_by_side([drawn, legend]))
        manifest.start(name, file, states[0] if states else [])
        with atomic_write(self.out / OVERLAYS / name) as temporary:
            temporary.write_bytes(_jpeg(picture, _QUALITY))
        return f"{OVERLAYS}/{name}"


def overlay_name(output: str) -> str:
    """Return the name of the large picture of an output, in the folder of the overlays.

    >>> overlay_name("deep/a.pxm"), overlay_name("b.seg.dcm")
    ('deep/a.jpg', 'b.jpg')
    """
    suffix = next((suffix for suffix in FORMATS.values() if output.endswith(suffix)), "")
    return f"{output.removesuffix(suffix)}.jpg"


def picture_size(image: Image, longest: int) -> tuple[int, int]:
    """Return the (height, width) of a picture of the film's aspect ratio.

    The longer side has `longest` pixels, or as many as the film has on its longer side if these are
    fewer.
    """
    rows, columns = image.pixels.shape
    row, column = image.spacing_mm or (1.0, 1.0)
    height, width = rows * row, columns * column
    scale = min(longest, max(rows, columns)) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def draw(image: Image, masks: PackedMasks, indices: list[int], outline: int) -> np.ndarray:
    """Return the (h, w, 3) uint8 picture of an image at the size of its masks, (L, h, w)."""
    height, width = masks.shape[1:]
    pixels = cv2.resize(image.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return render(np.clip(pixels, 0, 1), masks, indices, outline=outline, alpha=_ALPHA)


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    # subsampled colours would blur outlines
    PilImage.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0, optimize=True)
    return stream.getvalue()
