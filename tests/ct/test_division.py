"""Ribs and aorta divided into their parts."""

import numpy as np
import pytest
from helpers.chestdata import SPACING, centre, masks_of

from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES


@pytest.fixture(scope="module")
def masks(chest):
    return masks_of(chest)


@pytest.mark.parametrize("cut", [slice(19, None), slice(None, 20)])
def test_ribs_that_the_scan_cuts_are_not_divided(chest, cut):
    part = Scan(chest.hu[cut], chest.structures[cut], SPACING, {})
    found, absent = masks_of(part), derive(part).absent
    assert {"rib_left_5", "rib_right_5", "ribs"} <= set(found)
    for name in ("rib_left_anterior_5", "rib_right_posterior_5", "rib_anterior_5"):
        assert absent[name] == "cut by the scan"
    assert {"rib_left_anterior_6", "rib_left_anterior_4"} & set(found)


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
