"""A review by keyboard: which film comes first, what was decided, and films without a name."""

import os
from typing import Any

import numpy as np

from paxray_lib.labels import LabelSet
from paxray_lib.review.blind import numbered, paired
from paxray_lib.review.decisions import PREFERENCES, VERDICTS, Review, read_review
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.sources import ROLES, Source


class Reviewing:
    """The decisions on the images of a viewer, by position; of two models, which is preferred.

    Parameters
    ----------
    source : of images with names of their own, else ValueError
    folder : holds `review.csv`, see `review.decisions`
    who : decides
    """

    def __init__(self, source: Source, folder: str | os.PathLike, who: str):
        verdicts = PREFERENCES if source.models else VERDICTS
        self._review, self._blind = Review(folder, source.names, who, verdicts), source.blind

    @property
    def start(self) -> int:
        """The position of the first image that nobody decided on, or else 0."""
        pending = self._review.pending
        return self._review.names.index(pending[0]) if pending else 0

    def state(self) -> dict[str, Any]:
        """Return what the page gets: decisions as they are on the disk, by position."""
        self._review.decisions = read_review(self._review.folder)
        positions = {name: position for position, name in enumerate(self._review.names)}
        decisions = {
            str(positions[name]): [decision.verdict, decision.note]
            for name, decision in self._review.decisions.items()
            if name in positions
        }
        verdicts = list(self._review.verdicts)
        return {"decisions": decisions, "blind": self._blind, "verdicts": verdicts}

    def decide(self, position: int, verdict: str, note: str) -> dict[str, Any]:
        """Write a decision down; return what the page is told: what stands there now, and why."""
        name = self._review.names[position]
        answer: dict[str, Any] = {"position": position}
        try:
            self._review.decide(name, verdict, note)
        except (ValueError, OSError) as error:
            answer["error"] = f"{name}: not written: {error}"
        made = self._review.decisions.get(name)
        return answer | {"decision": made and [made.verdict, made.note]}


def blind_source(source: Source, key: str | os.PathLike) -> Source:
    """Return all masks of a source one by one, those of two models side by side, under numbers.

    The order is random, and so is which model is on the left.

    Nothing tells truth and prediction apart: a label that is not annotated in the truth has no
    mask in the prediction either. Which number is which stands in the file `key` alone, see
    `review.blind.numbered`.
    """
    if source.models:
        return _blind_pairs(source, key)
    names = {
        role: [
            name for name, roles in zip(source.names, source.roles, strict=True) if role in roles
        ]
        for role in ROLES
    }
    films = numbered({role: own for role, own in names.items() if own}, key)
    numbers = list(films)
    positions = [source.names.index(name) for _, name in films.values()]
    is_truth = [role == "truth" for role, _ in films.values()]

    def load(index: int) -> Scene:
        scene, number = source.load(positions[index]), numbers[index]
        masks = scene.target if is_truth[index] else scene.prediction
        if masks is None:
            raise ValueError(f"{number}: there are no masks of this film")
        if scene.target is not None:
            masks = masks.knowing(masks.known & scene.target.known)
        return Scene(number, scene.pixels, masks, None, scene.view, scene.spacing_mm)

    views = np.array(source.views, object)[positions].tolist()
    return Source(source.labels, numbers, views, load, blind=True)


def _blind_pairs(source: Source, key: str | os.PathLike) -> Source:
    """Return the films that both models have masks of, with the labels that both have."""
    first, second = source.models
    pairs = zip(source.names, source.roles, strict=True)
    both = [name for name, roles in pairs if len(roles) == 2]
    if not both:
        raise ValueError(f"{first} and {second}: no film that both have masks of")
    films = paired(both, (first, second), key)
    positions = [source.names.index(name) for name, _, _ in films.values()]
    lefts, numbers, labels = [left for _, left, _ in films.values()], list(films), _shared(source)

    def load(index: int) -> Scene:
        scene = source.load(positions[index])
        sides = scene.target, scene.prediction
        if lefts[index] != first:
            sides = sides[::-1]
        left, right = (masks and masks.relabel(labels) for masks in sides)
        return Scene(numbers[index], scene.pixels, left, right, scene.view, scene.spacing_mm)

    views = np.array(source.views, object)[positions].tolist()
    return Source(labels, numbers, views, load, models=("left", "right"), blind=True)


def _shared(source: Source) -> LabelSet:
    """Return the labels that both models have, by the first film that can be read."""
    for position, roles in enumerate(source.roles):
        try:
            scene = source.load(position) if len(roles) == 2 else None
        except (ValueError, OSError):  # said once it is opened
            continue
        if scene and scene.target and scene.prediction:
            known = np.flatnonzero(scene.target.known & scene.prediction.known)
            if known.size:
                return LabelSet(source.labels[k] for k in known)
    raise ValueError(f"{' and '.join(source.models)}: no label that both have, nothing to compare")
