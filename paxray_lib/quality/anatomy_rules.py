"""Rules of anatomy between pairs of labels, how often they hold in a data set, and the names that
would fit better.

A rule says how two labels lie to each other in every patient (see `audit`, whose findings are made
from them)."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from paxray_lib.labels.table import LabelSet, tree_pairs
from paxray_lib.quality.survey import Survey

ENOUGH = 10  # positions in fewer images than this prove nothing
# a rule is broken if it holds less often than this
BROKEN = {"in": 0.8, "left of": 0.5, "below": 0.5, "before": 0.5}
WORTH = 0.5  # an exchange of names must add this to the sum of how often all rules hold


@dataclass(frozen=True)
class Rule:
    """`first` lies `kind` `second`; both are label indices."""

    kind: str
    first: int
    second: int


# What holds for every patient. Not ribs 11 and 12: they are short, and may end above the middle of
# the tenth.
_BELOW = [
    ("lung_left_lobelower", "lung_left_lobeupper"),
    ("lung_right_lobelower", "lung_right_lobeupper"),
    ("lung_right_lobemiddle", "lung_right_lobeupper"),
    ("mediastinum_lower", "mediastinum_upper"),
    ("heart", "aorta_arch"),
    ("heart", "airways"),
    ("aorta_ascending", "aorta_arch"),
    ("aorta_descending", "aorta_arch"),
    ("hemidiaphragm_left", "lung_left"),
    ("hemidiaphragm_right", "lung_right"),
    ("diaphragm", "heart"),
]
_BEFORE = [
    ("mediastinum_anterior", "mediastinum_middle"),
    ("mediastinum_middle", "mediastinum_posterior"),
    ("aorta_ascending", "aorta_descending"),
    ("heart", "aorta_descending"),
    ("heart", "esophagus"),
]
_SPINE = [
    *(f"c{n}" for n in range(1, 8)),
    *(f"t{n}" for n in range(1, 14)),
    *(f"l{n}" for n in range(1, 7)),
    "sacrum",
]
_RIBS = [
    f"rib_{side}{part}"
    for side in ("", "left_", "right_")
    for part in ("", "anterior_", "posterior_")
]


@lru_cache(maxsize=32)
def rules(labels: LabelSet) -> tuple[Rule, ...]:
    """Return all rules between labels of a set."""
    named = [("below", *pair) for pair in _BELOW] + [("before", *pair) for pair in _BEFORE]
    # t12, t13 and l1 in a row: t13 and l6 are rare, so that their neighbours get a rule of their
    # own
    chains = [_SPINE, [n for n in _SPINE if n not in ("t13", "l6")]]
    chains += [[f"{rib}{n}" for n in range(1, 11)] for rib in _RIBS]
    for chain in chains:
        named += [("below", lower, upper) for upper, lower in itertools.pairwise(chain)]
    for side in ("", "left_", "right_"):
        named += [
            ("before", f"rib_{side}anterior_{n}", f"rib_{side}posterior_{n}") for n in range(1, 11)
        ]
    found = [Rule("in", *pair) for pair in tree_pairs(labels)]
    for kind, first, second in dict.fromkeys(named):
        found += [Rule(kind, i, j) for i in _places(labels, first) for j in _places(labels, second)]
    return tuple(found + list(_side_rules(labels)))


def _places(labels: LabelSet, name: str) -> list[int]:
    return labels.index(name) if name in labels.names else []


def _side_rules(labels: LabelSet) -> Iterator[Rule]:
    spine = _places(labels, "spine")
    for i, (side, mirror) in enumerate(zip(labels.side, labels.mirror.tolist(), strict=True)):
        if side == "left" and mirror != i:
            yield Rule("left of", i, mirror)
        for j in spine if side else ():
            yield Rule("left of", *((i, j) if side == "left" else (j, i)))


# -- evidence: for every pair of labels, how often each kind of rule would hold


@dataclass(frozen=True)
class Evidence:
    """How often each kind of rule holds between any two labels.

    Attributes
    ----------
    holds : dict of kind to (L, L) float64, in 0..1
        "in": part of the pixels; others: part of the images with both labels. NaN where nothing is
        known.
    images : dict of kind to (L, L) int64
        Images with the first label ("in"), or with both and of a view in which there are `ENOUGH`
        of them.
    """

    holds: dict[str, np.ndarray]
    images: dict[str, np.ndarray]


def gather_evidence(survey: Survey) -> Evidence:
    """Count every kind of rule over all pairs of labels of a survey."""
    total = sum(survey.shared.values())
    areas = np.diag(total)
    with np.errstate(invalid="ignore"):
        holds = {"in": total / areas[:, None]}
    occurs = (survey.areas > 0).sum(axis=0)
    images = {"in": np.repeat(occurs[:, None], len(occurs), axis=1)}
    for kind, (views, measure) in _POSITIONS.items():
        won, seen = np.zeros((2, len(areas), len(areas)))
        for view in views:
            more, both = _compare(measure(survey, survey.of_view(view)))
            enough = both >= ENOUGH
            won, seen = won + more * enough, seen + both * enough
        with np.errstate(invalid="ignore"):
            holds[kind], images[kind] = won / seen, seen.astype(np.int64)
    return Evidence(holds, images)


def _spine_distance(survey: Survey, chosen: np.ndarray) -> np.ndarray:
    columns, spine = survey.columns[chosen], _places(survey.labels, "spine")
    return np.abs(columns - columns[:, spine[:1]]) if spine else np.full_like(columns, np.nan)


_POSITIONS: dict[str, tuple[tuple[str, ...], Callable]] = {
    "left of": (("frontal",), lambda survey, chosen: survey.columns[chosen]),
    "below": (("frontal", "lateral"), lambda survey, chosen: survey.rows[chosen]),
    "before": (("lateral",), _spine_distance),
}


def _compare(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for (N, L) values how often column i is greater than column j (a tie is half), and how
    often both are there: two (L, L) arrays."""
    more, both = np.zeros((2, values.shape[1], values.shape[1]))
    for row in values:
        difference = row[:, None] - row[None]
        there = ~np.isnan(difference)
        both += there
        more += (difference > 0) + 0.5 * (there & (difference == 0))
    return more, both


