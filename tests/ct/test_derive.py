"""Derived labels: a reason for each that is absent, mirror symmetry, vessels of the lungs."""

import numpy as np
import pytest
from helpers.chestdata import SPACING, masks_of, mirrored

from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES
from paxray_lib.labels.table import LABELS


@pytest.fixture(scope="module")
def masks(chest):
    return masks_of(chest)


def test_every_label_is_there_or_has_a_reason(chest, masks):
    absent = derive(chest).absent
    assert set(absent) | set(masks) == set(LABELS.names)
    assert not set(absent) & set(masks)


def test_scan_that_begins_below_the_arch(chest):
    low = Scan(chest.hu[18:], chest.structures[18:], SPACING, {})
    anatomy = derive(low)
    assert "outside the scan" in anatomy.absent["aorta_arch"]
    assert {"aorta_ascending", "aorta_descending"} <= set(masks_of(low))
    assert "T4 and T5" in anatomy.absent["mediastinum_upper"]
    assert anatomy.absent["t2"] == "outside the scan, which begins at t5"


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
