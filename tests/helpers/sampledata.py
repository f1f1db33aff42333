"""A tiny data set in the PAXRay layout: rectangles for leaves of the label tree, each whole the
union of its parts.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

ROOT = Path(__file__).resolve().parents[2]
"""The project's root."""
TINY = "tu-test_resnet"
"""The smallest encoder of timm."""
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


def write_tiny(
    root: Path, size: int = 48, labels: LabelSet = LABELS, suffix: str = ".pxm", seed: int = 0
) -> Path:
    """Write the data set below `root`, frontal and lateral for each case, and return the path of
    its paxray.json.
    """
    rng, splits, first = np.random.default_rng(seed), {}, 0
    (root / "images").mkdir(parents=True)
    for split, cases in CASES.items():
        splits[split] = []
        for case in range(first, first + cases):
            for view in ("frontal", "lateral"):
                stack, name = make_stack(rng, labels, size), f"case{case:03d}{view}"
                pixels = np.clip(
                    stack[:40].sum(axis=0) * 30 + rng.integers(0, 9, (size, size)), 0, 255
                )
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
        "encoder": TINY,
        "image_size": 32,
        "crop_size": 32,
        "batch_size": 3,
        "epochs": 2,
        "val_every": 1,
        "device": "cpu",
        "precision": "float32",
    }


def random_evaluation(seed: int = 0, cases: int = 6):
    """Return an Evaluation of random counts: two views of each case, a few labels, one rare, one
    never present, and one not annotated in some images.
    """
    import pandas as pd

    from paxray_lib.evaluation.result import Evaluation
    from paxray_lib.metrics.calibration import Reliability
    from paxray_lib.metrics.counting import Counts
    from paxray_lib.metrics.surface import Surface

    rng = np.random.default_rng(seed)
    labels = LabelSet(["lung_left", "lung_right", "heart", "rib_left_1", "t1", "c1"])
    shape = (2 * cases, len(labels))
    difficulty = np.repeat(rng.uniform(0.3, 0.9, cases), 2)[:, None]
    true, fp = rng.integers(50, 99, shape), rng.integers(0, 20, shape)
    true[1:, 3] = fp[1:, 3] = true[:, 5] = fp[:, 5] = 0
    true[3, 4] = fp[5, 2] = fp[6, 1] = true[6, 1] = 0
    tp = (true * np.clip(difficulty + rng.normal(0, 0.02, shape), 0, 1)).astype(int)
    tp[5, 2] = 0  # missed
    there = [true > 0, tp + fp > 0]
    total = 9 * (there[0].astype(int) + there[1])
    both = there[0] & there[1]
    hd95 = np.where(both, rng.uniform(0, 30, shape), np.where(there[0] | there[1], np.inf, np.nan))
    surface = Surface(np.where(both, rng.integers(0, 18, shape), 0), total, hd95)
    pixels = rng.integers(0, 50, (len(labels), 20))
    bins = Reliability(pixels, rng.integers(0, pixels + 1), pixels * (np.arange(20) + 0.5) / 20)
    known = np.ones(shape, bool)
    known[2:5, 1] = known[7, 4] = False
    for values, empty in ((surface.within, 0), (surface.total, 0), (surface.hd95, np.nan)):
        values[~known] = empty
    names = [
        (f"images/{case}{view}.png", str(case), view)
        for case in range(cases)
        for view in ("frontal", "lateral")
    ]
    images = pd.DataFrame(names, columns=["image", "case", "view"])
    pixels = Counts(tp, fp, true - tp, known)
    return Evaluation(pixels, labels, images, {"split": "test"}, surface, bins)
