"""Mediastinum and what is under the diaphragm, on a chest of blocks."""

import numpy as np
import pytest
from helpers.chestdata import SPACING, centre, masks_of, without
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.ct.derive import derive
from paxray_lib.ct.mediastinum import convex
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES


@pytest.fixture(scope="module")
def masks(chest):
    return masks_of(chest)


@pytest.mark.parametrize(("cut", "level"), [(slice(14, None), 4), (slice(None, 18), 5)])
def test_vertebra_that_the_scan_cuts_divides_no_mediastinum(chest, cut, level):
    part = Scan(chest.hu[cut], chest.structures[cut], SPACING, {})
    found, absent = masks_of(part), derive(part).absent
    assert f"t{level}" in found
    assert "cut by it" in absent["mediastinum_upper"]
    assert "mediastinum_lower" not in found


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


def test_half_of_the_diaphragm_alone(chest):
    found = masks_of(without(chest, "stomach"))
    right, liver = found["hemidiaphragm_right"], chest.structures == CODES["liver"]
    assert "hemidiaphragm_left" not in found
    assert (right & liver).sum() > 0.9 * liver.sum()
    assert np.nonzero(right)[2].max() < 40


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
