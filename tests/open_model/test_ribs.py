"""Ribs that obey the rules and follow the film, on drawn chests."""

import numpy as np
import pytest
from helpers.open_model import script

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks

ribs = script("ribs")
PARTS = ("", "posterior_")
NAMES = [f"rib_{side}_{part}{n}" for side in ribs.SIDES for part in PARTS for n in range(3, 9)]
LABELS = LabelSet(
    [*NAMES, "lung_left", "lung_right", "heart", "mediastinum_overall", "diaphragm", "ribs"]
)
HEIGHT, WIDTH = 160, 120


def chest(shift=0, without=(), moved=None):
    """Return masks with ribs as bars, and a film in which they are bright."""
    stack = {name: np.zeros((HEIGHT, WIDTH), bool) for name in LABELS}
    for side, columns in (("right", slice(10, 50)), ("left", slice(70, 110))):
        stack[f"lung_{side}"][10:150, columns] = True
        for n in range(3, 9):
            top = 20 + 18 * (n - 3) + shift
            for part in PARTS:
                stack[f"rib_{side}_{part}{n}"][top : top + 6, columns] = True
    for name in without:
        stack[name][:] = False
    for name, other in (moved or {}).items():
        stack[name], stack[other] = stack[other], stack[name]
    stack["ribs"] = np.logical_or.reduce([stack[name] for name in NAMES])
    masks = PackedMasks.pack(np.stack([stack[name] for name in LABELS]), LABELS)
    rng = np.random.default_rng(shift)
    film = 0.4 + 0.1 * stack["ribs"] + 0.01 * rng.standard_normal((HEIGHT, WIDTH))
    return masks, film.astype(np.float32)


@pytest.mark.parametrize("part", PARTS)
def test_drawn_ribs_obey_all_rules(part):
    assert all(ribs.obeys(chest()[0], part).values())


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"without": ["rib_left_5"]}, {"found", "whole", "order", "sides"}),
        ({"moved": {"rib_left_4": "rib_left_5"}}, {"order"}),
        ({"moved": {"rib_left_4": "rib_right_4"}}, {"sides"}),
    ],
)
def test_a_broken_rule_is_named(change, broken):
    rules = ribs.obeys(chest(**change)[0])
    assert {name for name, holds in rules.items() if not holds} == broken


def test_a_rib_in_two_halves_is_not_whole():
    masks, _ = chest()
    stack = masks.unpack()
    stack[LABELS.index("rib_left_6")[0]][:, 88:92] = False
    rules = ribs.obeys(PackedMasks.pack(stack, LABELS))
    assert [name for name, holds in rules.items() if not holds] == ["whole"]


def test_contrast_is_positive_on_its_own_ribs_and_falls_with_those_of_others():
    chests = [chest(shift) for shift in (0, 9, 4, 13)]
    found = ribs.contrasts([film for _, film in chests], [ribs.Spaces.of(m) for m, _ in chests])
    own, others = np.array(found).T
    assert (own > 0.5).all()
    assert others.mean() < own.mean() / 2


def test_ribs_are_laid_over_by_the_box_of_the_lungs():
    masks, _ = chest()
    small = ribs.Spaces.of(masks)
    large = ribs.Spaces.of(masks.resize(2 * HEIGHT, 2 * WIDTH))
    laid = small.laid_over(large)
    assert (laid.ribs == large.ribs).all()
    assert (laid.between == large.between).all()


def test_a_film_without_lungs_or_ribs_has_no_contrast():
    masks, film = chest()
    empty = PackedMasks.pack(np.zeros(masks.shape, bool), LABELS)
    found = ribs.contrasts([film, film], [ribs.Spaces.of(empty), ribs.Spaces.of(masks)])
    assert np.isnan(found[0]).all()
    assert found[1][0] > 0
