"""A tiny data set in the PAXRay layout: rectangles for leaves of the label tree, each whole the union of its parts."""

from pathlib import Path

import numpy as np
from PIL import Image

from paxray_lib.dataset import Entry, write_datafile
from paxray_lib.labels import LABELS, LabelSet
from paxray_lib.masks import PackedMasks

ROOT = Path(__file__).resolve().parent.parent
"""The project's root."""
CASES = {"train": 4, "val": 1, "test": 2}


def make_stack(rng: np.random.Generator, labels: LabelSet, size: int) -> np.ndarray:
    """Return (L, size, size) bool masks of random rectangles, closed under the label tree."""
    stack = np.zeros((len(labels), size, size), bool)
    for i, children in enumerate(labels.children):
        if not children:
            top, left = rng.integers(0, size - 8, 2)
            stack[i, top : top + rng.integers(3, 9), left : left + rng.integers(3, 9)] = True
    for i, _ in sorted(labels.tree(), key=lambda node: -node[1]):
        for child in labels.children[i]:
            stack[i] |= stack[child]
    return stack


def write_tiny(root: Path, size: int = 48, labels: LabelSet = LABELS, suffix: str = ".pxm", seed: int = 0) -> Path:
    """Write the data set below `root`, frontal and lateral for each case, and return the path of its paxray.json."""
    rng, splits, first = np.random.default_rng(seed), {}, 0
    (root / "images").mkdir(parents=True)
    for split, cases in CASES.items():
        splits[split] = []
        for case in range(first, first + cases):
            for view in ("frontal", "lateral"):
                stack, name = make_stack(rng, labels, size), f"case{case:03d}{view}"
                pixels = np.clip(stack[:40].sum(axis=0) * 30 + rng.integers(0, 9, (size, size)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{name}.png")
                PackedMasks.pack(stack, labels).write(root / "labels" / f"{name}{suffix}")
                target = f"labels/{name}{suffix}"
                splits[split].append(Entry(f"images/{name}.png", target, f"case{case:03d}", view))
        first += cases
    write_datafile(root / "paxray.json", labels, splits, {"name": "tiny"})
    return root / "paxray.json"


def small_training(root: Path, folder: Path) -> dict:
    """Settings of a training that takes seconds."""
    return {
        "data_root": str(root),
        "run_dir": str(folder),
        "architecture": "unet",
        "encoder": "resnet18",
        "image_size": 32,
        "crop_size": 32,
        "batch_size": 3,
        "epochs": 2,
        "val_every": 1,
        "device": "cpu",
        "precision": "float32",
    }
