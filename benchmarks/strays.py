"""What leaving out strays costs and gains: ``python benchmarks/strays.py WEIGHTS DATA_ROOT``.

How many pixels of true masks the rule would take for strays, at 128 x 128; scores of a model on the
test split with strays and without, in that order; the time of an image.
"""

import argparse
import time
from unittest import mock

import numpy as np

from paxray_lib import load_model
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import measure_dataset
from paxray_lib.labels.table import LABELS
from paxray_lib.metrics import iou, mean_score
from paxray_lib.models import inference, strays

SIDE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("data_root")
    args = parser.parse_args()
    data = PaxrayDataset(args.data_root, "paxray.json", "test")
    true_pixels(data)
    model = load_model(args.weights)
    data = data.with_labels(model.labels)
    for name, find in (("with", lambda *_: ()), ("without", strays.find_strays)):
        with mock.patch.object(inference, "find_strays", find):
            counts, outlines, _ = measure_dataset(model, data)
        scores = [mean_score(values, "present") for values in (iou(counts), outlines.nsd)]
        finite = outlines.hd95[np.isfinite(outlines.hd95)]
        print(f"{name}: IoU {scores[0]:.4f}, NSD {scores[1]:.4f}, HD95 {finite.mean():.2f} px")


def true_pixels(data: PaxrayDataset) -> None:
    """Print which share of a label's true pixels the rule would leave out, were it for all."""
    total, removed, seconds = np.zeros(len(LABELS)), np.zeros(len(LABELS)), []
    for i in range(len(data)):
        masks = data.masks(i).relabel(LABELS).resize(SIDE, SIDE)
        total += masks.counts()
        with mock.patch.object(strays, "_CLEANED", set(LABELS.names)):
            start = time.perf_counter()
            found = list(strays.find_strays(masks.data, LABELS.names))
            seconds.append(time.perf_counter() - start)
        for label, rows, _ in found:
            removed[label] += len(rows)
    share = removed / np.maximum(total, 1)
    for label in np.argsort(-share)[: np.count_nonzero(share)]:
        print(f"{LABELS.names[label]}: {share[label]:.2%} of the true pixels")
    print(f"{1e3 * np.median(seconds):.1f} ms an image of {SIDE} x {SIDE}")


if __name__ == "__main__":
    main()
