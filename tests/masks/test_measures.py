import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.measures import moments
from paxray_lib.masks.packed import PackedMasks


def slow_moments(stack, pixels):
    areas = stack.sum((1, 2))
    height, width = pixels.shape
    places = [ndimage.center_of_mass(mask) if mask.any() else (np.nan, np.nan) for mask in stack]
    rows, columns = np.array(places).T
    bright = [pixels[mask].mean() if mask.any() else np.nan for mask in stack]
    shared = np.array([[(a & b).sum() for b in stack] for a in stack])
    return areas, (rows + 0.5) / height, (columns + 0.5) / width, bright, shared


@given(
    stack=st.tuples(st.sampled_from([1, 3, 9, 70]), st.integers(1, 7), st.integers(1, 7)).flatmap(
        lambda shape: arrays(bool, shape)
    ),
    seed=st.integers(0, 99),
)
def test_moments_agree_with_loops_over_masks(stack, seed):
    pixels = np.random.default_rng(seed).random(stack.shape[1:])
    found = moments(PackedMasks.pack(stack, LabelSet([f"l{i}" for i in range(len(stack))])), pixels)
    for name, expected in zip(
        ("areas", "rows", "columns", "brightness", "shared"),
        slow_moments(stack, pixels),
        strict=True,
    ):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, err_msg=name)
    assert found.areas.dtype == found.shared.dtype == np.int64


def test_moments_without_an_image():
    found = moments(PackedMasks.pack(np.ones((1, 2, 3), bool), LabelSet(["a"])))
    assert np.isnan(found.brightness).all()
    assert found.rows.tolist() == found.columns.tolist() == [0.5]
