import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.sampledata import ROOT

import paxray_lib
from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import project_scan
from paxray_lib.ct.scan import read_scan
from paxray_lib.labels.table import LABELS, LabelSet

PUBLISHED = json.loads((ROOT / "tests/reference" / "label_dict_166.json").read_text())
NAMES = LABELS.names
LOBES = {"left": ("upper", "lower"), "right": ("upper", "middle", "lower")}
RIBS = range(1, 13)


def parents(name):
    return {NAMES[p] for p in LABELS.parents[LABELS.index(name)[0]]}


def ancestors(name):
    found = parents(name)
    return found.union(*map(ancestors, found))


def names(*wanted):
    return [NAMES[i] for i in LABELS.select(*wanted)]


def test_order_is_the_published_one():
    assert LABELS.to_label_dict() == PUBLISHED
    assert LabelSet.from_label_dict(PUBLISHED) == LABELS
    assert LabelSet.from_label_dict({int(k): v for k, v in reversed(PUBLISHED.items())}) == LABELS
    assert len(LABELS) == 166


def test_what_was_checked_is_one_of_three_for_every_published_label():
    checked = dict(zip(NAMES, LABELS.checked, strict=True))
    films = [name for name, value in checked.items() if value == "films"]
    assert films == ["lung_overall", "lung_right", "lung_left", "heart"]
    assert set(checked.values()) == {"films", "ct", "none"}
    assert LabelSet(["heart", "left_lung"]).checked == ("films", "")


@pytest.mark.slow
def test_checked_on_the_ct_is_what_its_projection_shows(real_data):
    folder = real_data / "ct"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    case = find_cases(folder, folder)[0][0]
    views = project_scan(read_scan(case.ct, case.segmentation), 256).views.values()
    shown = sum(masks.counts() for _, masks in views) > 0
    assert [value != "none" for value in LABELS.checked] == shown.tolist()


