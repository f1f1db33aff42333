"""Samples a second and memory of training loaders: ``python benchmarks/loader.py [--update]``.

512 px data, 166 labels, batches of 3, the published recipe. Each row is measured in a fresh
interpreter."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from _report import conditions, table, update
from _views import CT, SIZE, find_views, write_view
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from paxray_lib.data.augmentation import AugmentConfig
from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.training.batches import StepPlan, TrainingBatches, TrainingSet

CROP, BATCH, IMAGES = 480, 3, 60
PLAIN, OURS, IN_MEMORY = "plain", "packed, from disk", "packed, in memory"
# four plain workers would hold 15 GB
ROWS = [
    (PLAIN, 0),
    (PLAIN, 1),
    (PLAIN, 2),
    (OURS, 0),
    (OURS, 1),
    (OURS, 2),
    (OURS, 4),
    (IN_MEMORY, 0),
]
SECONDS = {PLAIN: 6.0, OURS: 4.0, IN_MEMORY: 4.0}


class PlainSet(Dataset):
    """Samples as a plain loader makes them: float images, int64 targets, as the published code
    works.
    """

    def __init__(self, dataset: PaxrayDataset):
        self.root, self.entries = dataset.datafile.root, dataset.entries

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        entry = self.entries[index]
        image = np.asarray(Image.open(self.root / entry.image).convert("RGB"), np.float32)
        image = torch.from_numpy(image).permute(2, 0, 1)  # (3, H, W)
        target = torch.from_numpy(np.load(self.root / entry.target)).float()  # (L, H, W)
        if torch.rand(()) < 0.6:
            size = torch.randint(480, 614, (2,)).tolist()
            image, target = (
                torch.nn.functional.interpolate(x[None], size)[0] for x in (image, target)
            )
        top, left = (int(torch.randint(0, side - CROP + 1, ())) for side in image.shape[1:])
        image, target = (x[:, top : top + CROP, left : left + CROP] for x in (image, target))
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        return (image - mean) / std, target.long()


def write_data(folder: Path, ct: Path) -> str:
    """Write a data set of both views, each linked many times, and return where the masks are
    from.
    """
    views, source = find_views(ct)
    entries = []
    for view, (image, masks) in views.items():
        files = write_view(folder, view, image, masks)
        for case in range(IMAGES // len(views)):
            names = [f"case{case + 1}{view}{path.suffix}" for path in files]
            for path, name in zip(files, names, strict=True):
                os.link(path, folder / name)
            entries.append(Entry(names[0], names[1], f"case{case + 1}", view))
    write_datafile(folder / "paxray.json", LABELS, {"train": entries})
    return source


def plain_batches(dataset: PaxrayDataset, workers: int) -> Iterator:
    """Yield batches without end."""
    loader = DataLoader(
        PlainSet(dataset),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        drop_last=True,
    )
    while True:
        yield from loader


def our_batches(dataset: PaxrayDataset, workers: int, in_memory: bool) -> Iterator:
    """Yield batches without end."""
    preprocessing = Preprocessing("published", (SIZE, SIZE))
    samples = TrainingSet(dataset, preprocessing, AugmentConfig(SIZE, CROP), seed=0)
    plan = StepPlan(len(dataset), seed=0, batch_size=BATCH)
    batches = TrainingBatches(samples, plan, torch.device("cpu"), workers, in_memory)
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def measure(way: str, workers: int, root: Path) -> dict[str, float]:
    """Return samples a second, and the peak memory of all processes in GB."""
    dataset = PaxrayDataset(root)
    batches = (
        plain_batches(dataset, workers)
        if way == PLAIN
        else our_batches(dataset, workers, way == IN_MEMORY)
    )
    next(batches)  # starts the workers, or reads the set into memory
    peak, done = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(peak, done))
    watch.start()
    for _ in range(2 * workers):  # what was prepared beside the first batch
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS[way] or count < 4:
        next(batches)
        count += 1
    seconds = time.perf_counter() - start
    done.set()
    watch.join()
    return {"rate": count * BATCH / seconds, "peak": peak[0] / 1e9}


def _watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.25):
        peak[0] = max(peak[0], _memory(os.getpid()))


def _memory(pid: int) -> int:
    """Return the proportional set size of a process and its children: memory they share counts
    once.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return 0
    own = next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return own + sum(_memory(int(child)) for child in children)


def measure_apart(way: str, workers: int, root: Path) -> dict[str, float]:
    """Return `measure` from an interpreter of its own."""
    command = [
        sys.executable,
        "-W",
        "ignore::UserWarning",
        __file__,
        "--one",
        way,
        str(workers),
        str(root),
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Print the table; put it into RESULTS.md with --update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ct",
        type=Path,
        default=CT,
        help="folder of a CT, its TotalSegmentator volume and label list",
    )
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument(
        "--one", nargs=3, metavar=("WAY", "WORKERS", "ROOT"), help="measure one row and print it"
    )
    options = parser.parse_args()
    if options.one:
        way, workers, root = options.one
        sys.stdout.write(json.dumps(measure(way, int(workers), Path(root))))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = write_data(Path(folder), options.ct)
        found = [measure_apart(way, workers, Path(folder)) for way, workers in ROWS]
    rows = [
        [way, str(workers), f"{one['rate']:.1f}", f"{one['peak']:.2f} GB"]
        for (way, workers), one in zip(ROWS, found, strict=True)
    ]
    text = (
        "## Training loaders\n\n"
        f"{SIZE} x {SIZE}, {len(LABELS)} labels, {source}; batches of {BATCH}, published "
        "recipe (random resize, crop "
        f"of {CROP}), in steady state for {SECONDS[OURS]:.0f} to {SECONDS[PLAIN]:.0f} s "
        "each, files in the cache of "
        "the system. Plain: np.load, float, int64, torch's DataLoader. Memory: all "
        "processes, what they share "
        f"counted once; the set in memory holds {IMAGES} images.\n\n"
        f"{table(['loader', 'workers', 'samples/s', 'peak memory'], rows)}\n\n"
        f"{conditions('numpy', 'torch', 'zstandard')}\n"
    )
    sys.stdout.write(text)
    if options.update:
        update("loader", text)


if __name__ == "__main__":
    main()
