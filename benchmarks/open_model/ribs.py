"""Ribs on real films, where nobody drew masks: do they obey anatomy, and do they follow the film?

Rules, for ribs 3 to 8 of both sides (whole ribs, and their posterior parts by themselves):

found   a mask of at least `SMALLEST` of the film
whole   its largest 8-connected part has at least `MAIN` of its pixels
order   centroids of a side go down from rib to rib
sides   the centroid of a left rib is to the right of that of its partner, in the film

A mean mask would obey them, too. So the contrast: the film less its local mean (`high_pass`) inside
posterior ribs 3 to 8, less that in the spaces between them, in standard deviations of the film
there. Bone is brighter, so that it is positive where ribs lie on ribs. With the ribs of other
films, laid over by the boxes of their lungs, it must fall.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from paxray_lib.masks import PackedMasks

NUMBERS = range(3, 9)
SIDES = ("left", "right")
SMALLEST = 1e-4  # of all pixels: 26 of 512 x 512
MAIN = 0.9
STEPS_OF_LUNG = 20  # the filter's standard deviation is this part of the height of the lungs
OTHERS = 3  # films whose ribs are laid over


def obeys(masks: PackedMasks, part: str = "") -> dict[str, bool]:
    """Return whether ribs 3 to 8 obey each rule; `part` is "" or "posterior_"."""
    ribs = {(side, n): masks.union(f"rib_{side}_{part}{n}") for side in SIDES for n in NUMBERS}
    found = all(rib.mean() >= SMALLEST for rib in ribs.values())
    if not found:
        return dict.fromkeys(("found", "whole", "order", "sides"), False)
    centers = {key: _centroid(rib) for key, rib in ribs.items()}
    rows = [[centers[side, n][0] for n in NUMBERS] for side in SIDES]
    return {
        "found": True,
        "whole": all(_largest_part(rib) >= MAIN for rib in ribs.values()),
        "order": bool((np.diff(rows, axis=1) > 0).all()),
        "sides": all(centers["left", n][1] > centers["right", n][1] for n in NUMBERS),
    }


def _centroid(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def _largest_part(mask: np.ndarray) -> float:
    """Return the share of a mask's pixels that are in its largest 8-connected part."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return float(stats[1:, cv2.CC_STAT_AREA].max() / mask.sum())


@dataclass(frozen=True)
class Spaces:
    """Where to look in a film, (H, W) bool: the lungs, the ribs, and what is between the ribs."""

    lungs: np.ndarray
    ribs: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, masks: PackedMasks) -> "Spaces":
        """Take them from masks; the lungs are the visible ones, no rib lies between ribs."""
        lungs = masks.union("lung_left", "lung_right") & ~masks.union(
            "heart", "mediastinum_overall", "diaphragm"
        )
        ribs, between = np.zeros_like(lungs), np.zeros_like(lungs)
        for side in SIDES:
            row = [masks.union(f"rib_{side}_posterior_{n}") for n in NUMBERS]
            ribs |= np.logical_or.reduce(row)
            for upper, lower in itertools.pairwise(row):
                between |= _between(upper, lower)
        return cls(lungs, ribs & lungs, between & lungs & ~masks.union("ribs"))

    def laid_over(self, film: "Spaces") -> "Spaces":
        """Return these at the size of another film, the box of the lungs fitted to its."""
        (top, bottom), (left, right) = _box(self.lungs)
        (first, last), (start, end) = _box(film.lungs)
        height, width = film.lungs.shape
        rows = top + (np.arange(height) + 0.5 - first) * (bottom - top) / (last - first)
        columns = left + (np.arange(width) + 0.5 - start) * (right - left) / (end - start)
        return Spaces(
            film.lungs,
            _taken(self.ribs, rows, columns) & film.lungs,
            _taken(self.between, rows, columns) & film.lungs,
        )


def _between(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return what lies, in columns that have both, below one mask and above the other."""
    rows = np.arange(len(upper))[:, None]
    both = upper.any(axis=0) & lower.any(axis=0)
    bottom = len(upper) - 1 - upper[::-1].argmax(axis=0)
    return (rows > bottom) & (rows < lower.argmax(axis=0)) & both


def _box(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and behind the last row, then column."""
    for axis in (0, 1):
        places = np.flatnonzero(mask.any(axis=1 - axis))
        yield int(places[0]), int(places[-1]) + 1


def _taken(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask at rows and columns; nothing is outside."""
    rows, columns = (np.floor(places).astype(int) for places in (rows, columns))
    padded = np.pad(mask, 1)
    return padded[
        np.ix_(
            np.clip(rows, -1, mask.shape[0]) + 1,
            np.clip(columns, -1, mask.shape[1]) + 1,
        )
    ]


def high_pass(film: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return a film less its local mean in the lungs, over the standard deviation there."""
    (top, bottom), _ = _box(lungs)
    sigma = (bottom - top) / STEPS_OF_LUNG
    weights = gaussian_filter(lungs.astype(np.float32), sigma)
    blurred = gaussian_filter(np.where(lungs, film, 0).astype(np.float32), sigma)
    difference = film - blurred / np.maximum(weights, 1e-3)
    return difference / max(float(difference[lungs].std()), 1e-9)


def contrast(filtered: np.ndarray, spaces: Spaces) -> float:
    """Return the mean of a filtered film inside the ribs less that between; NaN without both."""
    if not (spaces.ribs.any() and spaces.between.any()):
        return float("nan")
    return float(filtered[spaces.ribs].mean() - filtered[spaces.between].mean())


def contrasts(films: Sequence[np.ndarray], spaces: Sequence[Spaces]) -> list[tuple[float, float]]:
    """Return each film's contrast with its own ribs, and the mean with those of the next films."""
    found = []
    for i, (film, own) in enumerate(zip(films, spaces, strict=True)):
        if not own.lungs.any():
            found.append((float("nan"), float("nan")))
            continue
        filtered = high_pass(film, own.lungs)
        following = (spaces[(i + k) % len(films)] for k in range(1, min(OTHERS + 1, len(films))))
        laid = [other.laid_over(own) for other in following if other.lungs.any()]
        others = [value for one in laid if np.isfinite(value := contrast(filtered, one))]
        mean = float(np.mean(others)) if others else float("nan")
        found.append((contrast(filtered, own), mean))
    return found
