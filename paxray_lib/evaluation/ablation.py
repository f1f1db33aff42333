"""What options of a prediction gain: closing the label tree, averaging with the mirror image."""

import os
from collections.abc import Callable

import pandas as pd
import torch

from paxray_lib.compute.collectives import gather_items
from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.evaluation.compare import compare_evaluations
from paxray_lib.evaluation.count import count_decisions, use_logits
from paxray_lib.evaluation.evaluate import check_labels
from paxray_lib.evaluation.result import Evaluation, image_table
from paxray_lib.masks import hierarchy
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import Counts
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import predict_image
from paxray_lib.models.segmenter import AnatomySegmenter

VARIANTS = {
    (False, False): "baseline",
    (False, True): "close_tree",
    (True, False): "mirror",
    (True, True): "mirror and close_tree",
}
"""Names by whether to average with the mirrored image, and to close under the label tree."""


def gains_table(
    model: AnatomySegmenter,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    *,
    split: str = "val",
    threshold: float = 0.5,
    score: str = "iou_present",
) -> pd.DataFrame:
    """Return what each option adds to a score of a split, one row per variant.

    Choose options on the validation split: on the test split the choice itself would be fitted to
    what is tested.

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
    check_labels(model.labels, dataset)
    model, images = optimize_for_inference(model), image_table(dataset)

    def count_both(logits: torch.Tensor, target: PackedMasks) -> list[Counts]:
        bits = pack_decisions(logits, threshold)[0]
        closed = hierarchy.close_bits(bits, target.labels)
        return [count_decisions(decided, target) for decided in (bits, closed)]

    rows: dict[str, pd.Series] = {}
    evaluations = []
    for mirror in (False, True):
        pixels = gather_items(list(use_logits(model, dataset, count_both, mirror=mirror)))
        for close, parts in enumerate(zip(*pixels, strict=True)):
            evaluations.append(Evaluation(Counts.concat(parts), dataset.labels, images))
            table = compare_evaluations(evaluations[0], evaluations[-1], score, by_label=False)
            rows[VARIANTS[mirror, bool(close)]] = table.iloc[0][
                ["second", "difference", "low", "high"]
            ]
    gains = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
    gains.columns = pd.Index([score, "gain", "low", "high"])
    return gains.assign(helps=gains["low"] > 0)


def predictor(
    model: AnatomySegmenter, threshold: float = 0.5, close_tree: bool = False
) -> Callable[[Sample], PackedMasks]:
    """Return a function that predicts a sample's masks as `evaluate` with these options does."""

    def predict(sample: Sample) -> PackedMasks:
        masks = predict_image(model, sample.image, threshold)
        return hierarchy.close_tree(masks) if close_tree else masks

    return predict
