import numpy as np
import pytest
from helpers.slow_strokes import SlowEditor
from helpers.stroke_strategies import LABELS, closed_stack, strokes
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.strokes import MAX_UNDO, MaskEditor, brush, polygon


@given(st.lists(strokes, min_size=1, max_size=8), st.integers(0, 9))
def test_strokes_give_what_the_slow_editor_gives(records, seed):
    stack, prediction = closed_stack(seed), closed_stack(seed + 1)
    before = PackedMasks.pack(stack, LABELS)
    fast = MaskEditor(before, PackedMasks.pack(prediction, LABELS))
    slow = SlowEditor(stack, LABELS.parents, prediction)
    for record in records:
        fast.apply(record)
        slow.apply(record)
        np.testing.assert_array_equal(fast.masks.unpack(), slow.stack())
        assert fast.masks.known.tolist() == slow.known
    np.testing.assert_array_equal(before.unpack(), stack)  # the masks given are a reader's own


def test_a_brush_of_one_pixel_and_of_two():
    at = np.array([[16 * 4 + 8, 16 * 3 + 8]])
    assert np.argwhere(brush(at, 16, (8, 9))).tolist() == [[3, 4]]
    assert brush(at, 32, (8, 9)).sum() == 5  # the four neighbours are just within
    assert brush(at, 31, (8, 9)).sum() == 1
    assert brush(np.array([[-800, 0]]), 32, (8, 9)).sum() == 0


def test_a_polygon_shares_no_pixel_with_its_neighbour():
    left, right = (
        [[0, 0], [72, 0], [72, 160], [0, 160]],
        [[72, 0], [160, 0], [160, 160], [72, 160]],
    )
    masks = [polygon(np.array(points), (10, 10)) for points in (left, right)]
    assert (masks[0] ^ masks[1]).all()


def test_undo_is_kept_for_a_limited_number_of_steps():
    editor = MaskEditor(PackedMasks.pack(np.zeros((10, 4, 200), bool), LABELS))
    for k in range(MAX_UNDO + 20):
        editor.apply({"mode": "add", "label": 8, "points": [[16 * k + 8, 24]], "size": 16})
    for _ in range(MAX_UNDO + 50):
        editor.apply({"mode": "undo"})
    assert editor.masks.counts()[8] == 20
    for _ in range(MAX_UNDO + 50):
        editor.apply({"mode": "redo"})
    assert editor.masks.counts()[8] == MAX_UNDO + 20


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"mode": "paint"},
        {"mode": "add", "label": 10, "points": [[1, 1]]},
        {"mode": "add", "label": -1, "points": [[1, 1]]},
        {"mode": "add", "label": True, "points": [[1, 1]]},
        {"mode": "add", "label": 1, "points": []},
        {"mode": "add", "label": 1, "points": [[1]]},
        {"mode": "add", "label": 1, "points": "ab"},
        {"mode": "add", "label": 1, "points": [[1, 1.5]]},
        {"mode": "add", "label": 1, "points": [[1, 2**40]]},
        {"mode": "add", "label": 1, "points": [[0, 0], [5000, 0]]},
        {"mode": "add", "label": 1, "points": [[1, 1]], "size": 0},
        {"mode": "add", "label": 1, "points": [[1, 1]], "size": 5000},
        {"mode": "add", "label": 1, "points": [[1, 1]], "shape": "star"},
        {"mode": "add", "label": 1, "points": [[1, 1]], "tree": 1},
        {"mode": "rename", "label": 1, "points": [[1, 1]], "to": 99},
    ],
)
def test_records_that_are_no_stroke_are_refused(record):
    editor = MaskEditor(PackedMasks.pack(np.zeros((10, 4, 5), bool), LABELS))
    with pytest.raises(ValueError, match="stroke"):
        editor.apply(record)
    assert not editor.masks.data.any()
