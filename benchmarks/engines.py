"""The open model by onnxruntime beside torch: ``python benchmarks/engines.py FOLDER .. [--shell]``.

Each film of the folders goes through both as ``paxray predict`` has it, in turn: decisions at the
network's size and the bits of the masks at the film's own size are compared, all labels. Films that
``FOLDER/split.csv`` has in a test split are left out. With ``--shell``, the command itself is timed
instead, both ways in turn: one film, and all films of the folders until there are a hundred.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx_export import films_of

from paxray_lib.graphs.session import load_onnx
from paxray_lib.images import read_image
from paxray_lib.models.inference import Segmenter, pass_through
from paxray_lib.models.named import find_weights

NEAR = 1e-3  # of the threshold, in logits
MANY = 100
WAYS = {"torch": str(find_weights("open")), "onnxruntime": "open"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--shell", action="store_true")
    args = parser.parse_args()
    films = {folder: films_of(folder) for folder in args.folders}
    if args.shell:
        shell([path for paths in films.values() for path in paths])
    else:
        for folder, paths in films.items():
            print(f"{folder}: {compare(paths)}", flush=True)


def compare(paths: list[Path]) -> str:
    """Both ways, film by film: what differs, and the medians of the times."""
    import torch

    from paxray_lib import load_model
    from paxray_lib.models import optimize_for_inference

    torch.set_num_threads(1)
    models: list[Segmenter] = [optimize_for_inference(load_model("open")), load_onnx("open")]
    rows = [compare_film(path, models) for path in paths]
    differences, pixels, other, far, bits, changed, *_ = zip(*rows, strict=True)
    times = 1e3 * np.median([row[6:] for row in rows], axis=0)
    return (
        f"{len(rows)} films, logits differ by {max(differences):.1e} at most; of {sum(pixels):,} "
        f"decisions {sum(other):,} are others, {sum(far):,} of them not within {NEAR:g} of 0; of "
        f"{sum(bits):,} bits of masks {sum(changed):,}; network {times[0]:.0f} and {times[1]:.0f} "
        f"ms, decided in {times[2]:.0f} ms"
    )


def compare_film(path: Path, models: list[Segmenter]) -> tuple:
    """One film both ways: logits, decisions and masks that differ, of how many, and times."""
    image = read_image(path)
    size, seconds, found = image.pixels.shape, [], []
    inputs = models[0].preprocess(image)[None]
    for model in models:
        start = time.perf_counter()
        (passed,) = pass_through(model, inputs, [None])
        seconds.append(time.perf_counter() - start)
        logits = passed.logits()
        start = time.perf_counter()
        found.append((logits, passed.decide(size, 0.5)))
    seconds.append(time.perf_counter() - start)
    (ours, masks), (others, other_masks) = found
    differs = (ours > 0) != (others > 0)
    far = differs & (np.abs(ours) > NEAR)
    changed = int(np.bitwise_count(masks ^ other_masks).sum())
    bits = len(models[0].labels) * size[0] * size[1]
    counts = ours.size, int(differs.sum()), int(far.sum()), bits, changed
    return np.abs(ours - others).max(), *counts, *seconds


def shell(paths: list[Path]) -> None:
    """Time the command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "films")
        folder.mkdir()
        for i in range(MANY):
            source = paths[i % len(paths)].resolve()
            (folder / f"{i:03d}{source.suffix}").symlink_to(source)
        for title, images in (("one film", paths[0]), (f"{MANY} films", folder)):
            for way, weights in [*WAYS.items()] * 2:
                out = Path(name, f"{way}-{time.monotonic_ns()}")
                given = ("--images", images, "--out", out, "--weights", weights)
                command = [sys.executable, "-m", "paxray_lib", "predict", "--device", "cpu"]
                start = time.perf_counter()
                subprocess.run([*command, *map(str, given)], check=True, capture_output=True)
                took = time.perf_counter() - start
                print(f"{title}, {way}: {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
