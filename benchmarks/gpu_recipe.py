"""The whole published recipe on a GPU: ``python benchmarks/gpu_recipe.py [--out FOLDER] [--epochs
N] [--update]``.

Generates a packed sample set of 598, 74 and 180 images of 512 x 512 in FOLDER, with all cores,
unless it is there; trains 110 epochs in bfloat16 by `fit`; evaluates the best checkpoint on the
test images; then takes a few hundred steps in the plain way on the same GPU. Started again, it goes
on with a training that was stopped, and takes the measurements of a finished one from
FOLDER/result.json. Several GPUs: ``torchrun --nproc-per-node N benchmarks/gpu_recipe.py``. Without
a GPU it says so and ends; --cpu tries it at a size that a CPU can do, such as --size 64 --images 6
--epochs 1
--plain-steps 2.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from _report import conditions, table, update

IMAGES = 852
PARTS = {"train": 299, "val": 37, "test": 90}  # cases, of two images each
DATAFILE = "recipe.json"
LOAD, CROP, EPOCHS = 512, 480, 110
PLAIN_WORKERS = 4  # a sample has 174 MB as float32, and each worker keeps some ready
# as .npy they take 2.6 GB, and stay in the system's cache: to the advantage of the plain way
PLAIN_IMAGES = 60


def split(cases: int) -> dict[str, int]:
    """Return how many cases each split takes: as published for 426, else in proportion, at least
    one each.
    """
    small = {
        name: max(1, round(part * cases / sum(PARTS.values())))
        for name, part in PARTS.items()
        if name != "train"
    }
    return {"train": cases - sum(small.values()), **small}


def make_data(root: Path, images: int, size: int) -> None:
    """Generate the sample set with the published number of images in each split; a finished one is
    used again.
    """
    from paxray_lib.data.datafile import read_datafile, write_datafile
    from paxray_lib.phantoms.sample_dataset import generate_sample

    generate_sample(root, images // 2, size, workers=os.cpu_count())
    source = read_datafile(root, "paxray.json")
    entries = sorted(
        (entry for part in source.splits.values() for entry in part), key=lambda entry: entry.image
    )
    splits, start = {}, 0
    for name, cases in split(images // 2).items():
        splits[name] = entries[start : start + 2 * cases]
        start += 2 * cases
    write_datafile(root / DATAFILE, source.labels, splits)


@contextmanager
def watch_gpu(log: Path) -> Iterator[None]:
    """Let nvidia-smi write utilization in percent and memory in MiB once a second; nothing without
    it.
    """
    command = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu,memory.used",
        "--format=csv,noheader,nounits",
        "--loop=1",
    ]
    if shutil.which(command[0]) is None:
        yield
        return
    with log.open("w", encoding="utf-8") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            yield
        finally:
            process.terminate()


def read_gpu(log: Path) -> tuple[str, str]:
    """Return mean utilization and the most memory that a GPU had in use, as text."""
    if not log.is_file():
        return "no GPU", "no GPU"
    rows = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        # "[N/A]" where a driver does not tell, or a line that was cut at the end
        with suppress(ValueError):
            utilization, memory = map(float, line.split(","))
            rows.append((utilization, memory))
    if not rows:
        return "not measured", "not measured"
    used = [row for row in rows if row[1] > 1024] or rows  # GPUs that nobody uses do not count
    return (
        f"{statistics.mean(row[0] for row in used):.0f} %",
        f"{max(row[1] for row in used) / 1024:.1f} GiB",
    )


@contextmanager
def timed_batches(waits: list[float]) -> Iterator[None]:
    """Note how long the training loop waits for each step's batches."""
    from paxray_lib.training.batches import TrainingBatches

    original = TrainingBatches.epoch

    def epoch(*args):
        batches = original(*args)
        while True:
            start = time.perf_counter()
            step = next(batches, None)
            waits.append(time.perf_counter() - start)
            if step is None:
                return
            yield step

    TrainingBatches.epoch = epoch
    try:
        yield
    finally:
        TrainingBatches.epoch = original


