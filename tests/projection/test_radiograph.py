"""Radiographs: line integrals of known matter, range and order of the gray levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.projection.radiograph import (
    Exposure,
    equalized,
    hounsfield_sums,
    line_integrals,
    radiograph,
)
from paxray_lib.projection.rays import Geometry


def test_line_integral_of_water_and_bone():
    hu = np.full((8, 10, 8), -1000, np.int16)
    hu[:, :, :4] = 0
    hu[:, :, 4:] = 1150
    geometry = Geometry(hu.shape, (2.0, 2.0, 2.0), 8, 2.0)
    depth = line_integrals(hu, geometry, "frontal", bone=1.5)
    assert depth[:, :4] == pytest.approx(20 * 0.0195)
    assert depth[:, 4:] == pytest.approx(20 * 0.0195 * (1 + 1.15 + 0.5))


@pytest.mark.parametrize("exposure", [None, Exposure(local=0, detail=0, equalize=0, gamma=2)])
def test_radiograph_range_and_air(exposure):
    depth = np.zeros((32, 32))
    depth[8:24, 8:24] = np.random.default_rng(0).uniform(1, 5, (16, 16))
    image = radiograph(depth, exposure)
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() <= 1
    assert not image[:8].any()
    assert not radiograph(np.zeros((8, 8)), exposure).any()


def test_exposure_without_processing_keeps_the_order_of_densities():
    depth = np.linspace(1, 5, 64).reshape(8, 8)
    image = radiograph(depth, Exposure(scatter=0, local=0, detail=0))
    assert (np.diff(image.ravel()) >= 0).all()


def test_sums_of_ct_numbers_are_counted_from_the_lowest():
    hu = np.full((6, 5, 6), -1024, np.int16)
    hu[:, 1:3, 2:4] = 76
    hu[:, 3, 2:4] = 32000
    sums = hounsfield_sums(hu, Geometry(hu.shape, (1, 1, 1), 6, 1.0), "frontal")
    assert (sums[:, 2:4] == 2 * 1100 + 4095).all()
    assert not sums[:, :2].any()
    assert not sums[:, 4:].any()


@given(st.integers(0, 10_000))
def test_equalised_image_is_the_rank_among_what_is_not_air(seed):
    sums = np.random.default_rng(seed).integers(0, 9, (7, 8)).astype(float)
    image = equalized(sums)
    matter = sums[sums > 0]
    for value, level in zip(sums.ravel(), image.ravel(), strict=True):
        assert level == np.float32((matter <= value).mean() if value > 0 else 0)


def test_equalised_air_is_black():
    assert not equalized(np.zeros((4, 4))).any()
