"""How far the masks of one film can be believed: signs, and one number made of them.

Signs are taken at the network's own size, from all of its labels, whatever is written and by which
threshold. Columns of `report.csv`:

margin            how far from 0.5 the probabilities are in both lungs and the heart: the mean of
                  abs(2 p - 1) over the pixels with p > 0.5, then over the three; 1 is sure, and one
                  that was not found counts 0
mirror_agreement  Dice coefficient with the prediction of the mirrored film, sides swapped back (not
                  in lateral films), the mean over the three; 0 where neither has a pixel. The
                  mirrored film passes at five eighths of the size, for speed, but where a network
                  takes one size only
broken_rules      rules of `quality.anatomy_rules` that two masks break, of about 400
missing           of `EXPECTED`, those that every film of a chest shows, the masks that are empty
in_pieces         of them, those with less than nine tenths of their pixels in one piece
doubt             an estimate of 1 - Dice of lungs and heart, 0 to 1, from margin and, a little,
                  broken_rules and mirror_agreement: the exponents of the others came out as 0, see
                  `Estimate`; 1 for what is no film of a chest; empty for lateral films, of which
                  there are no masks by people to fit it to

Models without lungs or heart have no signs, and other models than the open one have no `doubt`:
only for that one it is known what the signs say.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd

from paxray_lib.masks import PackedMasks, moments
from paxray_lib.models.decisions import pack_decisions, sigmoid
from paxray_lib.models.inference import WRONG_SIZE, Segmenter
from paxray_lib.models.named import MODELS
from paxray_lib.models.outlines import enlarge
from paxray_lib.quality.anatomy_rules import count_broken
from paxray_lib.utils import read_json

STRUCTURES = ("lung_right", "lung_left", "heart")
_SIDES = ("right", "left")
EXPECTED = (
    *STRUCTURES,
    *("mediastinum_overall", "diaphragm", "airways", "aorta"),
    *(f"lung_{side}_lobe{place}" for side in _SIDES for place in ("upper", "lower")),
    *(f"rib_{side}_{number}" for side in _SIDES for number in range(2, 10)),
    *(f"t{number}" for number in range(3, 10)),
)
CALIBRATION = MODELS["open"][0].with_name("doubt.json")
_MAIN = 0.9  # part of a mask's pixels in its largest piece
_MOST = 128  # pixels, to which larger logits are thinned out
_SMALLER, _STEP = 5 / 8, 32  # the mirrored film's size, in steps that networks take
# added before a logarithm to a shortfall, and to a doubt
_LEAST, LEAST_DOUBT = 0.02, 0.01


@dataclass(frozen=True)
class Signs:
    """What speaks for and against the masks of one film; see the module for the columns.

    Attributes
    ----------
    margin, mirror_agreement : 0..1
    broken_rules, missing, in_pieces : counts
    rules, expected : how many could be counted
    """

    margin: float
    mirror_agreement: float
    broken_rules: int
    missing: int
    in_pieces: int
    rules: int
    expected: int

    def shortfalls(self) -> dict[str, float]:
        """Return by column how far it is from what it should be, 0..1."""
        return {
            "margin": 1 - self.margin,
            "mirror_agreement": 1 - self.mirror_agreement,
            "broken_rules": self.broken_rules / max(self.rules, 1),
            "missing": self.missing / max(self.expected, 1),
            "in_pieces": self.in_pieces / max(self.expected, 1),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Signs | None":
        """Undo `to_dict`; None if anything in it is none of it."""
        kinds: dict[str, Any] = cls.__annotations__
        if not isinstance(values, Mapping) or set(values) != set(kinds):
            return None
        for name, kind in kinds.items():
            value, most = values[name], 1 if kind is float else math.inf
            if type(value) not in (int, kind) or not 0 <= value <= most:
                return None
        return cls(**values)


SIGNS = tuple(Signs(0, 0, 0, 0, 0, 0, 0).shortfalls())


class Inspector:
    """Takes the signs of one film after another."""

    def __init__(self, model: Segmenter):
        self._model, self._labels = model, model.labels
        find = model.labels.find
        self._large = [find(name)[0] for name in STRUCTURES if find(name)]
        self._expected = [find(name)[0] for name in EXPECTED if find(name)]

    def mirrored(self, inputs: np.ndarray) -> np.ndarray:
        """Return the coarse logits of inputs (N, 3, h, w), mirrored and smaller, turned back.

        Where there is nothing to take signs from, they are (N, 0, h, w), and no pass is made.
        """
        if not self._large:
            return inputs[:, :0]
        size = [min(n, max(1, round(n * _SMALLER / _STEP)) * _STEP) for n in inputs.shape[2:]]
        small = np.stack([_shrunk(image, size) for image in inputs])
        try:
            return self._model.coarse_logits(small[..., ::-1])[..., ::-1]
        except WRONG_SIZE:  # anything else goes wrong at the network's own size, too
            return self._model.coarse_logits(inputs[..., ::-1])[..., ::-1]

    def __call__(self, coarse: np.ndarray, mirrored: np.ndarray, view: str | None) -> Signs | None:
        """Return the signs of one film, or None if the model has none of the large structures.

        Parameters
        ----------
        coarse : (L, h, w) float32 logits, finite
        mirrored : (L, h', w'), of `mirrored`
        view : a lateral film has no sides to swap
        """
        if not self._large:
            return None
        step = math.ceil(max(coarse.shape[1:]) / _MOST)
        coarse = np.ascontiguousarray(coarse[:, ::step, ::step])
        partners = self._large if view == "lateral" else self._labels.mirror[self._large].tolist()
        again = enlarge([mirrored[i] for i in partners], coarse.shape[1:])
        bits = pack_decisions(coarse)
        found = moments(PackedMasks(bits[::2, ::2], self._labels))  # a quarter of the time
        broken, rules = count_broken(found, self._labels, view)
        pieces = [_main_piece(bits[..., i // 8] & np.uint8(1 << i % 8)) for i in self._expected]
        return Signs(
            margin=_margin(coarse[self._large]),
            mirror_agreement=_agreement(coarse[self._large] > 0, again > 0),
            broken_rules=broken,
            missing=pieces.count(0.0),
            in_pieces=sum(0 < part < _MAIN for part in pieces),
            rules=rules,
            expected=len(pieces),
        )


def _shrunk(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return planes (3, h, w) at a smaller size, each new pixel the mean of what it covers."""
    return np.stack(
        [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA) for plane in image]
    )


