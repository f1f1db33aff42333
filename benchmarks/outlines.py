"""What smooth outlines cost and gain: ``python benchmarks/outlines.py WEIGHTS DATA_ROOT``.

Pixels are counted twice each way, in turn, on the test split of a data set whose images are larger
than the network's input; then boundaries are compared; then one image of 3000 x 3000 is decided.
"""

import argparse
import resource
import time

import numpy as np

import paxray_lib.models.inference as inference
from paxray_lib import load_model
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import count_dataset, measure_dataset
from paxray_lib.metrics import iou, mean_score
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.outlines import enlarge, pack_enlarged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("data_root")
    args = parser.parse_args()
    model, data = load_model(args.weights), PaxrayDataset(args.data_root, "paxray.json", "test")
    ways = {"nearest": _as_they_are, "smooth": pack_enlarged}
    for name, way in [*ways.items()] * 2:
        inference.pack_enlarged = way
        start = time.perf_counter()
        count_dataset(model, data, quiet=True)
        print(f"{name}: {len(data) / (time.perf_counter() - start):.2f} images/s")
    for name, way in ways.items():
        inference.pack_enlarged = way
        counts, outlines, _ = measure_dataset(model, data)
        scores = [mean_score(values, "present") for values in (iou(counts), outlines.nsd)]
        finite = outlines.hd95[np.isfinite(outlines.hd95)]
        print(f"{name}: IoU {scores[0]:.4f}, NSD {scores[1]:.4f}, HD95 {finite.mean():.2f} px")
    coarse = np.random.default_rng(0).standard_normal((166, 16, 16), np.float32) - 1.5
    logits = enlarge(coarse, (512, 512))
    bits = pack_decisions(logits)
    start = time.perf_counter()
    pack_enlarged(logits, bits, 0.0, (3000, 3000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"3000 x 3000: {time.perf_counter() - start:.1f} s, peak of the process {peak:.2f} GiB")


def _as_they_are(
    planes: np.ndarray, bits: np.ndarray, cut: float, size: tuple[int, int]
) -> np.ndarray:
    return bits


if __name__ == "__main__":
    main()
