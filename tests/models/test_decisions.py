"""From logits to packed bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.models.decisions import pack_decisions, quantize


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.2, 0.5, 0.9]),
    st.sampled_from(["float32", "float64"]),
)
def test_logits_equal_thresholded_probabilities(seed, threshold, dtype):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.standard_normal((11, 5, 4))).astype(dtype)
    above = 1 / (1 + np.exp(-logits.astype(np.float64))) > threshold
    expected = np.packbits(above.transpose(1, 2, 0), axis=-1, bitorder="little")
    np.testing.assert_array_equal(pack_decisions(logits, threshold), expected)


def test_the_threshold_is_strict_and_nan_is_not_above():
    logits = np.array([0.0, 1e-6, float("nan"), -1e-6], np.float32).reshape(4, 1, 1)
    assert pack_decisions(logits).item() == 0b0010


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"threshold 1\.0"):
        pack_decisions(np.zeros((1, 2, 2)), 1.0)
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\)"):
        pack_decisions(np.zeros((1, 1, 2, 2)))
    assert quantize(np.array([-1e4, -1.0, 0.0, 1e4], np.float32)).tolist() == [0, 69, 128, 255]
