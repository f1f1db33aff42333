"""Rays: orientation, exact mirror symmetry, true proportions, unions, and clear errors."""

import numpy as np
import pytest
from helpers.volumes import NAMES, project, random_case
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.projection.radiograph import line_integrals
from paxray_lib.projection.rays import Geometry, cast_shadows, project_masks


@given(st.integers(0, 10_000), st.integers(3, 40))
def test_mirrored_volume_gives_the_mirrored_projection_exactly(seed, size):
    hu, volume, spacing = random_case(seed)
    names = {**NAMES, 1: ("rib_left_anterior_3",), 2: ("rib_right_anterior_3",)}
    other = {**NAMES, 1: ("rib_right_anterior_3",), 2: ("rib_left_anterior_3",)}
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
    views = project(hu, (1, 1, 1), [(volume, {1: ("heart",), 2: ("t8",)})], 20)
    centre = {
        (view, name): np.argwhere(views[view][1].union(name)).mean(0)
        for view in views
        for name in ("heart", "t8")
    }
    # 20 columns, the 16 of the volume in the middle
    assert centre["frontal", "heart"].tolist() == [2, 4]
    assert centre["frontal", "t8"].tolist() == [11.5, 9.5]
    assert centre["lateral", "t8"][1] > centre["lateral", "heart"][1]  # spine on the right


@given(st.integers(0, 10_000))
def test_masks_at_voxel_resolution_are_shadows(seed):
    _, volume, _ = random_case(seed)
    size = max(volume.shape) + (max(volume.shape) % 2)
    volume = np.pad(volume, [(0, n % 2) for n in volume.shape])  # all even: the grids coincide
    geometry = Geometry(volume.shape, (1.0,) * 3, size, 1.0)
    for view, axis in (("frontal", 1), ("lateral", 2)):
        masks = project_masks(cast_shadows([(volume, NAMES)]), geometry, view)
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


def test_proportions_are_true_for_anisotropic_voxels():
    volume = np.zeros((20, 40, 80), np.uint8)
    volume[5:15, 10:30, 20:60] = 1  # a cube of 40 mm
    hu, spacing = np.zeros(volume.shape, np.int16), (4.0, 2.0, 1.0)
    for _, masks in project(hu, spacing, [(volume, {1: ("heart",)})], 40).values():
        rows, columns = np.nonzero(masks.union("heart"))
        assert np.ptp(rows) == np.ptp(columns) == 19  # 40 mm at 2 mm per pixel


def test_coarse_voxels_are_interpolated():
    hu = np.full((4, 2, 2), -1000, np.int16)
    hu[2:] = 0
    geometry = Geometry((4, 2, 2), (5.0, 5.0, 5.0), 20, 1.0)
    column = line_integrals(hu, geometry, "frontal")[:, 10]
    assert (np.diff(column[:15]) >= 0).all()
    assert len(np.unique(column.round(6))) > 4


def test_labels_of_the_callers_choice():
    labels = LabelSet(["heart", "mediastinum_overall"])
    volume = np.ones((6, 6, 6), np.uint8)
    hu = np.zeros(volume.shape, np.int16)
    views = project(hu, (1, 1, 1), [(volume, {1: ("heart",)})], 6, labels)
    assert views["frontal"][1].counts().tolist() == [36, 36]


def test_fit_is_the_smallest_that_holds_the_volume():
    assert Geometry.fit((100, 50, 200), (2.0, 1.0, 0.5), 100).pixel_mm == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hu": np.zeros((4, 4, 4))}, "int16"),
        ({"hu": np.zeros((4, 4), np.int16)}, "z, y, x"),
        ({"spacing": (1, 0, 1)}, "spacing"),
        ({"size": 0}, "size"),
        ({"volumes": [(np.ones((4, 4, 4), np.uint8), {1: ("hart",)})]}, "heart"),
    ],
)
def test_errors_name_what_is_wrong(change, message):
    hu = np.zeros((4, 4, 4), np.int16)
    arguments = {"hu": hu, "spacing": (1, 1, 1), "volumes": [], "size": 8} | change
    with pytest.raises(ValueError, match=message):
        project(**arguments)
