"""The body without table, and bounded contrast agent and metal."""

import numpy as np
import pytest
from helpers.chestdata import SPACING

from paxray_lib.ct.body import body_mask, bounding_box, disk, limit_contrast
from paxray_lib.ct.structures import CODES


def test_body_is_filled_and_without_the_table(chest):
    body = body_mask(chest.hu, SPACING)
    assert body[:, 5:41, 8:72].all()  # lungs and trachea too
    assert not body[:, 44:].any()
    assert not body[:, :, :5].any()


def test_body_is_the_largest_piece():
    hu = np.full((4, 60, 60), -1000, np.int16)
    hu[:, 5:30, 5:30] = 0
    hu[:, 40:55, 40:55] = 0
    body = body_mask(hu, (1.0, 1.0, 1.0))
    assert body[:, 10:25, 10:25].all()
    assert not body[:, 35:].any()


def test_mirrored_volume_gives_the_mirrored_body(chest):
    noisy = chest.hu + np.random.default_rng(0).normal(0, 200, chest.hu.shape).astype(np.int16)
    straight = body_mask(noisy, SPACING)
    assert np.array_equal(body_mask(noisy[:, :, ::-1], SPACING), straight[:, :, ::-1])


def test_contrast_agent_and_metal_are_bounded(chest):
    hu = chest.hu.copy()
    aorta, spine = chest.structures == CODES["aorta"], chest.structures == CODES["vertebrae_T5"]
    hu[aorta], hu[spine] = 900, 3000
    hu[25, 20, 20] = 3071  # metal in the lung
    hu[25, 12, 72] = 700  # unsegmented, far from bone
    out = limit_contrast(hu, chest.structures, body_mask(chest.hu, SPACING), SPACING)
    assert out[aorta].max() == 100
    assert set(out[spine].tolist()) == {2000}
    assert out[25, 20, 20] == out[25, 12, 72] == 100
    assert (out[chest.structures == CODES["rib_left_5"]] == 350).all()
    assert (out[:, 44:] == -1024).all()


def test_unsegmented_matter_at_a_bone_may_be_bone(chest):
    hu, structures = chest.hu.copy(), chest.structures.copy()
    hu[20, 34, 44] = 900  # right beside the vertebra, one voxel of 3 mm
    out = limit_contrast(hu, structures, body_mask(hu, SPACING), SPACING)
    assert out[20, 34, 44] == 400


@pytest.mark.parametrize("missing", ["rib_", "vertebrae_"])
def test_bones_that_are_not_segmented_stay_bright(chest, missing):
    codes = [code for name, code in CODES.items() if name.startswith(missing)]
    structures = np.where(np.isin(chest.structures, codes), np.uint8(0), chest.structures)
    hu = np.where(np.isin(chest.structures, [*codes, CODES["aorta"]]), np.int16(900), chest.hu)
    out = limit_contrast(hu, structures, body_mask(hu, SPACING), SPACING)
    assert set(out[np.isin(chest.structures, codes)].tolist()) == {400}
    assert out[structures == CODES["aorta"]].max() == 100


def test_box_has_all_slices(chest):
    body = body_mask(chest.hu, SPACING)
    box = bounding_box(body)
    assert body[box].sum() == body.sum()
    assert body[box].shape[0] == body.shape[0]
    assert body[box].any(axis=(0, 1)).all()


def test_disk_is_symmetric_and_in_mm():
    kernel = disk(4.0, (9.0, 2.0, 1.0))
    assert kernel.shape == (5, 9)
    assert np.array_equal(kernel, kernel[::-1, ::-1])


def test_nothing_is_no_body():
    with pytest.raises(ValueError, match="-200 HU"):
        body_mask(np.full((3, 9, 9), -1000, np.int16), (1, 1, 1))
