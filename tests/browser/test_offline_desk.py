"""Correcting masks with mouse and keys in Chromium, in a page from disk."""

import json

import numpy as np
import pytest
from helpers.viewer_page import at, drag, element, exported, ready, strokes, write_page

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.strokes import MaskEditor
from paxray_lib.viewer.replay import read_strokes, save_strokes
from paxray_lib.viewer.sources import from_dataset
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser

HEART, AORTA, LUNG, LUNGS = (
    LABELS.index(name)[0] for name in ("heart", "aorta", "lung_left", "lung_overall")
)


@pytest.fixture(scope="module")
def scene():
    stack = np.zeros((166, 60, 60), bool)
    stack[HEART, 20:40, 20:40] = True
    stack[HEART, 28:32, 28:32] = False  # a hole
    stack[LUNG, 5:15, 5:15] = stack[LUNGS, 5:15, 5:30] = True
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    prediction = np.roll(stack, 4, 2)
    return pixels, PackedMasks.pack(stack, LABELS), PackedMasks.pack(prediction, LABELS)


@pytest.fixture
def desk(scene, open_page, tmp_path):
    viewer = LabelViewer(*scene, selected=["heart", "lung_left"], mode="target", editable=True)
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    element(page, "edit-label").select_option(str(HEART))
    return page


def corrected(page, scene):
    """What Python makes of the page's strokes; the page must show the same."""
    editor = MaskEditor(*scene[1:])
    for record in strokes(page):
        editor.apply(record)
    element(page, "zoom-reset").click()
    page.wait_for_timeout(150)  # scores and tree follow a moment later
    names = json.loads(copied_quietly(page))
    expected = LabelViewer(scene[0], editor.masks, scene[2], selected=names, mode="target")
    np.testing.assert_array_equal(exported(page), np.asarray(expected.to_image()))
    element(page, "mode-difference").click()
    expected.mode = "difference"
    np.testing.assert_array_equal(exported(page), np.asarray(expected.to_image()))
    element(page, "mode-target").click()
    return editor.masks


def copied_quietly(page):
    element(page, "copy").click()
    return element(page, "copied").input_value()


def test_brush_and_eraser_at_any_zoom(desk, scene):
    desk.keyboard.press("b")
    element(desk, "tool-brush").click()
    drag(desk, (50, 10), (50, 40))
    masks = corrected(desk, scene)
    assert masks.unpack()[HEART, 50, 10:41].all()
    for _ in range(3):
        element(desk, "zoom-in").click()
    element(desk, "tool-eraser").click()
    drag(desk, (30, 22), (30, 35))
    erased = corrected(desk, scene)
    assert not erased.unpack()[HEART, 30, 22:36].any()
    assert len(strokes(desk)) == 2


@pytest.mark.slow
def test_the_tree_is_kept_unless_it_is_switched_off(desk, scene):
    element(desk, "edit-label").select_option(str(LUNG))
    element(desk, "tool-brush").click()
    drag(desk, (50, 45), (50, 50))
    masks = corrected(desk, scene).unpack()
    assert masks[LUNG, 50, 47]
    assert masks[LUNGS, 50, 47]
    element(desk, "edit-label").select_option(str(LUNGS))
    element(desk, "tool-eraser").click()
    drag(desk, (10, 6), (10, 12))
    masks = corrected(desk, scene).unpack()
    assert not masks[LUNG, 10, 8]
    element(desk, "undo").click()
    element(desk, "follow").uncheck()
    drag(desk, (10, 6), (10, 12))
    masks = corrected(desk, scene).unpack()
    assert masks[LUNG, 10, 8]
    assert not masks[LUNGS, 10, 8]


@pytest.mark.slow
def test_polygon_cut_and_hole_by_keys(desk, scene):
    element(desk, "stage").focus()
    desk.keyboard.press("g")
    for place in ((45, 5), (45, 25), (55, 15)):
        desk.mouse.click(*at(desk, *place))
    desk.keyboard.press("Enter")
    masks = corrected(desk, scene).unpack()
    assert masks[HEART, 50, 15]
    element(desk, "stage").focus()
    desk.keyboard.press("x")
    for place in ((44, 4), (44, 26), (56, 15)):
        desk.mouse.click(*at(desk, *place))
    desk.mouse.dblclick(*at(desk, 50, 10))
    assert not corrected(desk, scene).unpack()[HEART, 48, 15]
    element(desk, "stage").focus()
    desk.keyboard.press("f")
    desk.mouse.click(*at(desk, 30, 30))
    assert corrected(desk, scene).unpack()[HEART, 20:40, 20:40].all()
    element(desk, "stage").focus()
    desk.keyboard.press("z")
    assert not corrected(desk, scene).unpack()[HEART, 30, 30]
    element(desk, "stage").focus()
    desk.keyboard.press("y")
    assert corrected(desk, scene).unpack()[HEART, 30, 30]


