"""Time prediction against the straightforward path: ``python benchmarks/predict.py [--images N]
[--update]``.

The published network with random weights, N images of 512 x 512, from a PNG file to a mask file.
The straightforward path works as the published code does, with the same input: one image at a time,
the 1x1 convolution at full resolution, sigmoid, comparison, int64, a bool stack as `.npy`. Each
path has a process of its own, for its peak memory."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE = 512
NEAR = 1e-4  # logits this near to the threshold may fall on either side of it by rounding


def make_images(folder: Path, count: int, size: int = SIZE) -> None:
    """Write smooth random images as PNG."""
    import cv2
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.random((24, 24), np.float32)
        pixels = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + rng.normal(
            0, 0.02, (size, size)
        )
        Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(
            folder / f"{i:03d}.png"
        )


def make_weights(path: Path, images: Path, size: int = SIZE) -> None:
    """Write random weights whose BatchNorm statistics fit the images, so that logits have the usual
    size.
    """
    import torch

    from paxray_lib.images.preprocessing import Preprocessing
    from paxray_lib.images.read import read_image
    from paxray_lib.labels.table import LABELS
    from paxray_lib.models.build import build_model
    from paxray_lib.models.checkpoints import save_model

    torch.manual_seed(0)
    model = build_model(
        "paxray_unet", LABELS, preprocessing=Preprocessing("published", (size, size))
    )
    batch = torch.stack(
        [torch.as_tensor(model.preprocess(read_image(p))) for p in sorted(images.iterdir())[:2]]
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        model.train()(batch)
    save_model(path, model)


def full_logits(network, images):
    """Return the logits as the published code does: features enlarged, then the 1x1 convolution."""
    from torch.nn.functional import interpolate

    features = network.features(images)
    size = images.shape[-2:]
    return network.head.out(interpolate(features, size, mode="bilinear", align_corners=False))


def straightforward(model, images: Path, out: Path) -> float:
    """Predict one image after the other; return the seconds in the network."""
    import torch

    from paxray_lib.images.read import read_image

    out.mkdir()
    seconds = 0.0
    for path in sorted(images.iterdir()):
        inputs = torch.as_tensor(model.preprocess(read_image(path)))[None]
        with torch.no_grad():
            start = time.perf_counter()
            logits = full_logits(model.network, inputs)
            seconds += time.perf_counter() - start
            masks = (torch.sigmoid(logits) > 0.5).long()[0].numpy()
        np.save(out / f"{path.stem}.npy", masks.astype(bool))
    return seconds


def ours(model, images: Path, out: Path, precision: str) -> float:
    """Predict with the library; return the seconds in the network."""
    from paxray_lib import predict
    from paxray_lib.models import folding

    optimize, seconds = folding.optimize_for_inference, [0.0]

    def timed(function):
        def call(*args):
            start = time.perf_counter()
            result = function(*args)
            seconds[0] += time.perf_counter() - start
            return result

        return call

    def optimize_timed(*args):
        fast = optimize(*args)
        fast.coarse_logits = timed(fast.coarse_logits)
        return fast

    folding.optimize_for_inference = optimize_timed
    report = predict(model, images, out, precision=precision)
    if not (report["status"] == "ok").all():
        sys.exit(f"failed: {report[report['status'] != 'ok']}")
    return seconds[0]


def child(path: str, folder: Path) -> None:
    """Run one path and print what it took as JSON."""
    from _report import peak_bytes

    from paxray_lib.models.checkpoints import load_model

    model = load_model(folder / "weights.ckpt")
    start = time.perf_counter()
    if path == "straightforward":
        network = straightforward(model, folder / "images", folder / path)
    else:
        network = ours(model, folder / "images", folder / path, path)
    total = time.perf_counter() - start
    print(json.dumps({"total": total, "network": network, "peak": peak_bytes()}))


def differences(folder: Path, path: str, count: int) -> tuple[int, int, int]:
    """Return the bits that differ from the straightforward path, those of them not near the
    threshold, and all.
    """
    import torch

    from paxray_lib.images.read import read_image
    from paxray_lib.masks.packed import PackedMasks
    from paxray_lib.models.checkpoints import load_model

    model = load_model(folder / "weights.ckpt")
    differing = far = bits = 0
    for image in sorted((folder / "images").iterdir())[:count]:
        reference = np.load(folder / "straightforward" / f"{image.stem}.npy")
        other = PackedMasks.read(folder / path / f"{image.stem}.pxm").unpack()
        wrong = reference != other
        bits += wrong.size
        if wrong.any():
            inputs = torch.as_tensor(model.preprocess(read_image(image)))[None]
            with torch.no_grad():
                logits = full_logits(model.network, inputs)[0].numpy()
            differing += int(wrong.sum())
            far += int((np.abs(logits[wrong]) > NEAR).sum())
    return differing, far, bits


def row(
    name: str, result: dict, first: dict, count: int, difference: tuple[int, int, int] | None
) -> list[str]:
    """Return a row of the table."""
    total = result["total"]
    changed = (
        ""
        if difference is None
        else f"{difference[0]:,} of {difference[2]:,} ({difference[1]:,} not near)"
    )
    outside = f"{100 * (1 - result['network'] / total):.1f} %"
    numbers = [
        f"{count / total:.2f}",
        f"{first['total'] / total:.2f}",
        outside,
        f"{result['peak'] / 2**30:.2f} GiB",
    ]
    return [name, *numbers, changed]


def main() -> None:
    """Run all paths and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--update", action="store_true", help="write the table to RESULTS.md")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    from _report import conditions, table, update

    paths = {
        "straightforward": "straightforward",
        "float32": "paxray predict",
        "bfloat16": "paxray predict, bfloat16",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", options.images)
        make_weights(folder / "weights.ckpt", folder / "images")
        results = {}
        for path in paths:
            command = [sys.executable, __file__, "--child", path, name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[path] = json.loads(output.splitlines()[-1])
        rows = []
        for path, title in paths.items():
            compared = (
                None
                if path == "straightforward"
                else differences(folder, path, min(8, options.images))
            )
            rows.append(
                row(title, results[path], results["straightforward"], options.images, compared)
            )
    head = [
        "path",
        "images/s",
        "speed-up",
        "outside the network",
        "peak memory",
        "bits that differ",
    ]
    text = (
        f"## Prediction\n\n{conditions('torch')}; {options.images} images of {SIZE} x "
        f"{SIZE}, 166 labels\n\n"
    )
    text += table(head, rows)
    print(text)
    if options.update:
        update("predict", text)


if __name__ == "__main__":
    main()
