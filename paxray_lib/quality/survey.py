"""One look at every image and mask of a data set: what the tables of `explore` and the rules of
`audit` are made from.

In a stack of 166 labels few combinations of labels occur, in long runs along the rows. So the
pixels are first gathered into runs, then into combinations; areas, centroids, brightness and the
overlaps of all pairs of labels follow by one small product of matrices, without unpacking a mask.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from paxray_lib.data.datafile import Datafile, Entry
from paxray_lib.images.read import read_image
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LabelSet, tree_pairs
from paxray_lib.masks.moments import Moments, moments
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.progress import map_ahead, progress


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set: severity "error" or "warning", the file or label, and a
    message.
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
    areas : (N, L) int64, in pixels; zero without masks
    rows, columns, brightness : (N, L) float32, see `Moments`
    outside : (N, P) int64, pixels of the child that are not in the parent, for each of `tree_pairs`
    shared : dict of view ("frontal", "lateral", "unknown") to (L, L) int64, see `Moments`, added
    over the images
    findings : list of Finding, about files that cannot be read or do not fit
    """

    labels: LabelSet
    images: pd.DataFrame
    areas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    brightness: np.ndarray
    outside: np.ndarray
    shared: dict[str, np.ndarray]
    findings: list[Finding]

    def of_view(self, view: str) -> np.ndarray:
        """Return a (N,) bool array: images of a view whose masks could be read."""
        return ((self.images["view"] == view) & self.images["masks"]).to_numpy()


@dataclass
class _Item:
    """What one entry contributes."""

    row: dict
    findings: list[Finding] = field(default_factory=list)
    moments: Moments | None = None

    def found(self, severity: str, where: str, message: str) -> None:
        self.findings.append(Finding(severity, where, message))


def take_survey(data: Datafile) -> Survey:
    """Look at every image and mask file of a data file once, in threads; what cannot be read
    becomes a finding.
    """
    entries = [(split, entry) for split, items in data.splits.items() for entry in items]
    pairs = np.array(tree_pairs(data.labels), int).reshape(-1, 2)
    shared = {view: np.zeros((len(data.labels),) * 2, np.int64) for view in (*VIEWS, "unknown")}
    found = _Columns(len(entries), len(data.labels), len(pairs))
    rows, findings = [], []
    for n, item in enumerate(progress(_look_ahead(data, entries), "looking", len(entries))):
        rows.append(item.row)
        findings += item.findings
        if item.moments is not None:
            found.add(n, item.moments, pairs)
            shared[item.row["view"] or "unknown"] += item.moments.shared
    return Survey(
        data.labels,
        pd.DataFrame(rows, columns=_ROW),
        **vars(found),
        shared=shared,
        findings=findings,
    )


_ROW = (
    "split image target case view masks height width mean spread black white image_hash mask_hash".split()  # noqa: SIM905
)


class _Columns:
    """The arrays of a survey while it is taken."""

    def __init__(self, images: int, labels: int, pairs: int):
        self.areas = np.zeros((images, labels), np.int64)
        self.rows, self.columns, self.brightness = np.full((3, images, labels), np.nan, np.float32)
        self.outside = np.zeros((images, pairs), np.int64)

    def add(self, n: int, found: Moments, pairs: np.ndarray) -> None:
        child, parent = pairs.T
        self.areas[n], self.rows[n], self.columns[n], self.brightness[n] = (
            found.areas, found.rows, found.columns, found.brightness,
        )  # fmt: skip
        self.outside[n] = found.areas[child] - found.shared[child, parent]


def _look_ahead(data: Datafile, entries: list[tuple[str, Entry]]) -> Iterator[_Item]:
    return map_ahead(lambda place: _look(data, *place), entries)


def _look(data: Datafile, split: str, entry: Entry) -> _Item:
    row = {
        "split": split,
        "image": entry.image,
        "target": entry.target,
        "case": entry.case,
        "view": entry.view,
    }
    item = _Item({**row, "masks": False, "image_hash": None, "mask_hash": None})
    pixels = _look_at_image(data, entry, item)
    if item.row["view"] is None:
        found = "unknown view: no 'view' in the data file or a DICOM header, no 'frontal' or 'lateral' ending the name"
        item.found("warning", entry.image, f"{found}; never flipped")
    masks = _read_masks(data, split, entry, item)
    if masks is None:
        return item
    fits = pixels is None or masks.shape[1:] == pixels.shape
    if not fits:
        found = f"masks of {masks.shape[1:]} do not fit the image of {pixels.shape}"
        item.found("error", entry.target, found)
    item.moments = moments(masks, pixels if fits else None)
    item.row["masks"] = True
    if item.moments.areas.any():
        item.row["mask_hash"] = _digest(masks.data)
    else:
        item.found("warning", entry.target, "every mask is empty")
    return item


def _look_at_image(data: Datafile, entry: Entry, item: _Item) -> np.ndarray | None:
    try:
        image = read_image(data.root / entry.image)
    except (ValueError, OSError) as error:
        item.found("error", entry.image, _reason(error, entry.image))
        return None
    item.row["view"], pixels = data.view(entry, image), image.pixels
    names = ("height", "width", "mean", "spread", "black", "white", "image_hash")
    values = (
        *pixels.shape,
        pixels.mean(),
        pixels.std(),
        (pixels < 0.02).mean(),
        (pixels > 0.98).mean(),
    )
    item.row.update(zip(names, (*values, _digest(pixels)), strict=True))
    return pixels


def _read_masks(data: Datafile, split: str, entry: Entry, item: _Item) -> PackedMasks | None:
    path = data.target_path(entry)
    if path is None:
        item.found("warning", entry.image, f"no target in split {split!r}")
        return None
    try:
        masks = PackedMasks.read(path, data.labels)
    except (ValueError, OSError) as error:
        item.found("error", entry.target, _reason(error, entry.target))
        return None
    listed = data.root / entry.target
    if path != listed and listed.is_file() and listed.stat().st_mtime > path.stat().st_mtime:
        found = f"newer than its packed file {path.name}, which is read; run 'paxray pack'"
        item.found("warning", entry.target, found)
    return masks


def _digest(array: np.ndarray) -> str:
    """Return a fingerprint of shape and values."""
    return hashlib.blake2b(
        np.ascontiguousarray(array), digest_size=16, key=str(array.shape).encode()
    ).hexdigest()


def _reason(error: Exception, name: str) -> str:
    text = str(error)
    _, found, rest = text.partition(f"{name}: ")
    return rest if found else text