def _margin(logits: np.ndarray) -> float:
    """Return the mean margin of (K, h, w) logits."""
    found = logits > 0
    sums = ((2 * sigmoid(logits) - 1) * found).sum((1, 2))
    return float((sums / found.sum((1, 2)).clip(min=1)).mean())


def _agreement(ours: np.ndarray, others: np.ndarray) -> float:
    """Return the mean Dice coefficient of (K, h, w) bool masks; 0 where both are empty."""
    both = (ours & others).sum((1, 2))
    total = ours.sum((1, 2)) + others.sum((1, 2))
    return float((2 * both / total.clip(min=1)).mean())


def _main_piece(mask: np.ndarray) -> float:
    """Return the part of a mask's pixels, (h, w) uint8, in its largest 8-connected piece."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pixels = stats[1:, cv2.CC_STAT_AREA]
    return float(pixels.max() / pixels.sum()) if count > 1 else 0.0


@dataclass(frozen=True)
class Estimate:
    """Doubt from signs: a product of powers of the shortfalls, no exponent below zero.

    `benchmarks/open_model/doubt.py` fits it to the open model and writes it beside the model; the
    model card says how well it does.

    Attributes
    ----------
    intercept, slopes : log(doubt + 0.01) is the intercept and the sum of each column's slope times
        log(shortfall + 0.02)
    """

    intercept: float
    slopes: Mapping[str, float]

    @classmethod
    def of(cls, weights: str) -> "Estimate | None":
        """Return that of a model by the digest of its weights; None if it is not the open one's."""
        values = read_json(CALIBRATION)
        if values.get("weights") != weights:
            return None
        return cls(values["intercept"], values["slopes"])

    def __call__(self, signs: Signs) -> float:
        """Return the doubt, 0..1."""
        found = terms(signs)
        total = self.intercept + sum(slope * found[name] for name, slope in self.slopes.items())
        return min(max(math.exp(total) - LEAST_DOUBT, 0.0), 1.0)


def terms(signs: Signs) -> dict[str, float]:
    """Return what slopes are multiplied with, by column."""
    return {name: math.log(value + _LEAST) for name, value in signs.shortfalls().items()}


def by_doubt(report: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a report that have masks, the most doubtful first.

    Films with flags come before all others, those without a `doubt` after them, and what is equal
    stays in its order.
    """
    done = report[report["status"].isin(["ok", "skipped"])]
    keys = pd.DataFrame({"plain": done["flags"].fillna("") == "", "sure": -done["doubt"]})
    return done.loc[keys.sort_values(["plain", "sure"], kind="stable").index]