def train(options: argparse.Namespace) -> dict:
    """Train by `fit`, or go on, and return what was measured; of a training that was stopped not
    the time in all.
    """
    from paxray_lib.training.config import TrainConfig
    from paxray_lib.training.loop import fit

    config = TrainConfig(
        data_root=str(options.out),
        datafile=DATAFILE,
        run_dir=str(options.out / "run"),
        image_size=options.size,
        crop_size=options.size * CROP // LOAD,
        batch_size=options.batch_size,
        epochs=options.epochs,
        lr_milestones=tuple(
            max(1, milestone * options.epochs // EPOCHS) for milestone in (60, 90, 100)
        ),
        precision="bfloat16",
        compile=options.compile,
        workers=options.workers,
    )
    run, result = options.out / "run", options.out / "result.json"
    resumed = (run / "checkpoints" / "last.ckpt").is_file()
    before = json.loads(result.read_text()) if resumed and result.is_file() else {}
    waits: list[float] = []
    log = options.out / "gpu.csv"
    start = time.perf_counter()
    with watch_gpu(log), timed_batches(waits):
        fit(config, resume=True)
    total = time.perf_counter() - start
    if before.get("epochs") == options.epochs:  # nothing was left to do
        return before
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    utilization, memory = read_gpu(log)
    # the first wait includes the start of workers; the reading of a set that stays in memory counts
    # in the total alone
    return {
        "epochs": options.epochs,
        "total": None if resumed else total,
        "epoch": statistics.median(seconds),
        "training": sum(seconds),
        "waits": None if resumed else sum(waits),
        "utilization": utilization,
        "memory": memory,
    }


def test_scores(options: argparse.Namespace) -> dict[str, float]:
    """Return the mean IoU of the best checkpoint on the test images under both conventions."""
    from paxray_lib.data.dataset import PaxrayDataset
    from paxray_lib.evaluation.count import count_dataset
    from paxray_lib.metrics.scores import CONVENTIONS, iou, mean_score
    from paxray_lib.models.checkpoints import load_model

    model = load_model(options.out / "run" / "checkpoints" / "best.ckpt", "auto")
    scores = iou(count_dataset(model, PaxrayDataset(options.out, DATAFILE, "test")))
    return {name: mean_score(scores, name) for name in CONVENTIONS}


class PlainSet(torch.utils.data.Dataset):
    """Samples as the published code makes them: three channels, int64 targets from `.npy`, resized
    and cropped.
    """

    def __init__(self, root: Path, stems: list[str], crop: int):
        self.root, self.stems, self.crop = root, stems, crop

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        from PIL import Image

        stem, crop = self.stems[index], self.crop
        with Image.open(self.root / "images" / f"{stem}.png") as file:
            # (3, H, W)
            image = torch.from_numpy(np.asarray(file.convert("RGB"), np.float32)).permute(2, 0, 1)
        target = torch.from_numpy(np.load(self.root / "plain" / f"{stem}.npy")).float()  # (L, H, W)
        if torch.rand(()) < 0.6:
            size = torch.randint(crop, int(1.2 * crop) + 1, (2,)).tolist()
            image, target = (
                torch.nn.functional.interpolate(x[None], size)[0] for x in (image, target)
            )
        top, left = (int(torch.randint(0, side - crop + 1, ())) for side in image.shape[1:])
        image, target = (x[:, top : top + crop, left : left + crop] for x in (image, target))
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        return (image - mean) / std, target.long()


def plain_images_per_s(options: argparse.Namespace, device: str) -> float:
    """Return images per second of the plain way over some hundred steps of batch 3, float32, after
    ten.
    """
    import _plain

    from paxray_lib.data.dataset import PaxrayDataset

    dataset = PaxrayDataset(options.out, DATAFILE, "train")
    count = min(PLAIN_IMAGES, len(dataset))
    stems = [Path(entry.image).stem for entry in dataset.entries[:count]]
    (options.out / "plain").mkdir(exist_ok=True)
    for index, stem in enumerate(stems):
        dataset.masks(index).write(options.out / "plain" / f"{stem}.npy")
    samples = PlainSet(options.out, stems, options.size * CROP // LOAD)
    steps = options.plain_steps + min(10, options.plain_steps)
    chosen = torch.utils.data.RandomSampler(samples, replacement=True, num_samples=3 * steps)
    loader = torch.utils.data.DataLoader(
        samples,
        3,
        sampler=chosen,
        num_workers=min(PLAIN_WORKERS, options.workers),
        pin_memory=device == "cuda",
    )
    network = _plain.PlainUNet(len(dataset.labels)).to(device)
    optimizer = _plain.adamw(network)
    for step, (images, target) in enumerate(loader):
        if step == steps - options.plain_steps:
            start = _clock(device)
        loss = _plain.loss(network(images.to(device)), target.to(device).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # it prints the loss of each step
    return 3 * options.plain_steps / (_clock(device) - start)


def _clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def make_section(
    options: argparse.Namespace, found: dict, scores: dict, plain: float | None
) -> str:
    """Return the section of RESULTS.md."""
    world, images = int(os.environ.get("WORLD_SIZE", 1)), 2 * split(options.images // 2)["train"]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    total, waits = found["total"], found["waits"]
    rows = [
        ["images a second, median epoch", f"{images / found['epoch']:.1f}"],
        [
            "the whole recipe, from start to last checkpoint",
            "not measured" if total is None else f"{total:.1f} s",
        ],
        ["of it training steps", f"{found['training']:.1f} s"],
        [
            "of them the loop waits for batches",
            "not measured"
            if waits is None
            else f"{waits:.2f} s, {100 * waits / found['training']:.1f} %",
        ],
        ["GPU utilization, whole run", found["utilization"]],
        ["GPU memory, most", found["memory"]],
        *([f"mean IoU on test, {name}", f"{score:.4f}"] for name, score in scores.items()),
    ]
    if plain is not None:
        rows.append(
            [
                f"plain way, images a second ({options.plain_steps} steps, batch 3, float32)",
                f"{plain:.2f}",
            ]
        )
        rows.append(["ours to the plain way", f"{images / found['epoch'] / plain:.1f}"])
    return (
        f"## The published recipe\n\n{options.images} sample images of {options.size} x "
        f"{options.size}, 166 labels; "
        f"{options.epochs} epochs, batch {options.batch_size}, bfloat16, compile "
        f"{options.compile}, "
        f"{world} x {device}, {options.workers} workers.\n\n"
        f"{table(['what', 'measured'], rows)}\n\n{conditions('torch')}"
    )


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu_recipe"), help="folder for data, run and result"
    )
    parser.add_argument("--cpu", action="store_true", help="run without a GPU too")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--size", type=int, default=LOAD)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--batch-size", type=int, default=3)
    parser.add_argument("--compile", choices=("off", "kernels", "graphs"), default="kernels")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--plain-steps", type=int, default=200, help="steps in the plain way; 0: none"
    )
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md too")
    return parser.parse_args()


def main() -> None:
    """Generate, train, evaluate, compare, report."""
    options = parse_options()
    if not (options.cpu or torch.cuda.is_available()):
        sys.stdout.write("no GPU here: not measured (--cpu tries the script)\n")
        return
    first = int(os.environ.get("RANK", 0)) == 0
    if first:
        make_data(options.out, options.images, options.size)
    while not (options.out / DATAFILE).is_file():  # the first process is still at work on it
        time.sleep(1)
    found = train(options)
    if not first:
        return
    result = options.out / "result.json"
    result.write_text(json.dumps(found, indent=1))  # now, and again: what comes later may fail
    scores = test_scores(options)
    result.write_text(json.dumps({**found, **scores}, indent=1))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = plain_images_per_s(options, device) if options.plain_steps else None
    text = make_section(options, found, scores, plain)
    result.write_text(json.dumps({**found, **scores, "plain": plain}, indent=1))
    sys.stdout.write(text + "\n")
    if options.update:
        update("gpu_recipe", text)


if __name__ == "__main__":
    main()
