"""Time evaluation beside the plain way: ``python benchmarks/evaluation.py [--images N]
[--update]``.

The published network with random weights and 166 labels on images of 512 x 512, from the files of
image and masks to scores. The plain way reads a `.npy` stack, convolves at full resolution,
compares a dense sigmoid and scores dense float masks. Each row has a process of its own. The metric
alone starts from the same logits in both ways, and its counts must be the same."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _report import conditions, peak_bytes, table, update

ROWS = {
    "plain": "plain: IoU and Dice",
    "float32": "ours: IoU and Dice",
    "bfloat16": "ours, bfloat16: IoU and Dice",
    "all": "`paxray evaluate`: surface distances and calibration too",
}


def make_data(folder: Path, count: int, size: int) -> None:
    """Write images, masks as `.npy` and as `.pxm`, the data file, and weights."""
    import predict
    from step import make_batch

    from paxray_lib.data.datafile import Entry, write_datafile
    from paxray_lib.labels.table import LABELS
    from paxray_lib.masks.packed import PackedMasks

    predict.make_images(folder / "images", count, size)
    predict.make_weights(folder / "weights.ckpt", folder / "images", size)
    entries = []
    (folder / "labels").mkdir()
    for i, bits in enumerate(make_batch(count, size)[1].numpy()):
        masks = PackedMasks(bits, LABELS)
        masks.write(folder / "labels" / f"{i:03d}.npy")
        masks.write(folder / "labels" / f"{i:03d}.pxm")
        entries.append(Entry(f"images/{i:03d}.png", f"labels/{i:03d}.pxm", f"{i:03d}", None))
    write_datafile(folder / "paxray.json", LABELS, {"train": [], "val": [], "test": entries})


def evaluate_plain(model: torch.nn.Module, network: torch.nn.Module, folder: Path) -> list[float]:
    """Return the mean IoU and Dice of the test images in the plain way."""
    import _plain

    from paxray_lib.images.read import read_image

    found = []
    for path in sorted((folder / "images").iterdir()):
        image = torch.as_tensor(model.preprocess(read_image(path)))[None]
        target = torch.from_numpy(np.load(folder / "labels" / f"{path.stem}.npy"))[None].float()
        with torch.no_grad():
            predicted = (network(image).sigmoid() > 0.5).float()
            found.append([float(score.mean()) for score in _plain.scores(predicted, target)])
    return np.mean(found, axis=0).tolist()


def evaluate_ours(model: torch.nn.Module, folder: Path) -> list[float]:
    """Return the mean IoU and Dice of the test images by the library."""
    from paxray_lib.data.dataset import PaxrayDataset
    from paxray_lib.evaluation.count import count_dataset
    from paxray_lib.metrics.scores import dice, iou, mean_score

    found = count_dataset(model, PaxrayDataset(folder, split="test"), quiet=True)
    return [mean_score(score(found)) for score in (iou, dice)]


def evaluate_all(model: torch.nn.Module, folder: Path) -> list[float]:
    """Return the mean IoU and Dice from all that `paxray evaluate` measures."""
    from paxray_lib.evaluation.evaluate import evaluate

    overall = evaluate(model, folder).summary["overall"]
    return [overall["iou_published"], overall["dice_published"]]


def child(row: str, folder: Path) -> dict:
    """Evaluate in one way; return seconds, scores and peak memory. Libraries and weights are loaded
    before.
    """
    import _plain

    from paxray_lib.models.checkpoints import load_model

    model = load_model(folder / "weights.ckpt")
    if row == "plain":
        network = _plain.PlainUNet.like(model.network)
    elif row != "all":
        model = model.to(getattr(torch, row))
    start = time.perf_counter()
    if row == "plain":
        scores = evaluate_plain(model, network, folder)
    else:
        scores = evaluate_all(model, folder) if row == "all" else evaluate_ours(model, folder)
    return {"seconds": time.perf_counter() - start, "scores": scores, "peak": peak_bytes()}


def run_row(row: str, folder: Path) -> dict:
    """Evaluate in one way in a process of its own."""
    command = [sys.executable, __file__, "--row", row, "--folder", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def metric_seconds(size: int, repeats: int) -> dict[str, float]:
    """Return the seconds from logits to scores of one image in three ways; stop if counts
    differ.
    """
    import _plain
    from step import LABELS, make_batch

    from paxray_lib.metrics.counting import counts
    from paxray_lib.metrics.scores import dice, iou
    from paxray_lib.models.decisions import pack_decisions

    packed = make_batch(1, size)[1]
    target = _plain.dense(packed, LABELS)
    planes = target + torch.randn_like(target) - 0.5
    logits = planes[0].numpy()

    def plain():
        return _plain.scores((planes.sigmoid() > 0.5).float(), target)

    def by_label():
        return _plain.scores_by_label((planes.sigmoid() > 0.5).float(), target)

    def ours():
        found = counts(pack_decisions(logits)[None], packed.numpy(), labels=LABELS)
        return found, iou(found), dice(found)

    # in float64: float32's sigmoid of a logit just above 0 is 0.5, and so "not above"
    decided, true = planes[0].double().sigmoid().gt(0.5).flatten(1), target[0].bool().flatten(1)
    dense = [part.sum(1).numpy() for part in (decided & true, decided & ~true, true & ~decided)]
    found = ours()[0]
    if not all(
        np.array_equal(a, b[0]) for a, b in zip(dense, (found.tp, found.fp, found.fn), strict=True)
    ):
        sys.exit("the counts differ from those of the dense masks")
    ways = {"plain": plain, "plain, label by label": by_label, "ours": ours}
    return {name: _median_s(way, repeats) for name, way in ways.items()}


def _median_s(call: Callable, repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])  # the first one warms up


def make_section(count: int, size: int, repeats: int) -> str:
    """Measure everything and return the section of RESULTS.md."""
    metric = metric_seconds(size, repeats)
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), count, size)
        results = {row: run_row(row, Path(name)) for row in ROWS}
    lines, first = [], results["plain"]
    for row, found in results.items():
        numbers = [f"{found['seconds'] / count:.2f}", f"{found['seconds'] / first['seconds']:.2f}"]
        numbers += [f"{found['peak'] / 2**30:.2f}", *(f"{score:.6f}" for score in found["scores"])]
        lines.append([ROWS[row], *numbers])
    head = ["whole evaluation", "s an image", "ratio", "peak GiB", "mean IoU", "mean Dice"]
    metric_head = ["metric alone, from logits, identical counts", "ms an image", "ratio"]
    metric = [
        [way, f"{1000 * took:.0f}", f"{took / metric['plain']:.3f}"] for way, took in metric.items()
    ]
    return (
        f"## Evaluation\n\n{count} images of {size} x {size}, 166 labels, published network "
        "with random weights, "
        f"{torch.get_num_threads()} threads, from files to scores.\n\n{table(head, lines)}\n\n"
        f"{table(metric_head, metric)}\n\n"
        f"{conditions('torch')}"
    )


def main() -> None:
    """Measure one row if told to, else all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of the metric alone")
    parser.add_argument(
        "--update", action="store_true", help="write the tables into RESULTS.md too"
    )
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        print(json.dumps(child(options.row, options.folder)))
        return
    text = make_section(options.images, options.size, options.repeats)
    print(text)
    if options.update:
        update("evaluation", text)


if __name__ == "__main__":
    main()
