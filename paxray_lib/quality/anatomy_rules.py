"""Rules of anatomy between pairs of labels, how often they hold, and names that would fit better.

A rule says how two labels lie to each other in every patient, after any textbook of anatomy. There
are four kinds, each counted over the images of the data set:

in       the child's pixels lie in its parent (the label tree); any view
left of  the patient's left is on the right of the image: centroids of a left label against its
         partner on the right and against the spine; frontal only
below    ribs by number, vertebrae from c1 down, lower lobe below upper lobe, ...: centroids; any
         view
before   the posterior mediastinum is nearer to the spine than the middle one, a rib's back nearer
         than its front: distances of the centroids from that of the spine; lateral only
"""

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from paxray_lib.labels.table import LabelSet, tree_pairs
from paxray_lib.masks import Moments
from paxray_lib.quality.survey import Survey

# all chosen by eye
ENOUGH = 10  # positions in fewer images than this prove nothing
# a rule is broken if it holds less often than this
BROKEN = {"in": 0.8, "left of": 0.5, "below": 0.5, "before": 0.5}
MIN_GAIN = 0.5  # an exchange of names must add this to the sum of how often all rules hold


class Rule(NamedTuple):
    """`first` lies `kind` `second`; both are label indices."""

    kind: str
    first: int
    second: int


_PAIRS = [
    ("below", "lung_left_lobelower", "lung_left_lobeupper"),
    ("below", "lung_right_lobelower", "lung_right_lobeupper"),
    ("below", "lung_right_lobemiddle", "lung_right_lobeupper"),
    ("below", "mediastinum_lower", "mediastinum_upper"),
    ("below", "heart", "aorta_arch"),
    ("below", "heart", "airways"),
    ("below", "aorta_ascending", "aorta_arch"),
    ("below", "aorta_descending", "aorta_arch"),
    ("below", "hemidiaphragm_left", "lung_left"),
    ("below", "hemidiaphragm_right", "lung_right"),
    ("below", "diaphragm", "heart"),
    ("before", "mediastinum_anterior", "mediastinum_middle"),
    ("before", "mediastinum_middle", "mediastinum_posterior"),
    ("before", "aorta_ascending", "aorta_descending"),
    ("before", "heart", "aorta_descending"),
    ("before", "heart", "esophagus"),
]
_SPINE = [
    *(f"c{n}" for n in range(1, 8)),
    *(f"t{n}" for n in range(1, 14)),
    *(f"l{n}" for n in range(1, 7)),
    "sacrum",
]
_SIDES = ("", "left_", "right_")
# not ribs 11 and 12: they are short, and may end above the middle of the tenth
_RIB_NUMBERS = range(1, 11)


@lru_cache(maxsize=32)
def rules(labels: LabelSet) -> tuple[Rule, ...]:
    """Return all rules between labels of a set."""
    chains = [
        _SPINE,
        # t13 and l6 are rare, so that their neighbours get a rule of their own
        [name for name in _SPINE if name not in ("t13", "l6")],
        *(
            [f"rib_{side}{part}{n}" for n in _RIB_NUMBERS]
            for side, part in itertools.product(_SIDES, ("", "anterior_", "posterior_"))
        ),
    ]
    pairs = [
        *_PAIRS,
        *(("below", low, up) for chain in chains for up, low in itertools.pairwise(chain)),
        *(
            ("before", f"rib_{side}anterior_{n}", f"rib_{side}posterior_{n}")
            for side, n in itertools.product(_SIDES, _RIB_NUMBERS)
        ),
    ]
    result = [Rule("in", *pair) for pair in tree_pairs(labels)]
    for kind, first, second in dict.fromkeys(pairs):
        both = itertools.product(labels.find(first), labels.find(second))
        result += [Rule(kind, i, j) for i, j in both]
    return (*result, *_side_rules(labels))


def _side_rules(labels: LabelSet) -> Iterator[Rule]:
    spine = labels.find("spine")
    for i, (side, mirror) in enumerate(zip(labels.side, labels.mirror.tolist(), strict=True)):
        if side == "left" and mirror != i:
            yield Rule("left of", i, mirror)
        for j in spine if side else ():
            yield Rule("left of", *((i, j) if side == "left" else (j, i)))


# -- one image


