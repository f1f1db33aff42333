"""Comparison of pixels with integers of a full scale."""

import numpy as np


def same(pixels, integers, full):
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, integers.astype(np.float32) / np.float32(full))
