"""One look at every image and mask of a data set, from which tables and findings are made."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from paxray_lib.data.datafile import Datafile, Entry
from paxray_lib.images import VIEWS, Image, read_image
from paxray_lib.labels.table import LabelSet, tree_pairs
from paxray_lib.masks import Moments, PackedMasks, moments
from paxray_lib.utils import inside, map_ahead, progress

#: Images times labels of a survey, which takes about 30 bytes for each.
MAX_AREAS = 100_000_000
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set.

    Attributes
    ----------
    severity : "error" or "warning"
    where : the file or label
    message : what is wrong with it
    """

    severity: str
    where: str
    message: str


@dataclass(frozen=True)
class Survey:
    """What is known of every image of a data file, N images and L labels in the order of the file.

    Attributes
    ----------
    labels : LabelSet
    images : DataFrame of N rows
        split, image, target, case, view, masks (bool: they could be read), height, width, mean and
        spread of the pixel values, black and white (parts of the image near 0 and 1), image_hash,
        mask_hash (None if empty).
    known : (N, L) bool: labels that are annotated; none without masks
    areas : (N, L) int64, in pixels; zero without masks
    rows, columns, brightness : (N, L) float32, see `Moments`
    outside : (N, P) int64, pixels of the child that are not in the parent, per pair of
        `tree_pairs`; zero where one of them is not known
    shared : dict of view ("frontal", "lateral", "unknown") to (L, L) int64, see `Moments`, summed
        over the images
    findings : list of Finding, about files that cannot be read or do not fit
    """

    labels: LabelSet
    images: pd.DataFrame
    known: np.ndarray
    areas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    brightness: np.ndarray
    outside: np.ndarray
    shared: dict[str, np.ndarray]
    findings: list[Finding]

    @property
    def titles(self) -> np.ndarray:
        """The (L,) labels for people, as `heart (17)`: a name may occur twice."""
        return np.array([f"{name} ({i})" for i, name in enumerate(self.labels.names)], object)

    def possible(self, images: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return (L, L) int64: the pixels of label i in those of some images where j is known."""
        return self.areas[images].T @ self.known[images].astype(np.int64)

    def of_view(self, view: str) -> np.ndarray:
        """Return a (N,) bool array: images of a view whose masks could be read."""
        return ((self.images["view"] == view) & self.images["masks"]).to_numpy()


def take_survey(data: Datafile) -> Survey:
    """Read every image and mask file of a data file once, in threads.

    What cannot be read, or lies outside of the data root, becomes a finding. ValueError for more
    images and labels than memory is meant for.
    """
    entries = [(split, entry) for split, items in data.splits.items() for entry in items]
    child, parent = np.array(tree_pairs(data.labels), int).reshape(-1, 2).T
    size = (len(entries), len(data.labels))
    if math.prod(size) > MAX_AREAS:
        raise ValueError(
            f"{data.path}: {size[0]} images of {size[1]} labels, more than can be surveyed at once "
            f"({MAX_AREAS} masks); make several data files of it"
        )
    known, areas = np.zeros(size, bool), np.zeros(size, np.int64)
    centre_rows, columns, brightness = means = np.full((3, *size), np.nan, np.float32)
    outside = np.zeros((len(entries), len(child)), np.int64)
    shared = {view: np.zeros(size[1:] * 2, np.int64) for view in (*VIEWS, "unknown")}
    rows, findings = [], []
    looks = map_ahead(lambda item: _Look(data, *item), entries)
    for i, look in enumerate(progress(looks, "looking", len(entries))):
        rows.append(look.row)
        findings += look.findings
        if look.moments is not None:
            known[i], areas[i] = data.known(entries[i][1]), look.moments.areas
            means[:, i] = look.moments.rows, look.moments.columns, look.moments.brightness
            beyond = look.moments.areas[child] - look.moments.shared[child, parent]
            outside[i] = beyond * known[i, parent]
            shared[look.row["view"] or "unknown"] += look.moments.shared
    images = pd.DataFrame(rows, columns=_COLUMNS)
    places = centre_rows, columns, brightness
    return Survey(data.labels, images, known, areas, *places, outside, shared, findings)


# of Survey.images
_COLUMNS = [
    "split", "image", "target", "case", "view", "masks", "height", "width", "mean", "spread",
    "black", "white", "image_hash", "mask_hash",
]  # fmt: skip


class _Look:
    """What one entry contributes: a row of `Survey.images`, findings, moments of its masks."""

    def __init__(self, data: Datafile, split: str, entry: Entry):
        self.row: dict[str, Any] = {
            "split": split,
            **{name: getattr(entry, name) for name in ("image", "target", "case", "view")},
            "masks": False,
            "image_hash": None,
            "mask_hash": None,
        }
        self.findings: list[Finding] = []
        self.moments: Moments | None = None
        for name in filter(None, (entry.image, entry.target)):
            self._try(partial(inside, data.root, name), name)
        image = self._try(lambda: read_image(data.root / entry.image), entry.image)
        if image is not None:
            self._look_at_image(data, entry, image)
        if self.row["view"] is None:
            self._find(
                "warning",
                entry.image,
                "unknown view: no 'view' in the data file or a DICOM header, no 'frontal' or "
                "'lateral' ending the name; never flipped",
            )
        if entry.target is None:
            self._find("warning", entry.image, f"no target in split {split!r}")
        else:
            self._look_at_masks(data, entry, entry.target, image.pixels if image else None)

    def _find(self, severity: str, where: str, message: str) -> None:
        self.findings.append(Finding(severity, where, message))

    def _try(self, read: Callable[[], _T], name: str) -> _T | None:
        try:
            return read()
        except (ValueError, OSError) as error:  # the finding names the file already
            self._find("error", name, str(error).split(f"{name}: ", 1)[-1])
        except MemoryError:
            self._find("error", name, "not enough memory to read it")
        return None

    def _look_at_image(self, data: Datafile, entry: Entry, image: Image) -> None:
        pixels = image.pixels
        if image.doubt:
            self._find("warning", entry.image, image.doubt)
        self.row |= {
            "view": data.view(entry, image),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "mean": pixels.mean(),
            "spread": pixels.std(),
            "black": (pixels < 0.02).mean(),  # both chosen by eye
            "white": (pixels > 0.98).mean(),
            "image_hash": _digest(pixels),
        }

    def _look_at_masks(
        self, data: Datafile, entry: Entry, target: str, pixels: np.ndarray | None
    ) -> None:
        listed = data.root / target
        path = self._try(lambda: data.target_path(entry), target)
        masks = self._try(lambda: PackedMasks.read(path, data.labels), target) if path else None
        if path is None or masks is None:
            return
        masks = masks.knowing(data.known(entry))
        if path != listed and listed.is_file() and listed.stat().st_mtime > path.stat().st_mtime:
            self._find(
                "warning",
                target,
                f"newer than its packed file {path.name}, which is read; run 'paxray pack'",
            )
        size = masks.shape[1:]
        if pixels is not None and size != pixels.shape:
            self._find("error", target, f"masks of {size} do not fit the image of {pixels.shape}")
            pixels = None
        self.moments = moments(masks, pixels)
        self.row["masks"] = True
        if self.moments.areas.any():
            self.row["mask_hash"] = _digest(masks.data)
        else:
            self._find("warning", target, "every mask is empty")


def _digest(array: np.ndarray) -> str:
    """Return a fingerprint of shape and values."""
    content = np.ascontiguousarray(array).data  # no copy: a large film takes 356 MB
    return hashlib.blake2b(content, digest_size=16, key=str(array.shape).encode()).hexdigest()
