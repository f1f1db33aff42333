"""The open model as ONNX beside torch: ``python benchmarks/onnx_export.py [FOLDER ...]``.

Each film of the folders, by default the example films, goes through both in turn: from its pixels
of 8 bits to logits at the network's size. Films that ``FOLDER/split.csv`` has in a test split are
left out.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch

from paxray_lib import load_model
from paxray_lib.graphs.export import TOLERANCE, export_onnx
from paxray_lib.images import read_image
from paxray_lib.images.files import find_images
from paxray_lib.models import optimize_for_inference

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[EXAMPLES])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    ways = by_torch(args.threads), by_onnx(args.threads)
    for folder in args.folders:
        rows = [compare(path, *ways) for path in films_of(folder)]
        differences, pixels, other, far, *_ = zip(*rows, strict=True)
        torch_ms, onnx_ms = 1e3 * np.median([row[4:] for row in rows], axis=0)
        print(
            f"{folder}: {len(rows)} films, logits differ by {max(differences):.1e} at most; "
            f"of {sum(pixels):,} decisions {sum(other):,} are others, {sum(far):,} of them not "
            f"within {TOLERANCE:g} of 0; torch {torch_ms:.0f} ms, ONNX {onnx_ms:.0f} ms",
            flush=True,
        )


def films_of(folder: Path) -> list[Path]:
    """The films of a folder but for those of a test split."""
    table = folder / "split.csv"
    if not table.is_file():
        return find_images(folder)
    rows = pd.read_csv(table, dtype=str)
    test = set(rows.loc[rows["split"] == "test", "id"])
    return [path for path in find_images(folder / "images") if path.stem not in test]


def by_torch(threads: int):
    """As `paxray predict` passes films through the network: BatchNorm folded, channels last."""
    torch.set_num_threads(threads)
    model = optimize_for_inference(load_model("open"))

    @torch.inference_mode()
    def logits(film: np.ndarray) -> np.ndarray:
        inputs = torch.as_tensor(model.preprocess(film / np.float32(255)))[None]
        return model(inputs.to(memory_format=torch.channels_last)).numpy()

    return logits


def by_onnx(threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        export_onnx("open", Path(folder, "model.onnx"))
        session = onnxruntime.InferenceSession(
            Path(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
    return lambda film: session.run(["logits"], {"pixels": film[None]})[0]


def compare(path: Path, by_torch, by_onnx) -> tuple:
    """One film both ways: difference of logits, pixels, those decided otherwise, both times."""
    film = np.round(255 * read_image(path).pixels).astype(np.uint8)
    start = time.perf_counter()
    ours = by_torch(film)
    middle = time.perf_counter()
    others = by_onnx(film)
    end = time.perf_counter()
    differs = (ours > 0) != (others > 0)
    counts = ours.size, differs.sum(), (differs & (np.abs(ours) > TOLERANCE)).sum()
    return np.abs(ours - others).max(), *counts, middle - start, end - middle


if __name__ == "__main__":
    main()
