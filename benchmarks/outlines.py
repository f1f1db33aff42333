"""What smooth outlines cost and gain: ``python benchmarks/outlines.py WEIGHTS DATA_ROOT``.

Pixels are counted twice each way, in turn, on the test split of a data set whose images are larger
than the network's input; then boundaries are compared; then one image of 3000 x 3000 is decided.
"""

import argparse
import resource
import time
from collections.abc import Sequence

import numpy as np
import torch

import paxray_lib.models.inference as inference
from paxray_lib import load_model
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import count_dataset, measure_dataset
from paxray_lib.metrics import iou, mean_score
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.outlines import pack_enlarged


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
    torch.manual_seed(0)
    coarse = torch.randn(1, 166, 16, 16) - 1.5
    logits = torch.nn.functional.interpolate(coarse, (512, 512), mode="bilinear")
    bits = pack_decisions(logits)[0].numpy()
    start = time.perf_counter()
    pack_enlarged(list(logits[0]), bits, 0.0, (3000, 3000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"3000 x 3000: {time.perf_counter() - start:.1f} s, peak of the process {peak:.2f} GiB")


def _as_they_are(
    planes: Sequence[torch.Tensor], bits: np.ndarray, cut: float, size: tuple[int, int]
) -> torch.Tensor:
    return torch.from_numpy(bits)


if __name__ == "__main__":
    main()
