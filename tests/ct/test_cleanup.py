"""Strays: loose pieces of bones, and a few voxels on the wrong side."""

import numpy as np
import pytest
from helpers.chestdata import SPACING, masks_of, without

from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES


@pytest.fixture(scope="module")
def masks(chest):
    return masks_of(chest)


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
        len(found[name].nonzero()[0]) for name in found if name in CODES and name.startswith("rib_")
    )


def test_large_structures_on_the_wrong_side_stay(chest):
    swapped = chest.structures.copy()
    for rib, other in (("rib_left_5", "rib_right_5"), ("rib_right_5", "rib_left_5")):
        swapped[chest.structures == CODES[rib]] = CODES[other]
    assert {"rib_left_5", "rib_right_5"} <= set(
        masks_of(Scan(chest.hu, swapped, chest.spacing, {}))
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
