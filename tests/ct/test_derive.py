"""Derived labels: each rule on a chest of blocks, mirror symmetry, and reasons for what is
absent.
"""

import numpy as np
import pytest
from helpers.chestdata import SPACING, make_chest, mirrored
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.ct.derive import derive
from paxray_lib.ct.mediastinum import convex
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES
from paxray_lib.labels.table import LABELS


def masks_of(scan):
    """Return {label: (Z, Y, X) bool} of a scan, wholes as unions of their parts."""
    found = {}
    for volume, names in derive(scan).volumes:
        for value, labels in names.items():
            for name in labels:
                found[name] = found.get(name, False) | (volume == value)
    for name in reversed([LABELS.names[i] for i, _ in LABELS.tree()]):
        for i in LABELS.index(name):
            for parent in LABELS.parents[i]:
                if name in found:
                    found[LABELS.names[parent]] = (
                        found.get(LABELS.names[parent], False) | found[name]
                    )
    return {name: mask for name, mask in found.items() if mask.any()}


def without(scan, *names):
    structures = scan.structures.copy()
    structures[np.isin(structures, [CODES[name] for name in names])] = 0
    return Scan(scan.hu, structures, scan.spacing, {})


@pytest.fixture(scope="module")
def chest():
    return make_chest()


@pytest.fixture(scope="module")
def masks(chest):
    return masks_of(chest)


def is_rib(name):
    return name in CODES and name.startswith("rib_")


def centre(mask):
    return np.argwhere(mask).mean(axis=0)


def test_every_label_is_there_or_has_a_reason(chest, masks):
    absent = derive(chest).absent
    assert set(absent) | set(masks) == set(LABELS.names)
    assert not set(absent) & set(masks)


@pytest.mark.parametrize(
    ("rib", "other"), [("rib_left_11", "rib_right_11"), ("rib_right_2", "rib_left_2")]
)
def test_few_voxels_on_the_wrong_side_are_left_out(chest, rib, other):
    stray = without(chest, rib)
    stray.structures[20, 20, 8 if "left" in rib else 70] = CODES[rib]
    found, absent = masks_of(stray), derive(stray).absent
    assert rib not in found
    assert (
        absent[rib]
        == absent[rib.replace("t_", "t_posterior_")]
        == "only 1 voxels on the wrong side"
    )
    assert other in found
    assert len(found["ribs"].nonzero()[0]) == sum(
        len(found[name].nonzero()[0]) for name in found if is_rib(name)
    )


def test_loose_pieces_of_bones_are_left_out(chest, masks):
    structures = chest.structures.copy()
    structures[30, 40, 71] = CODES["rib_left_5"]  # farther to the side than the rib
    structures[30, 4, 71] = CODES["rib_left_6"]
    structures[2, 10, 40] = CODES["vertebrae_T5"]
    found = masks_of(Scan(chest.hu, structures, SPACING, {}))
    assert set(found) == set(masks)
    assert all(np.array_equal(found[name], masks[name]) for name in masks)


def test_large_pieces_of_a_broken_bone_stay(chest):
    structures = chest.structures.copy()
    structures[19, 20:22, 68:71] = 0  # a gap in the fifth rib
    found = masks_of(Scan(chest.hu, structures, SPACING, {}))
    assert np.array_equal(found["rib_left_5"], structures == CODES["rib_left_5"])


@pytest.mark.parametrize("cut", [slice(19, None), slice(None, 20)])
def test_ribs_that_the_scan_cuts_are_not_divided(chest, cut):
    part = Scan(chest.hu[cut], chest.structures[cut], SPACING, {})
    found, absent = masks_of(part), derive(part).absent
    assert {"rib_left_5", "rib_right_5", "ribs"} <= set(found)
    for name in ("rib_left_anterior_5", "rib_right_posterior_5", "rib_anterior_5"):
        assert absent[name] == "cut by the scan"
    assert {"rib_left_anterior_6", "rib_left_anterior_4"} & set(found)


@pytest.mark.parametrize(("cut", "level"), [(slice(14, None), 4), (slice(None, 18), 5)])
def test_vertebra_that_the_scan_cuts_divides_no_mediastinum(chest, cut, level):
    part = Scan(chest.hu[cut], chest.structures[cut], SPACING, {})
    found, absent = masks_of(part), derive(part).absent
    assert f"t{level}" in found
    assert "cut by it" in absent["mediastinum_upper"]
    assert "mediastinum_lower" not in found


def test_large_structures_on_the_wrong_side_stay(chest):
    swapped = chest.structures.copy()
    for rib, other in (("rib_left_5", "rib_right_5"), ("rib_right_5", "rib_left_5")):
        swapped[chest.structures == CODES[rib]] = CODES[other]
    assert {"rib_left_5", "rib_right_5"} <= set(
        masks_of(Scan(chest.hu, swapped, chest.spacing, {}))
    )


