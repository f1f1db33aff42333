"""The heat map against a slow oracle that follows its rules pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, Probabilities
from paxray_lib.viewer.widget import LabelViewer
from paxray_lib.viz.heat import ONE, STOPS, TARGET, THRESHOLD, color_table, draw_heat, enlarge

SIDE = st.integers(1, 9)
HUNDREDTHS = st.integers(1, 99)


def slow_value(plane, size, row, column):
    """Rule 1 at one pixel."""
    low, high, weight = [], [], []
    for i, length, count in zip((row, column), size, plane.shape, strict=True):
        at = min(max((2 * i + 1) * count - length, 0), 2 * length * (count - 1))
        low.append(at // (2 * length))
        high.append(min(low[-1] + 1, count - 1))
        weight.append(at % (2 * length) * 256 // (2 * length))
    total = 0
    for y, part in ((low[0], 256 - weight[0]), (high[0], weight[0])):
        for x, share in ((low[1], 256 - weight[1]), (high[1], weight[1])):
            total += int(plane[y, x]) * part * share
    return total


def slow_values(plane, size):
    values = np.zeros(size, int)
    for row, column in np.ndindex(*size):
        values[row, column] = slow_value(plane, size, row, column)
    return values


def is_border(mask, row, column):
    if not mask[row, column]:
        return False
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    inside = [0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] for y, x in around]
    return not all(ok and mask[place] for ok, place in zip(inside, around, strict=True))


@given(SIDE, SIDE, SIDE, SIDE, HUNDREDTHS, st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_map_threshold_and_outlines_are_those_of_the_rules(h, w, height, width, t, alpha, seed):
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 256, (h, w), np.uint8)
    base = rng.integers(0, 256, (height, width, 3), np.uint8)
    target = rng.random((height, width)) < 0.6
    canvas, values = base.copy(), slow_values(plane, (height, width))
    draw_heat(canvas, plane, t / 100, target, alpha=alpha, outline=1, dashed=False)
    found = values * 100 > t * 255 * 65536
    for row, column in np.ndindex(height, width):
        p = (values[row, column] + 32768) // 65536
        expected = base[row, column].tolist()
        if p >= 3:
            mixed = zip(expected, color_table()[p].tolist(), strict=True)
            expected = [(old * (255 - alpha) + new * alpha + 127) // 255 for old, new in mixed]
        if is_border(target, row, column):
            expected = list(TARGET)
        if is_border(found, row, column):
            expected = list(THRESHOLD)
        assert canvas[row, column].tolist() == expected


@given(SIDE, SIDE, st.integers(0, 2**32 - 1))
def test_enlarged_values_are_those_of_torch(h, w, seed):
    plane = np.random.default_rng(seed).integers(0, 256, (h, w), np.uint8)
    size = (23, 17)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(plane[None, None].astype(np.float64)), size, mode="bilinear"
    )
    difference = enlarge(plane, size) / 65536 - expected[0, 0].numpy()
    assert np.abs(difference).max() < 2.1  # weights of 8 bits


def test_the_scale_goes_through_its_stops():
    table = color_table()
    assert tuple(table[0]) == STOPS[0]
    assert tuple(table[255]) == STOPS[-1]
    light = table.astype(int) @ [299, 587, 114]
    assert (np.diff(light[::4]) > 0).all(), "the higher, the lighter"
    assert enlarge(np.full((2, 3), 255, np.uint8), (7, 5)).tolist() == [[ONE] * 5] * 7


def film(**options):
    labels = LabelSet(["heart", "aorta"])
    target = np.zeros((2, 8, 8), bool)
    target[0, 2:6, 2:6] = True
    values = np.zeros((1, 4, 4), np.uint8)
    values[0, 1:3, 1:3] = 200
    probabilities = Probabilities(values, LabelSet(["heart"]))
    masks = PackedMasks.pack(target, labels)
    image = np.full((8, 8), 90, np.uint8)
    return LabelViewer(image, masks, probabilities=probabilities, mode="probability", **options)


def test_the_viewer_draws_the_label_that_has_one():
    viewer = film()
    shown = np.asarray(viewer.to_image())
    viewer.heat_label = "aorta"  # it has none: the first one that has is shown
    np.testing.assert_array_equal(np.asarray(viewer.to_image()), shown)
    viewer.thresholds = {"heart": 0.9}
    assert (np.asarray(viewer.to_image()) != shown).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heat_label", "hart"),
        ("thresholds", {"hart": 0.5}),
        ("thresholds", {"heart": 1.0}),
        ("mode", "probabilities"),
    ],
)
def test_wrong_values_are_refused(name, value):
    with pytest.raises(Exception, match=r"hart|threshold|probabilities"):
        setattr(film(), name, value)


def test_a_threshold_is_held_in_hundredths():
    viewer = film()
    viewer.thresholds = {"heart": 0.123456}
    assert viewer.thresholds == {"heart": 0.12}
