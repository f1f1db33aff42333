"""The PAXRay layout on disk: `paxray.json`, its splits, and samples of image and packed masks.

    {"label_dict": {"0": "lung_overall", ...},
     "train": [{"image": "images/x.png", "target": "labels/x.npy"}, ...], "val": [...], "test":
     [...]}

Paths are relative to the data root. A target may be absent. An item may name its "view" and "case";
otherwise both come from the file stem, `<case>frontal` or `<case>lateral`, or else the view from
the header of a DICOM image. A packed file beside a `.npy` target, of the same stem, is read in its
place. Other top-level keys are kept and ignored."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from paxray_lib.images.read import Image, read_image, read_view
from paxray_lib.images.views import case_of, view_of
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.errors import did_you_mean
from paxray_lib.utils.files import atomic_write

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Entry:
    """One image of a split: paths relative to the data root, patient case, and view ("frontal",
    "lateral" or None, as far as the data file and the name say it; `Datafile.view` asks the image
    too)."""

    image: str
    target: str | None
    case: str
    view: str | None


@dataclass(frozen=True)
class Datafile:
    """A parsed `paxray.json`.

    Attributes
    ----------
    path, root : Path
        The file itself, and the folder that its paths are relative to.
    labels : LabelSet
        From `label_dict`; their number and order are those of the masks.
    splits : dict of str to tuple of Entry
    extra : dict
        Top-level keys that are neither `label_dict` nor a split.
    """

    path: Path
    root: Path
    labels: LabelSet
    splits: dict[str, tuple[Entry, ...]]
    extra: dict = field(default_factory=dict)

    def split(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of a split; raises ValueError with the existing names for an unknown
        one.
        """
        if name not in self.splits:
            raise ValueError(
                f"{self.path}: no split {name!r}; it has {', '.join(self.splits)}{did_you_mean(name, self.splits)}"
            )
        return self.splits[name]

    def target_path(self, entry: Entry) -> Path | None:
        """Return the mask file to read for an entry, packed where there is one, or None without a
        target.
        """
        if entry.target is None:
            return None
        listed = self.root / entry.target
        packed = listed.with_suffix(".pxm")
        return packed if packed.is_file() else listed

    def view(self, entry: Entry, image: Image | None = None) -> str | None:
        """Return the view of an entry, "frontal", "lateral" or None: that of the entry, or else of
        its image file.

        Parameters
        ----------
        entry : one of `splits`
        image : its image, if it has been read; otherwise the file is asked, without decoding it
        """
        if entry.view is not None:
            return entry.view
        return read_view(self.root / entry.image) if image is None else image.view


@dataclass(frozen=True)
class Sample:
    """An image with its masks.

    Attributes
    ----------
    image : (H, W) float32 array in 0..1
    masks : PackedMasks of the same height and width, or None without a target
    name, case : str
        File stem, and patient case.
    view : "frontal", "lateral" or None
    spacing_mm : (row, column) spacing, or None
    """

    image: np.ndarray
    masks: PackedMasks | None
    name: str
    case: str
    view: str | None
    spacing_mm: tuple[float, float] | None


