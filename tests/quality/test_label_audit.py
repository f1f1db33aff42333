"""Planted faults are found, each by its name, and clean data raise no alarm."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.phantoms import exchange, phantom, renamed, write_phantoms
from helpers.sampledata import write_tiny

from paxray_lib.data.datafile import read_datafile
from paxray_lib.labels.table import LABELS, LabelSet, tree_pairs
from paxray_lib.masks.measures import moments
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.check import check_dataset
from paxray_lib.quality.label_audit import (
    audit,
    duplicate_table,
    rule_table,
    side_table,
    suggest_names,
    tree_table,
)
from paxray_lib.quality.survey import take_survey

EXCHANGES = [
    ("rib_left_5", "rib_right_5"),
    ("rib_left_anterior_5", "rib_left_anterior_6"),
    ("rib_left_anterior_5", "rib_right_anterior_5"),
    ("rib_left_anterior_5", "rib_left_posterior_5"),
    ("rib_posterior_8", "rib_posterior_9"),
    ("rib_3", "rib_4"),
    ("lung_left", "lung_right"),
    ("lung_left_lobeupper", "lung_left_lobelower"),
    ("lung_right_lobeupper", "lung_right_lobemiddle"),
    ("hemidiaphragm_left", "hemidiaphragm_right"),
    ("heart", "hemidiaphragm_right"),
    ("heart", "lung_right_lobelower"),
    ("aorta", "esophagus"),
    ("aorta_arch", "aorta_descending"),
    ("mediastinum_anterior", "mediastinum_posterior"),
    ("t5", "t6"),
    ("t12", "l1"),
    ("spine", "bones"),
]


def survey_of(root):
    return take_survey(read_datafile(root))


def survey_with(folder, order, **kwargs):
    """Take the survey of phantoms whose labels bear the masks of others."""
    return survey_of(
        write_phantoms(
            folder, change=lambda c, v, image, masks: (image, renamed(masks, order)), **kwargs
        )
    )


def errors(survey):
    return [
        (finding.where, finding.message) for finding in audit(survey) if finding.severity == "error"
    ]


def pairs(survey):
    table = suggest_names(survey)
    return set(zip(table["name"], table["fits"], strict=True))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return survey_of(write_phantoms(tmp_path_factory.mktemp("clean") / "data"))


@pytest.fixture(scope="module")
def shuffled(clean):
    """Return the clean survey as it would be with the labels in another order: as `take_survey`,
    but at once.
    """
    child, parent = np.array(tree_pairs(LABELS)).T
    places = zip(clean.images["case"].str[4:].astype(int), clean.images["view"], strict=True)
    # (N, L, L)
    each = np.stack([moments(phantom(0, case)[view][1]).shared for case, view in places])

    def change(order):
        outside = clean.areas[:, order[child]] - each[:, order[child], order[parent]]
        columns = {
            name: getattr(clean, name)[:, order]
            for name in ("areas", "rows", "columns", "brightness")
        }
        shared = {view: matrix[np.ix_(order, order)] for view, matrix in clean.shared.items()}
        return replace(clean, outside=outside, shared=shared, **columns)

    return change


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))]
)
def test_clean_data_raise_no_alarm(tmp_path, seed):
    findings = check_dataset(write_phantoms(tmp_path / "data", seed=seed))
    assert {finding.where for finding in findings} <= {"labels"}  # labels that never occur
    assert all("never occur" in finding.message for finding in findings)


@pytest.mark.parametrize("names", EXCHANGES, ids="-".join)
def test_an_exchange_of_two_names_is_found_and_named(shuffled, names):
    first, second = names
    survey = shuffled(exchange(*names))
    assert pairs(survey) == {(first, second), (second, first)}
    (message,) = [message for where, message in errors(survey) if where == "labels"]
    assert f"fits the name {first}" in message


@pytest.mark.slow
def test_hardly_any_exchange_of_two_labels_escapes(clean, shuffled):
    often = np.flatnonzero((clean.areas > 0).sum(axis=0) > 20)
    rng, named, noticed, tries = np.random.default_rng(0), 0, 0, 60
    for _ in range(tries):
        first, second = (LABELS.names[i] for i in rng.choice(often, 2, replace=False))
        survey = shuffled(exchange(first, second))
        named += pairs(survey) == {(first, second), (second, first)}
        noticed += bool(errors(survey))
    assert noticed == tries
    assert named >= 0.95 * tries


def test_the_planting_of_the_tests_is_that_of_files(tmp_path, shuffled):
    order = exchange("rib_left_5", "rib_right_5")
    assert audit(survey_with(tmp_path / "data", order)) == audit(shuffled(order))


@pytest.mark.parametrize("shift", [1, 2, 4, -3])
def test_a_shifted_block_of_names_is_found(shuffled, shift):
    """As suspected of labels 115 to 162 in one export of the data set."""
    order = np.arange(166)
    order[115:163] = np.roll(order[115:163], shift)
    survey = shuffled(order)
    table = suggest_names(survey)
    assert table["index"].tolist() == list(range(115, 163))
    assert table["fits_index"].tolist() == order[115:163].tolist()
    assert table["broken"].sum() > 48
    assert table["mended"].sum() == 0
    assert any("48 names seem to be exchanged" in message for _, message in errors(survey))


def test_a_random_order_of_the_parts_of_ribs_is_undone(shuffled):
    order = np.arange(166)
    order[115:163] = np.random.default_rng(0).permutation(order[115:163])
    table = suggest_names(shuffled(order))
    assert table["fits_index"].tolist() == order[table["index"]].tolist()


def test_occurrences_that_contradict_the_tree_are_told(shuffled):
    order = exchange("rib_left_anterior_12", "rib_left_anterior_1")
    survey = shuffled(order)
    there = survey.areas > 0
    there[:5, LABELS.index("rib_left_12")[0]] = False
    survey.areas[:] = np.where(there, survey.areas, 0)
    row = (
        tree_table(survey)
        .set_index(["child", "parent"])
        .loc[("rib_left_anterior_12 (159)", "rib_left_12 (113)")]
    )
    assert row["without_parent"] == (there[:, 159] & ~there[:, 113]).sum() >= 5
    said = f"it occurs in {there[:, 159].sum()} images, the parent in {there[:, 113].sum()}"
    assert any(
        where == "rib_left_anterior_12 (159)" and said in message
        for where, message in errors(survey)
    )


def flip(image, masks):
    return image[:, ::-1], PackedMasks(np.ascontiguousarray(masks.data[:, ::-1]), masks.labels)


def test_a_whole_that_is_not_annotated_is_no_rule_for_its_parts(tmp_path):
    def without_bones(_case, _view, image, masks):
        stack = masks.unpack()
        stack[LABELS.index("bones")[0]] = False
        return image, PackedMasks.pack(stack, LABELS)

    root = write_phantoms(tmp_path / "data", change=without_bones)
    assert any(where == "spine (25)" for where, _ in errors(survey_of(root)))
    content = json.loads((root / "paxray.json").read_text())
    content["known"] = [name for name in LABELS if name != "bones"]
    (root / "paxray.json").write_text(json.dumps(content))
    survey = survey_of(root)
    assert not errors(survey)
    assert not any("bones" in finding.message for finding in audit(survey))


def test_a_mirrored_image_is_found(tmp_path):
    root = write_phantoms(
        tmp_path / "data", change=lambda c, v, *pair: flip(*pair) if c == 3 else pair
    )
    ((where, message),) = errors(survey_of(root))
    assert where == "images/case003frontal.png"
    assert "wrong way round" in message


def test_sides_exchanged_in_all_labels_are_found(shuffled):
    survey = shuffled(LABELS.mirror)
    assert side_table(survey)["reversed"].tolist() == side_table(survey)["pairs"].tolist()
    found = errors(survey)
    assert sum("wrong way round" in message for _, message in found) == 12
    assert any(
        where == "lung_left (2)" and "not on the left of" in message for where, message in found
    )


@pytest.mark.parametrize("what", ["images", "masks"])
def test_a_duplicate_across_splits_is_found(tmp_path, what):
    other = phantom(0, 0)["frontal"]

    def change(case, view, image, masks):
        copied = case == 2 and view == "frontal"
        return (other[0] if copied and what == "images" else image), (
            other[1] if copied and what == "masks" else masks
        )

    survey = survey_of(write_phantoms(tmp_path / "data", change=change))
    (row,) = duplicate_table(survey).itertuples()
    assert (row.of, row.splits) == (what, ("train", "val"))
    ((where, message),) = errors(survey)
    assert "case000frontal" in where
    assert "case002frontal" in message
    assert "in the splits train and val" in message


def test_a_duplicate_in_one_split_is_a_warning(tmp_path):
    other = phantom(0, 0)["frontal"][0]
    change = lambda c, v, image, masks: (other if (c, v) == (1, "frontal") else image, masks)  # noqa: E731
    survey = survey_of(write_phantoms(tmp_path / "data", change=change))
    (found,) = [finding for finding in audit(survey) if "same pixels" in finding.message]
    assert found.severity == "warning"


def test_few_images_prove_nothing_about_positions(tmp_path):
    survey = survey_with(tmp_path / "data", exchange("t5", "t6"), cases=4)
    assert rule_table(survey)["holds_percent"].isna().all()
    assert errors(survey) == []


def test_labels_without_rules_have_an_audit(tmp_path):
    write_tiny(tmp_path, labels=LabelSet(["a", "b"]))
    survey = survey_of(tmp_path)
    assert audit(survey) == []
    assert len(rule_table(survey)) == len(tree_table(survey)) == len(suggest_names(survey)) == 0