@lru_cache(maxsize=32)
def _rule_columns(labels: LabelSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kind (index in `BROKEN`), first and second label of all rules, (R,) each."""
    kinds = list(BROKEN)
    rows = [(kinds.index(kind), i, j) for kind, i, j in rules(labels)]
    kind, first, second = np.array(rows, int).reshape(-1, 3).T
    return kind, first, second


def count_broken(found: Moments, labels: LabelSet, view: str | None) -> tuple[int, int]:
    """Return how many rules the masks of one image break, and how many both labels are there for.

    An unknown view counts as frontal.
    """
    held, limits = _held(found, labels, view)
    return int((held < limits).sum()), int((~np.isnan(held)).sum())


def broken_rules(found: Moments, labels: LabelSet, view: str | None) -> list[Rule]:
    """Return the rules that `count_broken` counts as broken."""
    held, limits = _held(found, labels, view)
    return [rules(labels)[i] for i in np.flatnonzero(held < limits)]


@np.errstate(invalid="ignore", divide="ignore")
def _held(found: Moments, labels: LabelSet, view: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return of each rule how far it holds, (R,), NaN where it does not apply, and its limit."""
    kind, first, second = _rule_columns(labels)
    kinds, limits = list(BROKEN), np.array(list(BROKEN.values()))
    # the kinds that are a matter of places, of which the first is greater
    places = {"below": found.rows}
    if view != "lateral":
        places["left of"] = found.columns
    elif spine := labels.find("spine"):
        places["before"] = np.abs(found.columns - found.columns[spine[0]])
    shared = found.shared[first, second] / found.areas[first]
    held = np.where(kind == kinds.index("in"), shared, np.nan)
    for name, position in places.items():
        difference = position[first] - position[second]
        known = (kind == kinds.index(name)) & ~np.isnan(difference)
        held = np.where(known, difference > 0, held)
    return held, limits[kind]


# -- evidence: for every pair of labels, how often each kind of rule would hold


@np.errstate(invalid="ignore")
def gather_evidence(survey: Survey) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Count every kind of rule over all pairs of labels of a survey.

    Returns
    -------
    holds : dict of kind to (L, L) float64, in 0..1
        How often the rule holds. "in": part of the pixels, in images where both labels are known;
        others: part of the images with both labels. NaN where nothing can be told.
    images : dict of kind to (L, L) int64
        Images with the first label ("in"), or with both and of a view in which there are `ENOUGH`
        of them.
    """
    pixels = sum(survey.shared.values(), np.int64(0))  # (L, L)
    occurs = (survey.areas > 0).sum(axis=0)
    holds = {"in": pixels / survey.possible()}
    images = {"in": np.repeat(occurs[:, None], len(occurs), axis=1)}
    columns, spine = survey.columns, survey.labels.find("spine")
    # the views in which a kind is counted, and the (N, L) positions of which the first is greater
    positions = {
        "left of": (("frontal",), columns),
        "below": (("frontal", "lateral"), survey.rows),
        "before": (("lateral",), np.abs(columns - (columns[:, spine[:1]] if spine else np.nan))),
    }
    for kind, (views, places) in positions.items():
        counted = np.zeros((2, *pixels.shape))
        for view in views:
            found = _compare(places[survey.of_view(view)])
            counted += found * (found[1] >= ENOUGH)
        holds[kind] = counted[0] / counted[1]
        images[kind] = counted[1].astype(np.int64)
    return holds, images


def _compare(positions: np.ndarray) -> np.ndarray:
    """Return how often label i has a greater position than j, and how often both have one.

    Parameters
    ----------
    positions : (n, L) float array, NaN where a label is absent

    Returns
    -------
    (2, L, L) float64 array; a tie counts half
    """
    found = np.zeros((2, positions.shape[1], positions.shape[1]))
    for row in positions:
        difference = row[:, None] - row[None]
        found += np.nan_to_num((np.sign(difference) + 1) / 2), ~np.isnan(difference)
    return found


# -- names that fit


class Naming:
    """Which mask should bear which name.

    Rules are between names, evidence is between masks (channels of the stack). In all methods
    `channel` is (L,) int64: the mask that bears each name.
    """

    def __init__(self, survey: Survey):
        self.size = len(survey.labels)
        self.occurs = np.asarray(survey.areas.any(axis=0))  # (L,) bool
        self.has_parts = np.array([bool(parts) for parts in survey.labels.children])
        self._kind, self._first, self._second = _rule_columns(survey.labels)  # (R,) each
        self._limit = np.array(list(BROKEN.values()))[self._kind]
        kinds = list(BROKEN)
        holds, _ = gather_evidence(survey)
        # (4, L, L); what is unknown counts as half: no reason for an exchange, and no excuse
        self._holds = np.nan_to_num(np.stack([holds[kind] for kind in kinds]), nan=0.5)

    def _held(self, channel: np.ndarray) -> np.ndarray:
        """Return (R,): how often each rule holds."""
        return self._holds[self._kind, channel[self._first], channel[self._second]]

    def score(self, channel: np.ndarray) -> float:
        """Return the sum over all rules of how often each holds."""
        return float(self._held(channel).sum())

    def broken(self, channel: np.ndarray) -> np.ndarray:
        """Return the rules that are broken, (2, K) names."""
        return np.stack([self._first, self._second])[:, self._held(channel) < self._limit]

    def solve(self) -> np.ndarray:
        """Return the channels after the exchanges that mend most, one after the other.

        Each time either two names are exchanged, or all names of suspect leaves of the label tree
        are dealt out anew.
        """
        channel = np.arange(self.size)
        while True:
            suspects = np.unique(self.broken(channel))
            suspects = suspects[self.occurs[channel[suspects]]]
            best = max(self._candidates(channel, suspects), key=self.score)
            if self.score(best) < self.score(channel) + MIN_GAIN:
                return channel
            channel = best

    def _candidates(self, channel: np.ndarray, suspects: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the channels after each exchange of two, and with all suspect leaves dealt out.

        The exchanges are those that gain most, as if no rule were between the two. Wholes stay
        where they are: how well a mask does with a leaf's name depends little on other leaves.
        """
        # (L, L): how well each mask would do with each name, others staying as they are
        fit = np.zeros((self.size, self.size))
        np.add.at(fit.T, self._first, self._holds[self._kind, :, channel[self._second]])
        np.add.at(fit.T, self._second, self._holds[self._kind, channel[self._first]])
        fit = fit[channel]  # of the mask that bears a name, by name
        own = np.diag(fit)
        gain = fit + fit.T - own[:, None] - own[None]
        gain[:, ~self.occurs[channel]] = -np.inf
        order = np.argsort(-gain[suspects], axis=None, kind="stable")[:8]  # by eye
        for pair in np.stack([suspects[order // self.size], order % self.size], axis=1):
            exchanged = channel.copy()
            exchanged[pair] = channel[pair[::-1]]
            yield exchanged
        leaves = suspects[~self.has_parts[suspects]]
        from scipy.optimize import linear_sum_assignment  # not in the core installation

        mask, name = linear_sum_assignment(fit[np.ix_(leaves, leaves)], maximize=True)
        dealt = channel.copy()
        dealt[leaves[name]] = channel[leaves[mask]]
        yield dealt
