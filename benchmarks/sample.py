"""One training sample, packed beside the plain way, stage by stage: ``python benchmarks/sample.py
[--update]``.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _report import conditions, table, update
from _views import CT, SIZE, find_views, write_view
from PIL import Image

from paxray_lib.data.augmentation import AugmentConfig, Params, apply, draw
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks

CROP = 480
STAGES = ("read image", "read masks", "resize and crop", "to tensors", "flip")
EXTRA = "flip"  # off in the published recipe, so no part of its sum
# (image, masks) so far, what was drawn, view -> (image, masks)
Stage = Callable[[tuple, Params, str], tuple]


def plain_stages(png: Path, npy: Path) -> list[Stage]:
    """Read, resize, crop and flip as a plain loader does."""
    interpolate, mirror = torch.nn.functional.interpolate, torch.from_numpy(LABELS.mirror)

    def read_pixels(state, params, view):
        return torch.from_numpy(np.asarray(Image.open(png).convert("L"), np.float32))[None], None

    def read_masks(state, params, view):
        return state[0], torch.from_numpy(np.load(npy)).float()  # (L, H, W)

    def resize_and_crop(state, params, view):
        size = params.height, params.width
        pixels = interpolate(state[0][None], size=size, mode="bilinear")[0]
        target = interpolate(state[1][None], size=size, mode="nearest")[0]
        rows, columns = (slice(start, start + CROP) for start in (params.top, params.left))
        return pixels[:, rows, columns], target[:, rows, columns]

    def to_tensors(state, params, view):
        return state[0].contiguous(), state[1].long()

    def flip(state, params, view):
        pixels, target = (values.flip(-1) for values in state)
        return pixels, target[mirror] if view == "frontal" else target

    return [read_pixels, read_masks, resize_and_crop, to_tensors, flip]


def packed_stages(png: Path, pxm: Path) -> list[Stage]:
    """Do the same with the masks packed."""

    def read_pixels(state, params, view):
        return read_image(png).pixels, None

    def read_masks(state, params, view):
        return state[0], PackedMasks.read(pxm, LABELS)

    def resize_and_crop(state, params, view):
        return apply(params, *state)

    def to_tensors(state, params, view):
        return torch.from_numpy(state[0]), torch.from_numpy(state[1].data)

    def flip(state, params, view):
        pixels, masks = state[0].numpy(), PackedMasks(state[1].numpy(), LABELS)
        return np.ascontiguousarray(pixels[:, ::-1]), masks.flip(view)

    return [read_pixels, read_masks, resize_and_crop, to_tensors, flip]


def times_ms(stages: list[Stage], view: str, turns: range) -> np.ndarray:
    """Return (turns, stages) ms; one turn before them warms up."""
    times = np.zeros((len(turns) + 1, len(STAGES)))
    for row, turn in zip(times, [turns.start, *turns], strict=True):
        params = draw(np.random.default_rng([0, turn]), AugmentConfig(SIZE, CROP, resize_prob=1.0))
        state: tuple = ()
        for k, stage in enumerate(stages):
            start = time.perf_counter()
            state = stage(state, params, view)
            row[k] = 1000 * (time.perf_counter() - start)
    return times[1:]


def times_of_ways(ways: list[list[Stage]], view: str, repeats: int) -> np.ndarray:
    """Return (repeats, ways, stages) ms. The ways take turns, so that other load meets both; five
    samples at a time, since in training too a sample follows one of its kind, in memory and
    caches."""
    blocks = [range(start, min(start + 5, repeats)) for start in range(0, repeats, 5)]
    return np.concatenate(
        [np.stack([times_ms(way, view, turns) for way in ways], axis=1) for turns in blocks]
    )


def measure(
    view: str, image: np.ndarray, masks: PackedMasks, repeats: int
) -> tuple[list[str], list[list[str]]]:
    """Return the row of the view in the first table, and its rows in the table of stages."""
    with tempfile.TemporaryDirectory() as folder:
        png, npy, pxm = write_view(Path(folder), view, image, masks)
        times = times_of_ways([plain_stages(png, npy), packed_stages(png, pxm)], view, repeats)
        sizes = [path.stat().st_size for path in (npy, pxm)]
    of_recipe = times[..., [stage != EXTRA for stage in STAGES]].sum(axis=-1)  # (repeats, ways)
    plain, packed = (statistics.median(way) for way in of_recipe.T.tolist())
    row = [
        f"{view}, {int((masks.counts() > 0).sum())} of {len(LABELS)} labels present",
        f"{sizes[0] / 1e6:.1f} MB", f"{sizes[1] / 1e3:.1f} KB", f"1/{sizes[0] / sizes[1]:.0f}",
        f"{plain:.0f} ms", f"{packed:.1f} ms", f"1/{plain / packed:.0f}",
    ]  # fmt: skip
    middle = np.median(times, axis=0)
    stages = [
        [
            f"{view}, {stage}",
            f"{middle[0, k]:.1f}",
            f"{middle[1, k]:.2f}",
            f"1/{middle[0, k] / middle[1, k]:.1f}",
        ]
        for k, stage in enumerate(STAGES)
    ]
    return row, stages


def main() -> None:
    """Print the tables; put them into RESULTS.md with --update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ct",
        type=Path,
        default=CT,
        help="folder of a CT, its TotalSegmentator volume and label list",
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--update", action="store_true", help="write the tables into RESULTS.md")
    options = parser.parse_args()
    views, source = find_views(options.ct)
    rows, stages = [], []
    for view, (image, masks) in views.items():
        row, of_view = measure(view, image, masks, options.repeats)
        rows.append(row)
        stages += of_view
    header = [f"{SIZE} x {SIZE}, {source}", ".npy", ".pxm", "size", "plain", "packed", "time"]
    sizes = [CROP**2 * len(LABELS) * 8 / 1e6, CROP**2 * -(-len(LABELS) // 8) / 1e6]
    text = (
        "## Masks on disk, and one training sample\n\n"
        f"Time: read image and masks, random resize, crop of {CROP}. "
        f"Plain: np.load, float, nearest resize, crop, int64 ({sizes[0]:.0f} MB); packed: "
        f"{sizes[1]:.1f} MB. "
        f"Median of {options.repeats}, both in turn in one run.\n\n"
        f"{table(header, rows)}\n\n"
        "The same by stage. The published recipe has no flip; it is not in the sums above.\n\n"
        f"{table(['ms', 'plain', 'packed', 'ratio'], stages)}\n\n"
        f"{conditions('numpy', 'torch', 'zstandard')}; {torch.get_num_threads()} torch threads\n"
    )
    sys.stdout.write(text)
    if options.update:
        update("sample", text)


if __name__ == "__main__":
    main()