def test_the_table_repeats_nothing_wrongly():
    with (Path(paxray_lib.__file__).parent / "labels/labels.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(166))
    assert [row["color"] for row in rows] == [
        f"#{r:02x}{g:02x}{b:02x}" for r, g, b in LABELS.colors.tolist()
    ]
    assert {name for row in rows for name in [row["mirror"], *row["parents"].split(";")]} - {
        ""
    } <= set(NAMES)


def test_duplicated_name_keeps_both_indices():
    assert LABELS.index("mediastinum_upper") == [12, 16]
    assert LABELS.select("mediastinum_upper") == [12, 16]
    assert LABELS.mirror[[12, 16]].tolist() == [12, 16]
    assert {12, 16} <= set(LABELS.children[LABELS.index("mediastinum_overall")[0]])
    assert LABELS.colors[12].tolist() != LABELS.colors[16].tolist()


def test_display_names_tell_labels_of_one_name_apart():
    shown = LABELS.display_names
    assert (shown[12], shown[16]) == ("mediastinum_upper (12)", "mediastinum_upper (16)")
    assert [s for i, s in enumerate(shown) if i not in (12, 16)] == [
        n for i, n in enumerate(NAMES) if i not in (12, 16)
    ]
    assert len(set(shown)) == len(LABELS)
    assert LabelSet(["mediastinum_upper", "heart"]).display_names == ("mediastinum_upper", "heart")


def test_groups():
    assert set(LABELS.groups) == {
        "lungs",
        "mediastinum",
        "heart",
        "airways",
        "esophagus",
        "great_vessels",
        "bones",
        "vertebrae",
        "ribs",
        "diaphragms",
    }
    assert all(
        ("rib" in name) == (group == "ribs")
        for name, group in zip(NAMES, LABELS.group, strict=True)
    )
    assert all(
        name.startswith("lung") == (group == "lungs")
        for name, group in zip(NAMES, LABELS.group, strict=True)
    )
    assert len(LABELS.select("ribs")) == 1 + 12 * 3 + 12 * 2 + 12 * 4
    assert names("great_vessels") == ["aorta", "aorta_descending", "aorta_arch", "aorta_ascending"]


def test_sides_follow_the_names():
    expected = ["left" if "left" in n else "right" if "right" in n else "" for n in NAMES]
    assert list(LABELS.side) == expected


def test_mirror_swaps_sides():
    np.testing.assert_array_equal(LABELS.mirror[LABELS.mirror], np.arange(166))
    for i, j in enumerate(LABELS.mirror):
        swapped = NAMES[i].replace("left", "*").replace("right", "left")
        swapped = swapped.replace("*", "right")
        assert NAMES[j] == (swapped if swapped in NAMES else NAMES[i])
    alone = [NAMES[i] for i in np.flatnonzero(LABELS.mirror == np.arange(166)) if LABELS.side[i]]
    assert alone == ["lung_right_lobemiddle"]
    assert LABELS.without_mirror == ()


def test_mirror_of_a_set_without_the_counterpart():
    few = LabelSet(["rib_left_1", "heart"])
    assert few.mirror.tolist() == [0, 1]
    assert few.without_mirror == ("rib_left_1",)
    # as many on each side, or nothing can be swapped
    assert LabelSet(["rib_left_1", "rib_left_1", "rib_right_1"]).without_mirror == (
        "rib_left_1",
        "rib_right_1",
    )


OWN = [
    "left lung",
    "right lung",
    "Lung-Left",
    "Lung-Right",
    "RIGHT_rib",
    "LEFT_rib",
    "heart",
    "left and right hilum",
]
OWN += ["rib_9_left", "rib_9_right", "bright spot", "cleft", "leftover"]


def test_own_names_are_mirrored_by_the_word_of_their_side():
    labels = LabelSet(OWN)
    assert labels.mirror.tolist() == [1, 0, 3, 2, 5, 4, 6, 7, 9, 8, 10, 11, 12]
    assert labels.side == (
        "left",
        "right",
        "left",
        "right",
        "right",
        "left",
        "",
        "",
        "left",
        "right",
        "",
        "",
        "",
    )
    assert labels.without_mirror == ()


@pytest.mark.parametrize(
    "names",
    [
        ["left lung", "heart"],
        ["left lung", "Right lung"],
        ["left lung", "left lung", "right lung"],
        [
            "lung_left_lobemiddle",
            "lung_right_lobemiddle",
        ],  # the second one is of the table, and has no counterpart
    ],
)
def test_an_own_name_without_its_counterpart(names):
    labels = LabelSet(names)
    assert labels.mirror.tolist() == list(range(len(names)))
    assert labels.without_mirror[0] == names[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_parents_of_lungs_and_ribs(side):
    for lobe in LOBES[side]:
        assert parents(f"lung_{side}_lobe{lobe}") == {f"lung_{side}"}
    assert parents(f"lung_{side}_vessel") == {f"lung_{side}"}
    assert parents(f"lung_{side}") == {"lung_overall"}
    for n in RIBS:
        for end in ("anterior", "posterior"):
            assert ancestors(f"rib_{side}_{end}_{n}") == {
                f"rib_{side}_{n}",
                f"rib_{end}_{n}",
                f"rib_{n}",
                "ribs",
                "bones",
            }
    assert parents(f"hemidiaphragm_{side}") == {"diaphragm"}


def test_parents_of_the_rest():
    roots = {
        "airways",
        "esophagus",
        "aorta",
        "lung_overall",
        "mediastinum_overall",
        "bones",
        "diaphragm",
    }
    assert {n for n, p in zip(NAMES, LABELS.parents, strict=True) if not p} == roots
    assert all(parents(n) == {"spine"} for n in names("vertebrae") if n != "spine")
    assert len(names("vertebrae")) == 1 + 7 + 13 + 6 + 2
    assert parents("spine") == parents("ribs") == {"bones"}
    assert parents("heart") == parents("mediastinum_lower") == {"mediastinum_overall"}
    assert all(
        parents(f"aorta_{part}") == {"aorta"} for part in ("arch", "ascending", "descending")
    )


def test_parents_are_acyclic_and_children_their_inverse():
    assert all(name not in ancestors(name) for name in set(NAMES))
    pairs = {(c, p) for c, ps in enumerate(LABELS.parents) for p in ps}
    assert pairs == {(c, p) for p, cs in enumerate(LABELS.children) for c in cs}


def test_parents_in_a_subset_skip_what_is_missing():
    few = LabelSet(["bones", "rib_left_anterior_3", "rib_3", "tooth"])
    assert few.parents == ((), (2,), (0,), ())
    assert few.group[3] == "other"


def test_tree_shows_every_label_once_below_a_parent():
    tree = LABELS.tree()
    assert sorted(i for i, _ in tree) == list(range(166))
    path = []
    for index, depth in tree:
        path = path[:depth]
        assert (path[-1] in LABELS.parents[index]) if path else not LABELS.parents[index]
        path.append(index)


def distance(first, second):
    a, b = (LABELS.colors[LABELS.index(name)[0]].astype(float) for name in (first, second))
    return np.linalg.norm(a - b)


def test_colors_are_unique():
    assert LABELS.colors.shape == (166, 3)
    assert LABELS.colors.dtype == np.uint8
    assert len(np.unique(LABELS.colors, axis=0)) == 166


def test_neighbours_are_at_least_50_apart_in_rgb():
    spine = [f"{k}{i}" for k, n in (("c", 7), ("t", 12), ("l", 5)) for i in range(1, n + 1)]
    lines = [
        spine,
        *(
            [f"rib_{kind}{n}" for n in RIBS]
            for kind in ("", "left_", "right_", "anterior_", "posterior_")
        ),
    ]
    lines += [
        [f"rib_{s}_{e}_{n}" for n in RIBS]
        for s in ("left", "right")
        for e in ("anterior", "posterior")
    ]
    lines += [[f"lung_{s}_lobe{lobe}" for lobe in lobes] for s, lobes in LOBES.items()]
    lines += [
        ["aorta_ascending", "aorta_arch", "aorta_descending"],
        ["lung_left", "heart", "lung_right"],
    ]
    lines += [
        [f"rib_{s}_anterior_{n}", f"rib_{s}_posterior_{n}"] for s in ("left", "right") for n in RIBS
    ]
    lines += [
        ["hemidiaphragm_left", "hemidiaphragm_right"],
        ["lung_right", "hemidiaphragm_right", "heart"],
    ]
    for line in lines:
        for first, second in pairwise(line):
            assert distance(first, second) >= 50, (first, second)


def test_colors_stay_in_a_subset_and_exist_for_other_names():
    few = LabelSet(["tooth", "heart", "nail", "heart"])
    np.testing.assert_array_equal(few.colors[1], LABELS.colors[LABELS.index("heart")[0]])
    assert len(np.unique(few.colors, axis=0)) == 4


def test_select_takes_names_groups_patterns_and_lists():
    assert names("heart", ["rib_left_1?", ["airways"]]) == [
        "heart",
        "airways",
        "rib_left_10",
        "rib_left_11",
        "rib_left_12",
    ]
    assert LABELS.select("rib[s]") == LABELS.index("ribs") == [54]
    assert LABELS.select("ribs") == [i for i, g in enumerate(LABELS.group) if g == "ribs"]
    assert LABELS.select(" heart ", "heart") == LABELS.index("heart")
    assert LABELS.select() == []
    with pytest.raises(ValueError, match="names, groups or patterns are needed, got 17"):
        LABELS.select(["heart", 17])


@pytest.mark.parametrize("look_up", [LABELS.index, LABELS.select])
def test_unknown_names_list_near_matches(look_up):
    with pytest.raises(ValueError, match=r"unknown label.*'hart'; did you mean 'heart'"):
        look_up("hart")


def test_unknown_group_lists_near_matches():
    with pytest.raises(ValueError, match="'great_vessel'; did you mean 'great_vessels'"):
        LABELS.select("great_vessel")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "none at all"),
        (["a", ""], "non-empty"),
        (["a", 3], "3"),
        ("heart", "the string 'heart'; put it in"),
    ],
)
def test_names_must_be_strings(bad, message):
    with pytest.raises(ValueError, match=message):
        LabelSet(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"0": "a", "2": "b"}, "keys 0..1, but 1 is missing"),
        (["a"], "got list"),
        ({"0": None}, "None"),
    ],
)
def test_label_dict_errors(bad, message):
    with pytest.raises(ValueError, match=message):
        LabelSet.from_label_dict(bad)


def test_label_sets_are_values():
    assert LabelSet(["a", "b"]) == LabelSet(iter("ab"))
    assert hash(LabelSet(["a"])) == hash(LabelSet(["a"]))
    assert LabelSet(["a", "b"]) != LabelSet(["b", "a"])
    assert LabelSet(["a"]) != ["a"]
    assert repr(LABELS) == "LabelSet(166 labels: lung_overall, lung_right, lung_left, ...)"