def test_ribs_are_divided_at_the_most_lateral_point(chest, masks):
    for number in range(1, 11):
        for side in ("left", "right"):
            front, back = (
                masks[f"rib_{side}_anterior_{number}"],
                masks[f"rib_{side}_posterior_{number}"],
            )
            rib = chest.structures == CODES[f"rib_{side}_{number}"]
            assert np.array_equal(front | back, rib)
            assert not (front & back).any()
            assert np.nonzero(front)[1].max() < np.nonzero(back)[1].min()
    absent = derive(chest).absent
    assert "most lateral point" in absent["rib_left_anterior_12"]
    assert "most lateral point" in absent["rib_anterior_12"]
    assert np.array_equal(masks["rib_left_posterior_12"], chest.structures == CODES["rib_left_12"])


def test_aorta_has_an_arch_between_two_limbs(chest, masks):
    parts = [masks[f"aorta_{part}"] for part in ("ascending", "arch", "descending")]
    assert np.array_equal(
        sum(part.astype(int) for part in parts), (chest.structures == CODES["aorta"]).astype(int)
    )
    ascending, arch, descending = (centre(part) for part in parts)
    assert arch[0] < ascending[0] < descending[0]
    assert ascending[1] < descending[1]
    assert np.nonzero(parts[1])[0].max() == 16


def test_arch_with_two_humps_is_one_arch(chest):
    structures = chest.structures.copy()
    structures[13, 14:17, 42:46] = structures[13, 24:29, 42:46] = CODES["aorta"]
    masks = masks_of(Scan(chest.hu, structures, SPACING, {}))
    assert set(np.nonzero(masks["aorta_arch"])[0].tolist()) == {13, 14, 15, 16}


def test_abdominal_aorta_that_comes_to_the_front_stays_descending(chest):
    structures = chest.structures.copy()
    structures[40:48, 25:29, 42:46] = 0
    structures[40:48, 14:18, 42:46] = CODES["aorta"]
    ascending = masks_of(Scan(chest.hu, structures, SPACING, {}))["aorta_ascending"]
    assert np.nonzero(ascending)[0].max() < 40


def test_scan_that_begins_below_the_arch(chest):
    low = Scan(chest.hu[18:], chest.structures[18:], SPACING, {})
    anatomy = derive(low)
    assert "outside the scan" in anatomy.absent["aorta_arch"]
    assert {"aorta_ascending", "aorta_descending"} <= set(masks_of(low))
    assert "T4 and T5" in anatomy.absent["mediastinum_upper"]
    assert anatomy.absent["t2"] == "outside the scan, which begins at t5"


def test_mediastinum_lies_between_the_lungs(chest, masks):
    whole, lungs = masks["mediastinum_overall"], masks["lung_overall"]
    assert not (whole & lungs).any()
    assert not (whole & masks["diaphragm"]).any()
    assert np.array_equal(whole & masks["heart"], masks["heart"])
    between = whole[10:30, 12:28, 34:46]
    assert between.mean() > 0.9
    assert abs(centre(whole)[2] - 40) < 2


def test_what_separates_a_lung_from_the_stomach_is_not_mediastinum(chest):
    structures = chest.structures.copy()
    lung = structures == CODES["lung_lower_lobe_left"]
    # a shallow lung but at the side: a sheet of 40 mm above the stomach
    lung[:28] = lung[:, :, 64:] = False
    structures[lung] = 0
    sheet = lung & (structures == 0)
    sheet[:, :, :52] = False  # beside the heart
    masks = masks_of(Scan(chest.hu, structures, SPACING, {}))
    assert sheet.sum() > 1000
    assert not (masks["mediastinum_overall"] & sheet).any()
    assert masks["mediastinum_overall"][10:30, 12:28, 34:46].mean() > 0.9


def test_mediastinum_is_divided_between_t4_and_t5(chest, masks):
    upper, lower = (
        np.nonzero(masks["mediastinum_upper"])[0],
        np.nonzero(masks["mediastinum_lower"])[0],
    )
    t4, t5 = (np.nonzero(chest.structures == CODES[f"vertebrae_T{i}"])[0] for i in (4, 5))
    assert upper.max() < lower.min()
    assert t4.mean() < lower.min() <= t5.mean()


def test_parts_of_the_lower_mediastinum(masks):
    parts = [masks[f"mediastinum_{part}"] for part in ("anterior", "middle", "posterior")]
    assert np.array_equal(
        sum(part.astype(int) for part in parts), masks["mediastinum_lower"].astype(int)
    )
    assert centre(parts[0])[1] < centre(parts[1])[1] < centre(parts[2])[1]
    assert (masks["heart"] & ~masks["mediastinum_middle"]).sum() == 0


def test_under_the_diaphragm(chest, masks):
    left, right = masks["hemidiaphragm_left"], masks["hemidiaphragm_right"]
    assert centre(right)[2] < 40 < centre(left)[2] + 0.5
    liver = chest.structures == CODES["liver"]
    assert (masks["diaphragm"] & liver).sum() > 0.9 * liver.sum()
    assert not (masks["diaphragm"] & (masks["lung_overall"] | masks["heart"])).any()
    assert np.array_equal(left | right, masks["diaphragm"])
    assert np.nonzero(masks["diaphragm"])[0].min() >= 33


