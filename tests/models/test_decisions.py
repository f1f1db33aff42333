"""From logits to packed bits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.models.decisions import pack_decisions


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.2, 0.5, 0.9]),
    st.booleans(),
    st.sampled_from(["float32", "float64", "bfloat16"]),
)
def test_logits_equal_thresholded_probabilities(seed, threshold, channels_last, dtype):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(3 * rng.standard_normal((2, 11, 5, 4))).to(getattr(torch, dtype))
    above = (logits.double().sigmoid() > threshold).numpy()
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    expected = np.packbits(above.transpose(0, 2, 3, 1), axis=-1, bitorder="little")
    np.testing.assert_array_equal(pack_decisions(logits, threshold).numpy(), expected)


def test_the_threshold_is_strict_and_nan_is_not_above():
    logits = torch.tensor([0.0, 1e-6, float("nan"), -1e-6]).reshape(1, 4, 1, 1)
    assert pack_decisions(logits).item() == 0b0010


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"threshold 1\.0"):
        pack_decisions(torch.zeros(1, 1, 2, 2), 1.0)
    with pytest.raises(ValueError, match=r"\(1, 2, 2\)"):
        pack_decisions(torch.zeros(1, 2, 2))
