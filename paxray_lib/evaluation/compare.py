"""Compare two evaluations of the same images.

Both are resampled with the same patients: what makes a patient easy or hard for both cancels, and
the interval of the difference is narrower than those of the scores would let one think.
"""

import numpy as np
import pandas as pd

from paxray_lib.evaluation.result import Evaluation
from paxray_lib.evaluation.tables import list_parts, score_columns
from paxray_lib.metrics import draw_weights, interval, mean_score, resample_mean
from paxray_lib.utils.errors import check_choice


def compare_evaluations(
    first: Evaluation, second: Evaluation, score: str = "iou_present", by_label: bool = True
) -> pd.DataFrame:
    """Return how much higher a score of the second evaluation is than that of the first.

    Parameters
    ----------
    first, second : Evaluation of the same images and labels, for instance from `Evaluation.read`
    score : iou_present, iou_published, dice_present, dice_published, precision_present,
        recall_present, or nsd_present where both have boundary scores
    by_label : whether to have rows of single labels too

    Returns
    -------
    DataFrame
        One row for all ("overall"), each view, each group and each label index. Columns: scope
        (overall, view, group or label), name, index (of a label, or -1), images (whose target has
        the label, or one of the labels), first, second, difference (second - first), low and high
        (95 % interval of the difference, see `metrics.bootstrap`; NaN from a single patient). NaN
        for what has no score.

    Raises
    ------
    ValueError
        If images, labels or targets differ, or the score is unknown.
    """
    _check_comparable(first, second)
    columns = [score_columns(each.counts, each.surface) for each in (first, second)]
    check_choice(score, [name for name in columns[0] if name in columns[1]], "score")
    a, b = (known[score] for known in columns)
    parts = list(list_parts(first.labels, first.images["view"]))
    if by_label:
        parts += [("label", name, parts[0][2], [i]) for i, name in enumerate(first.labels)]
    cases, present = first.images["case"].to_numpy(), first.counts.tp + first.counts.fn > 0
    weights = draw_weights(cases)
    rows = []
    for scope, name, images, labels in parts:
        chosen = [values[images][:, labels] for values in (a, b)]
        means = [mean_score(values, "present") for values in chosen]  # filled already
        resampled = [resample_mean(values, weights[:, images], cases[images]) for values in chosen]
        ends = interval(resampled[1] - resampled[0])
        shown = int(present[images][:, labels].any(axis=1).sum())
        place = (scope, name, labels[0] if scope == "label" else -1, shown)
        rows.append((*place, *means, means[1] - means[0], *map(float, ends)))
    names = ["scope", "name", "index", "images", "first", "second", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def largest_changes(differences: pd.DataFrame, count: int = 4) -> tuple[str, pd.DataFrame]:
    """Return how many labels lose and gain, in words, and a table of the `count` that do most.

    Parameters
    ----------
    differences : DataFrame of `compare_evaluations`

    Returns
    -------
    text : such as "12 labels gain, no label loses, 3 stay the same (2 of them at 0)"; labels
        without a score are left out
    table : by name, the largest loss first, the largest gain last: index, images, first, second,
        difference, low, high
    """
    labels = differences.query("scope == 'label'").dropna(subset="difference")
    labels = labels.sort_values("difference")
    sign = np.sign(labels["difference"])
    lose, same, gain = (labels[sign == wanted] for wanted in (-1, 0, 1))
    text = f"{_number(len(gain), 'gain')}, {_number(len(lose), 'lose')}"
    if len(same):
        zero = int((same["second"] == 0).sum())
        text += f", {len(same)} stay the same" + (f" ({zero} of them at 0)" if zero else "")
    table = pd.concat([lose.head(count), gain.tail(count)])
    return text, table.drop(columns="scope").set_index("name")


def _number(labels: int, verb: str) -> str:
    return f"{labels} labels {verb}" if labels > 1 else f"{'1' if labels else 'no'} label {verb}s"


def _check_comparable(first: Evaluation, second: Evaluation) -> None:
    if first.labels != second.labels:
        raise ValueError(
            f"evaluations of {len(first.labels)} and {len(second.labels)} labels, or of other names"
        )
    names = [evaluation.images["image"].tolist() for evaluation in (first, second)]
    if names[0] != names[1]:
        alone = sorted(set(names[0]) ^ set(names[1]))
        detail = f"{alone[0]} is in one of them alone" if alone else "they are in another order"
        raise ValueError(
            f"evaluations of other images ({len(names[0])} and {len(names[1])}): {detail}"
        )
    true, other = (
        np.where(counts.known, counts.tp + counts.fn, -1)
        for counts in (first.counts, second.counts)
    )
    for name, differs in zip(names[0], (true != other).any(axis=1), strict=True):
        if differs:
            raise ValueError(f"{name}: its masks are not the same in both evaluations")