def read_datafile(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> Datafile:
    """Read and check the structure of a data file.

    Parameters
    ----------
    data_root : path
        Folder that the paths in the file are relative to.
    datafile : path
        Absolute, or relative to `data_root`, or else to the working directory.

    Raises
    ------
    FileNotFoundError
        If the folder or the file is missing.
    ValueError
        If the file is not JSON of the layout above; the message names the split and the item.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such data folder; {_remedy(root)}")
    path = next((p for p in (root / datafile, Path(datafile)) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{root / datafile}: no such data file; {_listing(root)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict) or "label_dict" not in content:
        raise ValueError(
            f"{path}: no 'label_dict'; a PAXRay data file has label_dict, train, val and test"
        )
    splits = {
        name: _entries(path, name, items)
        for name, items in content.items()
        if _is_split(name, items)
    }
    if not splits:
        raise ValueError(f"{path}: no split; a PAXRay data file has train, val and test")
    extra = {
        key: value for key, value in content.items() if key not in splits and key != "label_dict"
    }
    try:
        labels = LabelSet.from_label_dict(content["label_dict"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Datafile(path, root, labels, splits, extra)


def write_datafile(
    path: str | os.PathLike,
    labels: LabelSet,
    splits: Mapping[str, Sequence[Entry]],
    extra: Mapping | None = None,
) -> None:
    """Write a `paxray.json` atomically; `extra` adds top-level keys (name, license, ...).

    An item gets a case or a view where its file stem says another one, so that `read_datafile`
    finds the same entries."""
    content: dict = {"label_dict": labels.to_label_dict(), **(extra or {})}
    for name, entries in splits.items():
        content[name] = [_item(entry) for entry in entries]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _item(entry: Entry) -> dict:
    named = {"case": case_of(entry.image), "view": view_of(entry.image)}
    other = {
        key: getattr(entry, key) for key, value in named.items() if getattr(entry, key) != value
    }
    return {"image": entry.image, "target": entry.target, **other}


def _listing(root: Path) -> str:
    found = sorted(p.name for p in root.glob("*.json"))
    return (
        f"the folder has {', '.join(found)}"
        if found
        else f"the folder has no .json file at all; {_remedy(root)}"
    )


def _remedy(root: Path) -> str:
    # a hint at the sample elsewhere would have phantoms trained in the place of patients
    if "sample" in root.name.lower():
        return f"'paxray sample {root}' makes the sample data set there"
    return f"check the path; the PAXRay data set comes by 'paxray fetch dataset --to {root}'"


def _is_split(name: str, items) -> bool:
    # other keys may hold lists too (authors, say): only the known names, or lists of items with an
    # image, are splits
    return name in SPLITS or (
        isinstance(items, list)
        and bool(items)
        and isinstance(items[0], dict)
        and "image" in items[0]
    )


def _entries(path: Path, split: str, items) -> tuple[Entry, ...]:
    if not isinstance(items, list):
        raise ValueError(
            f"{path}: split {split!r} must be a list of items, got {type(items).__name__}"
        )
    return tuple(_entry(path, f"{split}[{i}]", item) for i, item in enumerate(items))


def _entry(path: Path, place: str, item) -> Entry:
    if not isinstance(item, dict) or not isinstance(item.get("image"), str):
        raise ValueError(
            f"{path}: {place} must be an object with 'image' and 'target', got {str(item)[:80]}"
        )
    image, target, view = (
        item["image"],
        item.get("target"),
        item.get("view", view_of(item["image"])),
    )
    if target is not None and not isinstance(target, str):
        raise ValueError(
            f"{path}: {place} has the target {str(target)[:80]}; it must be a path or null"
        )
    if view not in ("frontal", "lateral", None):
        raise ValueError(
            f"{path}: {place} has the view {view!r}; it must be 'frontal' or 'lateral'"
        )
    case = item.get("case")
    return Entry(image, target, case_of(image) if case is None else str(case), view)


class PaxrayDataset(Sequence):
    """The samples of one split, read from disk as they are asked for. Also a map-style torch
    dataset.

    Parameters
    ----------
    data_root, datafile : path
        As for `read_datafile`.
    split : str
        "train", "val" or "test".

    Examples
    --------
    ``PaxrayDataset("data/sample", split="test")[0].masks.unpack("heart")`` is a (1, H, W) bool
    array."""

    def __init__(
        self,
        data_root: str | os.PathLike,
        datafile: str | os.PathLike = "paxray.json",
        split: str = "train",
    ):
        self.datafile = read_datafile(data_root, datafile)
        self.split = split
        self.entries = self.datafile.split(split)

    @property
    def labels(self) -> LabelSet:
        """The labels of the masks."""
        return self.datafile.labels

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"PaxrayDataset({self.datafile.path}, {self.split!r}: {len(self)} images, {len(self.labels)} labels)"

    def image_path(self, index: int) -> Path:
        """Return the image file of a sample."""
        return self.datafile.root / self.entries[index].image

    def masks(self, index: int) -> PackedMasks | None:
        """Read only the masks of a sample; None without a target."""
        path = self.datafile.target_path(self.entries[index])
        return None if path is None else PackedMasks.read(path, self.labels)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        entry, path = self.entries[index], self.image_path(index)
        image, masks = read_image(path), self.masks(index)
        if masks is not None and masks.shape[1:] != image.pixels.shape:
            raise ValueError(
                f"{entry.target}: masks of {masks.shape[1:]} do not fit {entry.image} of {image.pixels.shape}"
            )
        view = self.datafile.view(entry, image)
        return Sample(image.pixels, masks, path.stem, entry.case, view, image.spacing_mm)


@dataclass(frozen=True)
class EpochSampler:
    """The order of one epoch as (epoch, position, index), a function of (seed, epoch) alone.

    Resuming at `start` gives exactly the rest of the epoch.
    """

    length: int
    seed: int
    epoch: int
    start: int = 0

    def __len__(self) -> int:
        return self.length - self.start

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        return (
            (self.epoch, position, int(order[position]))
            for position in range(self.start, self.length)
        )


def check_targets(dataset: PaxrayDataset) -> None:
    """Raise ValueError if a split has no image, or one without a target: nothing to learn from or
    to compare with.
    """
    missing = [entry.image for entry in dataset.entries if entry.target is None]
    if missing or not len(dataset):
        what = (
            f"{len(missing)} images without a target, such as {missing[0]}"
            if missing
            else "no images"
        )
        raise ValueError(
            f"{dataset.datafile.path}: split {dataset.split!r} has {what}; masks are needed for each"
        )
