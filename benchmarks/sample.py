"""Packed masks beside plain `.npy` stacks, size and time: ``python benchmarks/sample.py [--ct DIR] [--update]``.

The masks are those of a real CT with 88 labelled structures, projected to 512 x 512; where the CT is missing, random
smooth blobs stand in, and the table says so.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _report import conditions, table, update
from PIL import Image
from scipy.ndimage import gaussian_filter

from paxray_lib.augment import AugmentConfig, Params, apply, draw
from paxray_lib.images import read_image
from paxray_lib.labels import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.projection import project

CT = Path(__file__).resolve().parents[2] / "shared" / "data" / "ct"
SIZE, CROP = 512, 480
LOBES = {f"lung_{lobe}_lobe_{side}": f"lung_{side}_lobe{lobe}"
         for side in ("left", "right") for lobe in ("upper", "middle", "lower")}  # fmt: skip
FRONT = 1000  # added to the value of a rib in its front half


def label_of(structure: str) -> str | None:
    """Return our label of a TotalSegmentator structure, or None."""
    name = LOBES.get(structure, structure.removeprefix("vertebrae_").lower())
    return {"trachea": "airways"}.get(name, name if name in LABELS.names else None)


def real_views(folder: Path) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Project the CT and its structures; ribs are cut into halves, and wholes are unions along the label tree."""
    import nibabel

    files = {kind: next(folder.glob(f"*_{kind}.nii.gz")) for kind in ("ct", "totalseg")}
    # (x, y, z) to the right, front, head -> (z, y, x) from head, front, right
    loaded = {kind: nibabel.as_closest_canonical(nibabel.load(path)) for kind, path in files.items()}
    hu, volume = (np.asarray(image.dataobj).transpose(2, 1, 0)[::-1, ::-1, ::-1].astype(np.int16)
                  for image in loaded.values())  # fmt: skip
    with next(folder.glob("*_labels.tsv")).open(encoding="utf-8") as file:
        found = {int(value): label_of(name) for value, name in csv.reader(file, delimiter="\t")}
    names = {value: name for value, name in found.items() if name}
    for value, name in list(names.items()):
        if name.startswith("rib_"):
            _, side, number = name.split("_")
            where = np.nonzero(volume == value)
            front = where[1] < np.median(where[1])
            volume[tuple(axis[front] for axis in where)] = value + FRONT
            names |= {value: f"rib_{side}_posterior_{number}", value + FRONT: f"rib_{side}_anterior_{number}"}
    return project(hu, loaded["ct"].header.get_zooms()[2::-1], [(volume, names)], SIZE)


def blobs() -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return an image and masks of random smooth blobs."""
    rng = np.random.default_rng(0)
    fields = (gaussian_filter(rng.standard_normal((SIZE, SIZE)), 25) for _ in LABELS)
    stack = np.stack([field > 2 * field.std() for field in fields])
    return {"frontal": (rng.random((SIZE, SIZE), np.float32), PackedMasks.pack(stack, LABELS))}


def plain(image: Path, masks: Path, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
    """Read, resize and crop as a plain loader does."""
    pixels = torch.from_numpy(np.asarray(Image.open(image).convert("L"), np.float32))[None, None]
    target = torch.from_numpy(np.load(masks)).float()[None]  # (1, L, H, W)
    size = params.height, params.width
    pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear")
    target = torch.nn.functional.interpolate(target, size=size, mode="nearest")
    rows, columns = (slice(start, start + CROP) for start in (params.top, params.left))
    return pixels[0, 0, rows, columns], target[0, :, rows, columns].long()


def packed(image: Path, masks: Path, params: Params) -> tuple[np.ndarray, PackedMasks]:
    """Read, resize and crop with the masks packed."""
    return apply(params, read_image(image).pixels, PackedMasks.read(masks))


def times_ms(calls: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Return the median time of each call in ms; the calls take turns, so that other load meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call(draw(np.random.default_rng([0, turn]), AugmentConfig(SIZE, CROP, resize_prob=1.0)))
            if turn:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def measure(view: str, image: np.ndarray, masks: PackedMasks, repeats: int) -> list[str]:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        png, npy, pxm = (Path(folder) / f"x.{suffix}" for suffix in ("png", "npy", "pxm"))
        Image.fromarray((image * 255).round().astype(np.uint8)).save(png)
        masks.write(npy)
        masks.write(pxm)
        calls = {"plain": lambda params: plain(png, npy, params), "packed": lambda params: packed(png, pxm, params)}
        ms = times_ms(calls, repeats)
        sizes = [path.stat().st_size for path in (npy, pxm)]
    present = int((masks.counts() > 0).sum())
    return [
        f"{view}, {present} of {len(LABELS)} labels present",
        f"{sizes[0] / 1e6:.1f} MB", f"{sizes[1] / 1e3:.1f} KB", f"1/{sizes[0] / sizes[1]:.0f}",
        f"{ms['plain']:.0f} ms", f"{ms['packed']:.1f} ms", f"1/{ms['plain'] / ms['packed']:.0f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table; put it into RESULTS.md with --update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ct", type=Path, default=CT, help="folder of a CT, its TotalSegmentator volume and label list"
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md")
    options = parser.parse_args()
    real = options.ct.is_dir()
    views = real_views(options.ct) if real else blobs()
    rows = [measure(view, *views[view], options.repeats) for view in views]
    source = "masks projected from a real CT" if real else "random smooth blobs (no CT at hand)"
    header = [f"{SIZE} x {SIZE}, {source}", ".npy", ".pxm", "size", "plain", "packed", "time"]
    text = (
        "## Masks on disk, and one training sample\n\n"
        f"Time: read image and masks, random resize, crop of {CROP}. "
        f"Plain: np.load, float, nearest resize, crop, int64. Median of {options.repeats}, both in turn in one run.\n\n"
        f"{table(header, rows)}\n\n"
        f"{conditions('numpy', 'torch', 'zstandard')}; {torch.get_num_threads()} torch threads\n"
    )
    sys.stdout.write(text)
    if options.update:
        update("sample", text)


if __name__ == "__main__":
    main()
