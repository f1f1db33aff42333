"""What the options of a prediction gain: closing under the label tree, and averaging with the
mirrored image.
"""

import os
from collections.abc import Callable

import pandas as pd
import torch

from paxray_lib.data.dataset import PaxrayDataset, Sample, check_targets
from paxray_lib.evaluation.compare import compare_evaluations
from paxray_lib.evaluation.evaluate import Evaluation, check_labels, image_table
from paxray_lib.masks import hierarchy
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import predict_image, segment
from paxray_lib.utils.progress import map_ahead, progress

VARIANTS = {
    "as it is": (False, False),
    "close_tree": (False, True),
    "mirror": (True, False),
    "mirror and close_tree": (True, True),
}
"""Whether each averages with the mirrored image, and closes under the label tree."""


def gains_table(
    model: torch.nn.Module,
    data_root: str | os.PathLike,
    datafile: str | os.PathLike = "paxray.json",
    split: str = "val",
    threshold: float = 0.5,
    score: str = "iou_present",
) -> pd.DataFrame:
    """Return what each option adds to a score of a split, one row a variant.

    Choose options on the validation split: on the test split the choice itself would be fitted to
    what is tested.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    data_root, datafile, split : as for `PaxrayDataset`
    threshold : a pixel has a label where its sigmoid is greater
    score : a score of `compare.compare_evaluations`, such as "iou_present" or "dice_published"

    Returns
    -------
    DataFrame
        Indexed by variant: the score, `gain` (the difference to "as it is"), low and high (95 %
        interval of the gain, over patients), and `helps`: whether the whole interval is above 0.
    """
    dataset = PaxrayDataset(data_root, datafile, split)
    check_labels(model.labels, dataset)
    check_targets(dataset)
    found = _evaluate_variants(optimize_for_inference(model), dataset, threshold)
    rows = {}
    for name, evaluation in found.items():
        row = compare_evaluations(found["as it is"], evaluation, score).iloc[0]
        rows[name] = (
            row["second"],
            row["difference"],
            row["low"],
            row["high"],
            bool(row["low"] > 0),
        )
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=[score, "gain", "low", "high", "helps"]
    )


def predictor(
    model: torch.nn.Module, threshold: float = 0.5, close_tree: bool = False
) -> Callable[[Sample], PackedMasks]:
    """Return a function that predicts a sample's masks, the same that `evaluate` scores with these
    options.
    """

    def predict(sample: Sample) -> PackedMasks:
        masks = predict_image(model, sample.image, threshold)
        return hierarchy.close_tree(masks) if close_tree else masks

    return predict


def _evaluate_variants(
    model: torch.nn.Module, dataset: PaxrayDataset, threshold: float
) -> dict[str, Evaluation]:
    parts: dict[str, list[Counts]] = {name: [] for name in VARIANTS}
    samples = map_ahead(dataset.__getitem__, range(len(dataset)))
    for sample in progress(samples, f"trying options on {dataset.split}", len(dataset)):
        inputs = torch.as_tensor(model.preprocess(sample.image))[None]  # (1, 3, h, w)
        decided = {}
        for mirror in (False, True):
            (decided[mirror],) = segment(
                model, inputs, [sample.view if mirror else None], threshold
            )
            if decided[mirror] is None:
                raise ValueError(
                    f"{sample.name}: the network's output is not finite; are its weights trained?"
                )
        for name, (mirror, close) in VARIANTS.items():
            bits = hierarchy.close_bits(decided[mirror], model.labels) if close else decided[mirror]
            predicted = PackedMasks(bits, model.labels).resize(*sample.masks.shape[1:])
            parts[name].append(counts(predicted, sample.masks))
    images = image_table(dataset)
    return {
        name: Evaluation(Counts.concat(found), model.labels, images)
        for name, found in parts.items()
    }
