"""Projection: orientation, exact mirror symmetry, true proportions, unions, and clear errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.projection.radiograph import (
    Exposure,
    equalized,
    hounsfield_sums,
    line_integrals,
    project,
    radiograph,
)
from paxray_lib.projection.rays import cast_shadows, fit_pixel, project_masks

NAMES = {
    1: "rib_left_anterior_3",
    2: "rib_right_posterior_3",
    3: "heart",
    4: ("mediastinum_middle", "mediastinum_lower"),
}


def random_case(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 24, 3))
    hu = rng.integers(-1024, 2500, shape).astype(np.int16)
    return (
        hu,
        (rng.random(shape) > 0.8) * rng.integers(0, 5, shape, dtype=np.uint8),
        tuple(rng.uniform(0.5, 3, 3)),
    )


@given(st.integers(0, 10_000), st.integers(3, 40))
def test_mirrored_volume_gives_the_mirrored_projection_exactly(seed, size):
    hu, volume, spacing = random_case(seed)
    names = {**NAMES, 1: "rib_left_anterior_3", 2: "rib_right_anterior_3"}
    other = {**NAMES, 1: "rib_right_anterior_3", 2: "rib_left_anterior_3"}
    straight = project(hu, spacing, [(volume, names)], size)
    mirrored = project(hu[:, :, ::-1], spacing, [(volume[:, :, ::-1], other)], size)
    assert np.array_equal(mirrored["frontal"][0], straight["frontal"][0][:, ::-1])
    assert mirrored["frontal"][1] == straight["frontal"][1].flip("frontal")
    assert np.array_equal(mirrored["lateral"][0], straight["lateral"][0])
    sides_swapped = straight["lateral"][1].flip("lateral").flip("frontal")
    assert mirrored["lateral"][1] == sides_swapped


def test_orientation():
    hu = np.full((20, 16, 16), -1000, np.int16)
    volume = np.zeros(hu.shape, np.uint8)
    volume[1:4, 7:9, 1:4] = 1  # high, right side of the patient
    volume[10:14, 13:16, 7:9] = 2  # low, at the back, in the middle
    views = project(hu, (1, 1, 1), [(volume, {1: "heart", 2: "t8"})], 20)
    place = {
        (v, n): np.argwhere(views[v][1].union(n)).mean(0) for v in views for n in ("heart", "t8")
    }
    # 20 columns, the 16 of the volume in the middle
    assert place["frontal", "heart"].tolist() == [2, 4]
    assert place["frontal", "t8"].tolist() == [11.5, 9.5]
    assert place["lateral", "t8"][1] > place["lateral", "heart"][1]  # spine on the right


@given(st.integers(0, 10_000))
def test_masks_at_voxel_resolution_are_shadows(seed):
    _, volume, _ = random_case(seed)
    size = max(volume.shape) + (max(volume.shape) % 2)
    volume = np.pad(volume, [(0, n % 2) for n in volume.shape])  # all even: the grids coincide
    for view, axis in (("frontal", 1), ("lateral", 2)):
        masks = project_masks(
            cast_shadows([(volume, NAMES)]), volume.shape, (1.0,) * 3, view, size, 1.0
        )
        expected = np.zeros((size, size), bool)
        shadow = (volume == 3).any(axis=axis)
        top, left = (size - shadow.shape[0]) // 2, (size - shadow.shape[1]) // 2
        expected[top : top + shadow.shape[0], left : left + shadow.shape[1]] = shadow
        assert np.array_equal(masks.union("heart"), expected)


@given(st.integers(0, 10_000), st.integers(3, 40))
def test_wholes_are_the_unions_of_their_parts(seed, size):
    hu, volume, spacing = random_case(seed)
    for _, masks in project(hu, spacing, [(volume, NAMES)], size).values():
        stack = masks.unpack()
        for whole, parts in enumerate(LABELS.children):
            if parts:
                assert np.array_equal(stack[whole], stack[list(parts)].any(0)), LABELS.names[whole]
        assert np.array_equal(stack[11], stack[14])  # two labels of one value


def test_line_integral_of_water_and_bone():
    hu = np.full((8, 10, 8), -1000, np.int16)
    hu[:, :, :4] = 0
    hu[:, :, 4:] = 1150
    depth = line_integrals(hu, (2.0, 2.0, 2.0), "frontal", 8, 2.0, bone=1.5)
    assert np.allclose(depth[:, :4], 20 * 0.0195)
    assert np.allclose(depth[:, 4:], 20 * 0.0195 * (1 + 1.15 + 0.5))


def test_proportions_are_true_for_anisotropic_voxels():
    volume = np.zeros((20, 40, 80), np.uint8)
    volume[5:15, 10:30, 20:60] = 1  # a cube of 40 mm
    masks = project(np.zeros(volume.shape, np.int16), (4.0, 2.0, 1.0), [(volume, {1: "heart"})], 40)
    for _, view in masks.values():
        rows, columns = np.nonzero(view.union("heart"))
        assert np.ptp(rows) == np.ptp(columns) == 19  # 40 mm at 2 mm a pixel


def test_coarse_voxels_are_interpolated():
    hu = np.full((4, 2, 2), -1000, np.int16)
    hu[2:] = 0
    depth = line_integrals(hu, (5.0, 5.0, 5.0), "frontal", 20, 1.0)
    column = depth[:, 10]
    assert (np.diff(column[:15]) >= 0).all()
    assert len(np.unique(column.round(6))) > 4


def test_labels_of_the_callers_choice():
    labels = LabelSet(["heart", "mediastinum_overall"])
    volume = np.ones((6, 6, 6), np.uint8)
    masks = project(
        np.zeros(volume.shape, np.int16), (1, 1, 1), [(volume, {1: "heart"})], 6, labels
    )["frontal"][1]
    assert masks.counts().tolist() == [36, 36]


def test_radiograph_range_and_air():
    depth = np.zeros((32, 32))
    depth[8:24, 8:24] = np.random.default_rng(0).uniform(1, 5, (16, 16))
    for exposure in (None, Exposure(local=0, detail=0, equalize=0, gamma=2)):
        image = radiograph(depth, exposure)
        assert image.dtype == np.float32
        assert image.min() == 0
        assert image.max() <= 1
        assert not image[:8].any()
    assert not radiograph(np.zeros((8, 8))).any()


def test_plain_exposure_keeps_the_order_of_densities():
    depth = np.linspace(1, 5, 64).reshape(8, 8)
    image = radiograph(depth, Exposure(scatter=0, local=0, detail=0))
    assert (np.diff(image.ravel()) >= 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hu": np.zeros((4, 4, 4))}, "int16"),
        ({"hu": np.zeros((4, 4), np.int16)}, "z, y, x"),
        ({"spacing": (1, 0, 1)}, "spacing"),
        ({"size": 0}, "size"),
        ({"volumes": [(np.zeros((4, 4, 5), np.uint8), {1: "heart"})]}, "does not fit"),
        ({"volumes": [(np.ones((4, 4, 4), np.uint8), {1: "hart"})]}, "heart"),
    ],
)
def test_errors_name_what_is_wrong(change, message):
    arguments = {
        "hu": np.zeros((4, 4, 4), np.int16),
        "spacing": (1, 1, 1),
        "volumes": [],
        "size": 8,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        project(**arguments)


def test_fit_pixel():
    assert fit_pixel((100, 50, 200), (2.0, 1.0, 0.5), 100) == 2.0


def test_sums_of_ct_numbers_are_counted_from_the_lowest():
    hu = np.full((6, 5, 6), -1024, np.int16)
    hu[:, 1:3, 2:4] = 76
    hu[:, 3, 2:4] = 32000
    sums = hounsfield_sums(hu, (1, 1, 1), "frontal", 6, 1.0)
    assert (sums[:, 2:4] == 2 * 1100 + 4095).all()
    assert not sums[:, :2].any()
    assert not sums[:, 4:].any()


@given(st.integers(0, 10_000))
def test_equalised_picture_is_the_rank_among_what_is_not_air(seed):
    sums = np.random.default_rng(seed).integers(0, 9, (7, 8)).astype(float)
    image = equalized(sums)
    matter = sums[sums > 0]
    for value, level in zip(sums.ravel(), image.ravel(), strict=True):
        assert level == np.float32((matter <= value).mean() if value > 0 else 0)


def test_equalised_air_is_black():
    assert not equalized(np.zeros((4, 4))).any()