def test_vessels_are_dense_and_inside(chest, masks):
    for side in ("left", "right"):
        vessel = masks[f"lung_{side}_vessel"]
        assert (chest.hu[vessel] > -400).all()
        assert not (vessel & ~masks[f"lung_{side}"]).any()
        assert vessel.sum() >= 20


def test_lung_without_air_has_no_vessels(chest):
    hu = chest.hu.copy()
    hu[chest.structures == CODES["lung_lower_lobe_right"]] = 30
    scan = Scan(hu, chest.structures, SPACING, {})
    assert {"lung_left_vessel", "lung_right"} <= set(masks_of(scan))
    assert "of the lung is dense" in derive(scan).absent["lung_right_vessel"]


@pytest.mark.parametrize("noise", [0, 1, 2])
def test_mirrored_scan_gives_the_mirrored_labels(chest, noise):
    structures = chest.structures.copy()
    rng = np.random.default_rng(noise)
    if noise:
        structures[rng.random(structures.shape) < 0.05] = 0
    scan = Scan(chest.hu, structures, SPACING, {})
    straight, other = masks_of(scan), masks_of(mirrored(scan))
    assert set(other) == {
        LABELS.names[LABELS.mirror[LABELS.names.index(name)]] for name in straight
    }
    for name, mask in straight.items():
        counterpart = LABELS.names[LABELS.mirror[LABELS.names.index(name)]]
        assert np.array_equal(other[counterpart], mask[:, :, ::-1]), name


@pytest.mark.parametrize(
    ("missing", "absent", "reason"),
    [
        (["heart"], "heart", "not in the segmentation"),
        (["heart"], "mediastinum_middle", "heart, or all its chambers, not in"),
        (["aorta"], "mediastinum_middle", "aorta not in"),
        (["liver"], "hemidiaphragm_right", ": liver not in"),
        (["liver"], "diaphragm", ": liver not in"),
        (["stomach"], "hemidiaphragm_left", "stomach or spleen not in"),
        (
            ["liver", "stomach"],
            "mediastinum_lower",
            "liver, stomach or spleen not in the segmentation",
        ),
        (
            ["lung_upper_lobe_left", "lung_lower_lobe_left"],
            "mediastinum_overall",
            "left lung not in",
        ),
        (["lung_upper_lobe_left", "lung_lower_lobe_left"], "lung_overall", "left lung not in"),
        (
            [f"rib_{side}_{i}" for side in ("left", "right") for i in range(1, 13)],
            "bones",
            "ribs not in",
        ),
        ([f"rib_left_{i}" for i in range(1, 13)], "ribs", "ribs of both sides not in"),
        (["vertebrae_T4"], "mediastinum_lower", "T4 and T5"),
        (["vertebrae_T4"], "t4", "not in the segmentation"),
        (["aorta"], "aorta_arch", "not in the segmentation"),
        (
            [f"vertebrae_{i}" for i in ("C7", "L1", *(f"T{k}" for k in range(1, 13)))],
            "hemidiaphragm_left",
            "midline",
        ),
        ([], "c3", "outside the scan, which begins at c7"),
        ([], "sacrum", "outside the scan, which ends at l1"),
        ([], "t13", "extra vertebra"),
    ],
)
def test_reasons(chest, missing, absent, reason):
    assert reason in derive(without(chest, *missing)).absent[absent]


def test_half_of_the_diaphragm_alone(chest):
    found = masks_of(without(chest, "stomach"))
    right, liver = found["hemidiaphragm_right"], chest.structures == CODES["liver"]
    assert "hemidiaphragm_left" not in found
    assert (right & liver).sum() > 0.9 * liver.sum()
    assert np.nonzero(right)[2].max() < 40


def test_an_atrial_appendage_is_no_heart_and_its_chambers_are_one(chest):
    def heart_of(*names):
        structures, heart = chest.structures.copy(), np.argwhere(chest.structures == CODES["heart"])
        for part, name in zip(np.array_split(heart, len(names)), names, strict=True):
            structures[tuple(part.T)] = CODES[name]
        return Scan(chest.hu, structures, SPACING, {})

    chambers = [
        f"heart_{part}_{side}" for part in ("atrium", "ventricle") for side in ("left", "right")
    ]
    assert "all its chambers" in derive(heart_of("atrial_appendage_left")).absent["heart"]
    assert "all its chambers" in derive(heart_of(*chambers)).absent["heart"]
    found = masks_of(heart_of(*chambers, "heart_myocardium"))["heart"]
    assert np.array_equal(found, chest.structures == CODES["heart"])


@given(st.integers(0, 10_000))
def test_convex_outline_holds_every_line_between_its_voxels(seed):
    rng = np.random.default_rng(seed)
    plane = rng.random(rng.integers(3, 14, 2)) > 0.8
    filled = convex(plane)
    assert (filled | ~plane).all()
    assert np.array_equal(convex(plane[:, ::-1]), filled[:, ::-1])
    points = np.argwhere(plane)
    for a in points[:6]:
        for b in points[-6:]:
            middle = (a + b) / 2
            if (middle == middle.round()).all():
                assert filled[tuple(middle.astype(int))]
    assert not plane.any() or np.array_equal(convex(filled), filled)
