import numpy as np

from paxray_lib.viz.plots.style import as_bytes, new_figure


def test_bytes_are_rounded():
    np.testing.assert_array_equal(as_bytes(np.array([0, 0.5 / 255, 0.999, 1])), [0, 0, 255, 255])


def test_a_notebook_can_show_a_figure():
    assert new_figure(1, 1)._repr_png_().startswith(b"\x89PNG")
