"""What the options of a prediction gain, measured on a split."""

import os

import numpy as np
import pandas as pd

from paxray_lib.compute.collectives import gather_items
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.compare import compare_evaluations
from paxray_lib.evaluation.count import count_decisions, use_logits
from paxray_lib.evaluation.evaluate import check_labels
from paxray_lib.evaluation.result import Evaluation, image_table
from paxray_lib.labels.matching import match
from paxray_lib.masks import PackedMasks, close_bits
from paxray_lib.metrics import Counts
from paxray_lib.models import AnatomySegmenter, optimize_for_inference
from paxray_lib.models.inference import decide

#: Names by whether to average with the mirrored image, and to close under the label tree.
VARIANTS = {
    (False, False): "baseline",
    (False, True): "close_tree",
    (True, False): "mirror",
    (True, True): "mirror and close_tree",
}


def gains_table(
    model: AnatomySegmenter,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    *,
    split: str = "val",
    threshold: float = 0.5,
    score: str = "iou_present",
) -> pd.DataFrame:
    """Return what each option of a prediction adds to a score of a split, one row per variant.

    The options are to average with the mirror image, and to close the label tree. Choose them on
    the validation split: on the test split the choice itself would be fitted to what is tested.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    data_root, datafile, split : as for `PaxrayDataset`
    threshold : a pixel has a label where its sigmoid is greater
    score : a score of `compare_evaluations`, such as "iou_present" or "dice_published"

    Returns
    -------
    DataFrame
        Indexed by variant: the score, `gain` (the difference to "baseline"), low and high (95 %
        interval of the gain, over patients), and `helps`: whether the whole interval is above 0.
    """
    dataset = PaxrayDataset(data_root, datafile, split)
    if (match(dataset.labels, model.labels) < 0).any():
        check_labels(model.labels, dataset)
    dataset = dataset.with_labels(model.labels)
    model, images = optimize_for_inference(model), image_table(dataset)

    def count_both(logits: np.ndarray, target: PackedMasks) -> list[Counts]:
        bits = decide(model, logits, threshold, target.shape[1:])
        closed = close_bits(bits, target.labels)
        return [count_decisions(decided, target) for decided in (bits, closed)]

    evaluations = []
    for mirror in (False, True):
        pixels = gather_items(list(use_logits(model, dataset, count_both, mirror=mirror)))
        for parts in zip(*pixels, strict=True):
            evaluations.append(Evaluation(Counts.concat(parts), dataset.labels, images))
    tables = [
        compare_evaluations(evaluations[0], variant, score, by_label=False).head(1)
        for variant in evaluations
    ]
    gains = pd.concat(tables).rename(columns={"second": score, "difference": "gain"})
    gains = gains.set_axis(list(VARIANTS.values()))[[score, "gain", "low", "high"]]
    return gains.assign(helps=gains["low"] > 0)
