"""CXAS's label table beside PAXRay's."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.sampledata import ROOT

import paxray_lib
from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet

REFERENCE = json.loads((ROOT / "tests/reference/cxas_labels_159.json").read_text())
NAMES = CXAS_LABELS.names


def one(name):
    (index,) = CXAS_LABELS.index(name)
    return index


def parents(name):
    return {NAMES[p] for p in CXAS_LABELS.parents[one(name)]}


def ancestors(name):
    direct = parents(name)
    return direct.union(*map(ancestors, direct))


def test_names_and_order_are_those_of_cxas():
    assert CXAS_LABELS.to_label_dict() == REFERENCE["label_dict"]


def test_the_table_names_only_its_own_labels():
    path = Path(paxray_lib.__file__).parent / "labels/cxas_labels.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(159))
    mentioned = {name for row in rows for name in [row["mirror"], *row["parents"].split(";")]}
    assert mentioned - {""} <= set(NAMES)


def test_every_label_has_a_group():
    assert set(CXAS_LABELS.groups) == set(LABELS.groups) | {"abdomen", "breasts"}
    ribs = [name.endswith(" rib") or " rib " in name for name in NAMES]
    assert ribs == [group == "ribs" for group in CXAS_LABELS.group]
    assert all(
        (group == "vertebrae") == (name.startswith("vertebrae") or name.endswith("spine"))
        for name, group in zip(NAMES, CXAS_LABELS.group, strict=True)
    )


def test_mirror_swaps_sides_but_not_the_chambers_of_the_heart():
    np.testing.assert_array_equal(CXAS_LABELS.mirror[CXAS_LABELS.mirror], np.arange(159))
    for name, side, j in zip(NAMES, CXAS_LABELS.side, CXAS_LABELS.mirror, strict=True):
        words = name.split()
        if name.startswith("heart") or name == "lung middle lobe right":
            assert NAMES[j] == name
        else:
            swap = {"left": "right", "right": "left"}
            assert NAMES[j] == " ".join(swap.get(word, word) for word in words)
        own = {"left", "right"} & set(words)
        assert side == ("" if name.startswith("heart") or not own else own.pop())
    assert CXAS_LABELS.without_mirror == ()


@pytest.mark.parametrize(
    ("name", "wholes"),
    [
        ("anterior 3rd rib left", {"anterior 3rd rib"}),
        ("posterior 12th rib right", {"12th rib"}),
        ("vertebrae T4", {"thoracic spine", "spine"}),
        ("right lung base", {"right lung", "lung base", "lung"}),
        ("lung upper lobe left", {"left lung", "lung"}),
        ("heart atrium left", {"heart", "cardiomediastinum"}),
        ("aortic arch", {"aorta"}),
        ("left hemidiaphragm", {"diaphragm"}),
        ("kidney left", set()),
    ],
)
def test_wholes(name, wholes):
    assert ancestors(name) == wholes


def test_names_of_both_tables_have_the_parents_of_the_set_that_they_are_in():
    shared = set(NAMES) & set(LABELS.names)
    assert shared == {"spine", "heart", "esophagus", "aorta", "diaphragm"}
    both = LabelSet([*LABELS.names, *NAMES])
    heart = both.index("heart")[0]
    wholes = {both.names[p] for p in both.parents[heart]}
    assert wholes == {"mediastinum_overall", "cardiomediastinum"}


def test_colors_are_paxrays_where_the_structure_is_and_unique():
    assert len(np.unique(CXAS_LABELS.colors, axis=0)) == 159
    for ours, theirs in [("c3", "vertebrae C3"), ("lung_left", "left lung"), ("heart", "heart")]:
        color = LABELS.colors[LABELS.index(ours)[0]]
        np.testing.assert_array_equal(CXAS_LABELS.colors[one(theirs)], color)
    lines = [
        [f"{side} {zone} lung" for zone in ("apical zone", "upper zone", "mid zone")]
        + [f"{side} lung base"]
        for side in ("left", "right")
    ]
    lines += [["kidney left", "kidney right"], ["clavicle left", "clavicle right"]]
    for line in lines:
        for first, second in pairwise(line):
            a, b = (CXAS_LABELS.colors[one(name)].astype(float) for name in (first, second))
            assert np.linalg.norm(a - b) >= 50, (first, second)