@pytest.mark.slow
def test_rename_copy_and_not_annotated(desk, scene):
    element(desk, "tool-rename").click()
    element(desk, "rename-to").select_option(str(AORTA))
    desk.mouse.click(*at(desk, 22, 22))
    masks = corrected(desk, scene)
    assert masks.counts()[HEART] == 0
    assert masks.counts()[AORTA] == scene[1].counts()[HEART]
    element(desk, "copy-prediction").click()
    masks = corrected(desk, scene)
    assert (masks.unpack()[HEART] == scene[2].unpack()[HEART]).all()
    element(desk, "unknown").check()
    masks = corrected(desk, scene)
    assert not masks.known[HEART]
    assert masks.counts()[HEART] == 0
    element(desk, "tool-brush").click()
    drag(desk, (50, 10), (50, 20))  # changes nothing
    assert corrected(desk, scene).counts()[HEART] == 0
    for _ in range(4):
        element(desk, "undo").click()
    masks = corrected(desk, scene)
    assert masks == scene[1]
    assert not element(desk, "unknown").is_checked()


def test_every_key_is_explained(desk):
    element(desk, "stage").focus()
    for key, tool in {"e": "eraser", "m": "rename", "v": "point", "b": "brush"}.items():
        desk.keyboard.press(key)
        assert element(desk, f"tool-{tool}").get_attribute("aria-pressed") == "true"
    assert element(desk, "keys").inner_text().startswith("Brush: paint. Keys: v point, b brush")
    size = element(desk, "brush-size").input_value()
    desk.keyboard.press("]")
    assert int(element(desk, "brush-size").input_value()) > int(size)
    desk.mouse.move(*at(desk, 10, 8))
    desk.keyboard.press("l")
    assert element(desk, "edit-label").input_value() == str(LUNG)
    desk.keyboard.press("t")
    assert not element(desk, "follow").is_checked()
    desk.keyboard.press("?")
    assert "the label under the pointer" in element(desk, "hint").inner_text().replace(
        "smallest ", ""
    )


def test_a_page_opens_with_the_strokes_that_were_made(desk, scene, open_page, tmp_path):
    element(desk, "tool-brush").click()
    drag(desk, (50, 10), (50, 40))
    viewer = LabelViewer(*scene, selected=["heart", "lung_left"], mode="target", editable=True)
    for record in strokes(desk):
        viewer._corrections.add(0, record)
    (tmp_path / "second").mkdir()
    page = open_page()
    page.goto(write_page(viewer, tmp_path / "second"))
    ready(page)
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))
    assert viewer.corrected().unpack()[HEART, 50, 10:41].all()
    element(page, "undo").click()
    np.testing.assert_array_equal(
        exported(page),
        np.asarray(LabelViewer(*scene, selected=viewer.selected, mode="target").to_image()),
    )


def test_touch_paints(scene, open_page, tmp_path):
    viewer = LabelViewer(*scene, selected=["heart"], mode="target", editable=True)
    page = open_page(has_touch=True)
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    element(page, "tool-brush").tap()
    page.touchscreen.tap(*at(page, 50, 30))
    assert corrected(page, scene).unpack()[HEART, 50, 30]


def test_what_a_page_hands_out_is_saved_as_it_was_seen(tiny, open_page, tmp_path):
    dataset = PaxrayDataset(tiny)
    page = open_page()
    viewer = LabelViewer.browse(dataset, editable=True, selected="heart")
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    element(page, "edit-label").select_option(str(HEART))
    element(page, "tool-brush").click()
    drag(page, (10, 5), (10, 20))
    seen = exported(page)
    (tmp_path / "strokes.json").write_text(json.dumps(strokes(page)))
    source, folder = from_dataset(dataset), tmp_path / "corrected"
    done, failed = save_strokes(read_strokes(tmp_path / "strokes.json"), source, folder, "Ada")
    assert (done, failed) == ([source.names[0]], [])
    saved = PaxrayDataset(folder)[0]
    shown = LabelViewer(saved.image, saved.masks, selected="heart").to_image()
    np.testing.assert_array_equal(seen, np.asarray(shown))
