"""How well doubt tells the Dice of films: the fit, figures, and the section of the model card."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from card import digits, table
from damage import DAMAGES
from measures import number
from scipy.optimize import lsq_linear
from scipy.stats import spearmanr

from paxray_lib.prediction.doubt import LEAST_DOUBT, SIGNS, Estimate, Signs, terms

FLOOR = 0.9
FOLDS = 10
PENALTY = 1e-3  # on the squares of slopes, of one film


@dataclass(frozen=True)
class Copy:
    """One film, as it is or damaged: what its masks are worth, and their signs."""

    film: str
    kind: str
    strength: int
    dice: float
    signs: Signs


def fit(looked: Sequence[Copy]) -> Estimate:
    """Return the estimate, by least squares of the logarithm with no slope below zero."""
    values = np.array([list(terms(copy.signs).values()) for copy in looked])  # (N, K)
    wanted = np.log([1 - copy.dice + LEAST_DOUBT for copy in looked])
    count = values.shape[1]
    penalty = np.c_[math.sqrt(PENALTY * len(values)) * np.eye(count), np.zeros(count)]
    result = lsq_linear(
        np.r_[np.c_[values, np.ones(len(values))], penalty],
        np.r_[wanted, np.zeros(count)],
        (np.r_[np.zeros(count), -np.inf], np.inf),
    )
    *slopes, intercept = (round(float(value), 4) for value in result.x)
    return Estimate(intercept, dict(zip(SIGNS, slopes, strict=True)))


def unseen(looked: Sequence[Copy]) -> np.ndarray:
    """Return the doubt of each copy by an estimate that was fitted without its film."""
    films = sorted({copy.film for copy in looked})
    fold = np.array([films.index(copy.film) % FOLDS for copy in looked])
    doubts = np.zeros(len(looked))
    for k in np.unique(fold):
        estimate = fit([copy for copy, own in zip(looked, fold, strict=True) if own != k])
        for i in np.flatnonzero(fold == k):
            doubts[i] = estimate(looked[i].signs)
    return doubts


def figures(looked: Sequence[Copy], doubts: np.ndarray) -> dict[str, Any]:
    """Return how well doubts tell the Dice of copies."""
    true = np.array([copy.dice for copy in looked])
    is_plain = np.array([copy.kind == "none" for copy in looked])
    bad, third = true < FLOOR, len(true) // 3
    most = np.argsort(-doubts, kind="stable")[:third]
    singles = {
        name: number(_rank(np.array([copy.signs.shortfalls()[name] for copy in looked]), 1 - true))
        for name in SIGNS
    }
    missed = Counter(looked[i].film for i in np.flatnonzero(bad) if i not in set(most.tolist()))
    order = np.array_split(np.argsort(doubts, kind="stable"), 5)
    return {
        "films": int(is_plain.sum()),
        "copies": len(looked),
        "rank_correlation": number(_rank(doubts, 1 - true)),
        "undamaged": number(_rank(doubts[is_plain], 1 - true[is_plain])),
        "signs_alone": singles,
        "below": int(bad.sum()),
        "caught": int(bad[most].sum()),
        "at_most": int(min(third, bad.sum())),
        "missed": dict(missed.most_common()),
        "undamaged_below": int(bad[is_plain].sum()),
        "mean_error": number(np.abs(doubts - (1 - true)).mean()),
        "fifths": [[number(doubts[part].mean()), number(1 - true[part].mean())] for part in order],
        "by_kind": {
            kind: [number(_mean(looked, true, kind, k)) for k in range(6) if k or kind == "none"]
            for kind in ("none", *DAMAGES)
        },
        "doubt_by_kind": {
            kind: [number(_mean(looked, doubts, kind, k)) for k in range(6) if k or kind == "none"]
            for kind in ("none", *DAMAGES)
        },
    }


def _rank(values: np.ndarray, others: np.ndarray) -> float:
    if np.ptp(values) == 0 or np.ptp(others) == 0:
        return math.nan
    return float(spearmanr(values, others).statistic)


def _mean(looked: Sequence[Copy], values: np.ndarray, kind: str, strength: int) -> float:
    chosen = [copy.kind == kind and copy.strength in (0, strength) for copy in looked]
    return float(values[chosen].mean()) if any(chosen) else math.nan


def section(found: dict[str, Any]) -> str:
    """Return the text for the model card."""
    fitted, tested = found["wingspan"], found["v7"]
    kinds = list(DAMAGES)
    lines = [
        "`paxray predict` writes a number `doubt` for each frontal film: an estimate of 1 - Dice "
        "of lungs and heart, above all from",
        "the margin of their probabilities ([what it is and is not](applying.md#doubt)).",
        f"Fitted to {fitted['films']} films of wingspan's val split and damaged copies of them "
        f"({', '.join(kinds)}; five strengths",
        f"each); tested on {tested['films']} films of v7's scored patients, and their copies.",
        "",
    ]
    rows = {
        "rank correlation with 1 - Dice, all copies": lambda f: digits(f["rank_correlation"], 2),
        "the same, undamaged films alone": lambda f: f"{digits(f['undamaged'], 2)} ({f['films']})",
        f"copies with Dice under {FLOOR}": lambda f: f"{f['below']} of {f['copies']}",
        "of these, among the third with most doubt": lambda f: (
            f"{f['caught']} (it holds {f['at_most']} at most)"
        ),
        "missed by film": lambda f: _missed(f["missed"]),
        f"undamaged films with Dice under {FLOOR}": lambda f: str(f["undamaged_below"]),
        "mean error of the estimate": lambda f: digits(f["mean_error"]),
    }
    cells = [[name, show(fitted), show(tested)] for name, show in rows.items()]
    lines.append(table(["", "wingspan, without the film itself", "v7"], cells))
    fifths = [
        [name, *(f"{digits(d)}, {digits(t)}" for d, t in found[name]["fifths"])]
        for name in ("wingspan", "v7")
    ]
    powers = ", ".join(f"{name} {slope:.2f}" for name, slope in found["slopes"].items())
    return "\n".join(
        [
            *lines,
            "",
            "Fifths of the copies by doubt: mean doubt, and mean 1 - Dice.",
            "",
            table(["", "least", "", "", "", "most"], fifths),
            "",
            f"Doubt is a product of powers of what is missing from the best: {powers}.",
            "v7's people drew lungs only. Lateral films have no doubt: nobody drew on them.",
            "",
        ]
    )


def _missed(counts: dict[str, int]) -> str:
    named = [f"{count} of {film}" for film, count in list(counts.items())[:2]]
    rest = sum(counts.values()) - sum(list(counts.values())[:2])
    return ", ".join([*named, *([f"{rest} of others"] if rest else [])]) or "none"
