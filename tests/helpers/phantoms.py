"""Phantoms in memory and small samples on disk, for tests that need anatomy in its place."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.phantoms.phantom import render

SIZE = 48


@lru_cache(maxsize=128)
def phantom(seed: int, case: int, size: int = SIZE) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return {view: (image (size, size) uint8, PackedMasks)}; rendered once."""
    return render(seed, case, size)


def write_phantoms(root: Path, seed: int = 0, cases: int = 12, change=None) -> Path:
    """Write phantoms as a data set with the splits train, val and test; return its root.

    Parameters
    ----------
    change : function of (case, view, image, masks) that returns the image and masks to write,
    optional"""
    (root / "images").mkdir(parents=True)
    splits = {"train": [], "val": [], "test": []}
    for case in range(cases):
        split = ("train", "train", "val", "test")[case % 4]
        for view, (image, masks) in phantom(seed, case).items():
            image, masks = change(case, view, image, masks) if change else (image, masks)
            name = f"case{case:03d}{view}"
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            masks.write(root / "labels" / f"{name}.pxm")
            splits[split].append(
                Entry(f"images/{name}.png", f"labels/{name}.pxm", f"case{case:03d}", view)
            )
    write_datafile(root / "paxray.json", LABELS, splits, {"name": "phantoms"})
    return root


def renamed(masks: PackedMasks, order: np.ndarray) -> PackedMasks:
    """Return the masks as if label i bore the mask of label `order[i]`."""
    return PackedMasks.pack(masks.unpack()[order], masks.labels)


def exchange(*names: str) -> np.ndarray:
    """Return the order in which each label bears the mask of the next name, and the last that of
    the first.
    """
    order, places = np.arange(len(LABELS)), [LABELS.index(name)[0] for name in names]
    order[places] = np.roll(places, -1)
    return order