# -- names that fit


class Naming:
    """Which mask should bear which name. Rules are between names, evidence is between masks
    (channels of the stack).

    In all methods `channel` is (L,) int64: the mask that bears each name.
    """

    def __init__(self, labels: LabelSet, evidence: Evidence):
        self.size = len(labels)
        self.occurs = np.diag(evidence.images["in"]) > 0
        self.has_parts = np.array([bool(parts) for parts in labels.children])
        self._kinds = []
        for kind, holds in evidence.holds.items():
            pairs = [(rule.first, rule.second) for rule in rules(labels) if rule.kind == kind]
            # what is unknown counts as half: no reason for an exchange, and no excuse
            self._kinds.append(
                (np.array(pairs, int).reshape(-1, 2).T, np.nan_to_num(holds, nan=0.5), BROKEN[kind])
            )

    def score(self, channel: np.ndarray) -> float:
        """Return the sum over all rules of how often each holds."""
        return sum(holds[channel[a], channel[b]].sum() for (a, b), holds, _ in self._kinds)

    def broken(self, channel: np.ndarray) -> np.ndarray:
        """Return the rules that are broken, (2, K) names."""
        found = [pair[:, holds[tuple(channel[pair])] < limit] for pair, holds, limit in self._kinds]
        return np.concatenate(found, axis=1)

    def solve(self) -> np.ndarray:
        """Return the channels after the exchanges that mend most, one after the other.

        Each time either two names are exchanged, or all names of suspect leaves of the label tree
        are dealt out anew."""
        channel = np.arange(self.size)
        while True:
            suspects = np.unique(self.broken(channel))
            suspects = suspects[self.occurs[channel[suspects]]]
            # (L, L): of the mask that bears a name, with each name
            fit = self._fit(channel)[channel]
            tried = [
                self._exchange(channel, *pair) for pair in self._promising(fit, channel, suspects)
            ]
            tried.append(self._dealt_out(fit, channel, suspects))
            best = max(tried, key=self.score)
            if self.score(best) < self.score(channel) + WORTH:
                return channel
            channel = best

    def _exchange(self, channel: np.ndarray, a: int, b: int) -> np.ndarray:
        other = channel.copy()
        other[[a, b]] = channel[[b, a]]
        return other

    def _promising(
        self, fit: np.ndarray, channel: np.ndarray, suspects: np.ndarray, count: int = 8
    ) -> np.ndarray:
        """Return the (count, 2) pairs of names that gain most, as if no rule bound the two to each
        other.
        """
        own = np.diag(fit)
        gain = fit + fit.T - own[:, None] - own[None]
        gain[:, ~self.occurs[channel]] = -np.inf
        first, second = np.unravel_index(
            np.argsort(-gain[suspects], axis=None, kind="stable")[:count],
            (len(suspects), self.size),
        )
        return np.stack([suspects[first], second], 1)

    def _dealt_out(self, fit: np.ndarray, channel: np.ndarray, suspects: np.ndarray) -> np.ndarray:
        # the wholes stay where they are, so that how well a mask does with a leaf's name hangs
        # little on other leaves
        leaves = suspects[~self.has_parts[suspects]]
        mask, name = linear_sum_assignment(fit[np.ix_(leaves, leaves)], maximize=True)
        other = channel.copy()
        other[leaves[name]] = channel[leaves[mask]]
        return other

    def _fit(self, channel: np.ndarray) -> np.ndarray:
        """Return (L, L): how well each mask would do with each name, all other names staying where
        they are.
        """
        fit = np.zeros((self.size, self.size))
        for (a, b), holds, _ in self._kinds:
            np.add.at(fit.T, a, holds[:, channel[b]].T)
            np.add.at(fit.T, b, holds[channel[a]])
        return fit
