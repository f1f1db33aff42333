"""What the open model is judged by: scores of one film, and their means with intervals."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from paxray_lib.metrics.bootstrap import draw_weights, interval


def dice(mask: np.ndarray, truth: np.ndarray, counted: np.ndarray | None = None) -> float:
    """Return the Dice coefficient of two (H, W) bool masks where `counted`; NaN if both are empty.

    >>> dice(np.array([[True, True]]), np.array([[True, False]]))
    0.6666666666666666
    """
    if counted is not None:
        mask, truth = mask & counted, truth & counted
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else float("nan")


def cardiothoracic_ratio(heart: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Return the width of the heart over that of both lungs, by their outermost columns.

    NaN if one of the (H, W) bool masks is empty. Every pixel counts, also a stray one.
    """
    if not (heart.any() and left.any() and right.any()):
        return float("nan")
    return _width(heart) / _width(left | right)


def _width(mask: np.ndarray) -> int:
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0]) + 1


def overlap(heart: np.ndarray, lungs: np.ndarray) -> float:
    """Return the share of a heart's pixels, (H, W) bool, that are in the lungs; 0 if it is empty.

    Visible lungs end at the heart: where people's masks overlap, they were drawn by another rule.
    """
    return int((heart & lungs).sum()) / max(int(heart.sum()), 1)


def mean_with_interval(values: Sequence[float], cases: Sequence[str]) -> dict:
    """Return the mean of films and its 95 % interval over patients, by `metrics.bootstrap`.

    A value that is NaN is left out and counted as "missing".
    """
    scores, names = np.asarray(values, float), np.asarray(cases)
    known = np.isfinite(scores)
    found = {"films": int(known.sum()), "missing": int((~known).sum())}
    if not known.any():
        return found | {"mean": None, "interval": [None, None]}
    weights = draw_weights(names[known])  # (R, N)
    means = weights @ scores[known] / weights.sum(axis=1)
    ends = interval(means) if len(set(names[known])) > 1 else (np.nan, np.nan)
    return found | {"mean": number(scores[known].mean()), "interval": [*map(number, ends)]}


def dice_summary(
    values: Sequence[float], ids: Sequence[str], cases: Sequence[str], floor: float
) -> dict:
    """Return mean and interval of Dice coefficients, the worst, and the films below a floor."""
    order = np.argsort(np.nan_to_num(np.asarray(values, float), nan=-1))
    worst = int(order[0])
    return mean_with_interval(values, cases) | {
        "worst": number(values[worst]),
        "worst_film": ids[worst],
        "floor": floor,
        "below_floor": [ids[i] for i in order if not values[i] >= floor],
    }


def agreement(ours: Sequence[float], people: Sequence[float], cases: Sequence[str]) -> dict:
    """Return bias, mean absolute error and 95 % limits of agreement (Bland & Altman 1986)."""
    differences = np.asarray(ours, float) - np.asarray(people, float)
    known = differences[np.isfinite(differences)]
    bias = mean_with_interval(differences.tolist(), cases)
    spread = 1.96 * known.std(ddof=1) if len(known) > 1 else np.nan
    return {
        "bias": bias,
        "mean_absolute_error": mean_with_interval(np.abs(differences).tolist(), cases),
        "limits": [number(known.mean() - spread), number(known.mean() + spread)]
        if len(known)
        else [None, None],
    }


def number(value: float) -> float | None:
    """Return a number as JSON has it, of six places; None for NaN."""
    return round(float(value), 6) if np.isfinite(value) else None


def numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return the numbers of a mapping as JSON has them."""
    return {name: number(value) for name, value in values.items()}


def fingerprint(model: torch.nn.Module) -> str:
    """Return a digest of a model's weights, whatever else its file says."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()
