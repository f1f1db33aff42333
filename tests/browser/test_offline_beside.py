"""Two masks side by side, in Chromium as a page from disk."""

import base64
import io

import numpy as np
import pytest
from helpers.viewer_page import check_pixels, drag, element, ready, strokes, write_page
from PIL import Image
from playwright.sync_api import expect

from paxray_lib.masks import PackedMasks
from paxray_lib.masks.strokes import MaskEditor
from paxray_lib.phantoms.phantom import render
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser
CANVAS = "canvas => canvas.toDataURL()"
BOXES = """() => [...document.querySelectorAll(".paxray-pane")].map(pane => {
    const a = pane.getBoundingClientRect();
    const b = pane.querySelector("canvas").getBoundingClientRect();
    return [b.left - a.left, b.top - a.top, b.width, b.height].map(Math.round);
})"""


@pytest.fixture(scope="module")
def models():
    image, first = render(0, 0, 96)["frontal"]
    second = PackedMasks(np.roll(first.data, 5, 1), first.labels)
    return image, first, second


def opened(open_page, folder, viewer, width=1366, height=647):
    page = open_page(viewport={"width": width, "height": height})
    page.goto(write_page(viewer, folder))
    ready(page)
    return page


@pytest.fixture
def two(models, open_page, tmp_path):
    viewer = LabelViewer(*models, names=("open", "mine"), mode="beside")
    return viewer, opened(open_page, tmp_path, viewer)


def pixels(page, name):
    data = element(page, name).evaluate(CANVAS).partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def drawn(viewer, page, selected):
    """What Python draws in both panels, and what is in them."""
    viewer.selected = selected
    panels = viewer._draw()
    assert list(panels) == ["open", "mine"]
    return zip(panels.values(), [pixels(page, "canvas"), pixels(page, "canvas-2")], strict=True)


def test_each_panel_shows_its_masks_also_after_toggles(two):
    viewer, page = two
    chosen = list(viewer.selected)
    for expected, found in drawn(viewer, page, chosen):
        np.testing.assert_array_equal(found, expected)
    assert (pixels(page, "canvas") != pixels(page, "canvas-2")).any()
    for name in ("mediastinum_overall", "lung_left", "lung_overall", "lung_left"):
        element(page, f"label-{name}").click()
        chosen = [one for one in chosen if one != name] + [name] * (name not in chosen)
        for expected, found in drawn(viewer, page, chosen):
            np.testing.assert_array_equal(found, expected)
    check_pixels(viewer, page)  # what is saved
    element(page, "zoom-in").click()
    element(page, "zoom-in").click()
    part = element(page, "viewer").get_attribute("data-visible")
    check_pixels(viewer, page, visible=[int(number) for number in part.split(",")])


def test_zoom_and_pan_go_together(two):
    _, page = two
    for name in ("pane", "pane-2"):
        box = element(page, name).bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
        page.mouse.move(*middle)
        page.mouse.wheel(0, -300)
        page.mouse.down()
        page.mouse.move(middle[0] - 40, middle[1] + 25, steps=3)
        page.mouse.up()
        page.mouse.move(*middle)
        first, second = page.evaluate(BOXES)
        assert first == second
        assert first[2] > box["width"]
    element(page, "zoom-reset").click()
    first, second = page.evaluate(BOXES)
    assert first == second
    assert element(page, "viewer").get_attribute("data-visible") == ""


def test_the_pointer_is_marked_in_the_other_panel(two):
    _, page = two
    reading = {}
    for name, other in {"pane": "pane-2", "pane-2": "pane"}.items():
        box, there = (element(page, one).bounding_box() for one in (name, other))
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
        mark = element(page, "mark").bounding_box()
        center = mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2
        pixel = box["height"] / 96
        assert abs(center[0] - there["x"] - 0.4 * box["width"]) <= pixel
        assert abs(center[1] - there["y"] - 0.3 * box["height"]) <= pixel
        reading[name] = element(page, "readout").inner_text()
    assert reading["pane"] == reading["pane-2"]  # the same pixel, whose labels both are told of
    assert "column" in reading["pane"]
    element(page, "search").hover()
    expect(element(page, "mark")).to_be_hidden()


def test_names_stand_above_and_a_key_goes_there_and_back(two):
    _, page = two
    for role, name, pane in (("target", "open", "pane"), ("prediction", "mine", "pane-2")):
        title, box = element(page, f"title-{role}"), element(page, pane).bounding_box()
        expect(title).to_have_text(name)
        above = title.bounding_box()
        assert above["x"] == box["x"]
        assert above["y"] + above["height"] <= box["y"] + 1
    element(page, "mode-difference").click()
    expect(element(page, "pane-2")).to_have_count(0)
    expect(element(page, "title-target")).to_be_hidden()
    page.keyboard.press("d")
    expect(element(page, "mode-beside")).to_have_attribute("aria-checked", "true")
    expect(element(page, "pane-2")).to_be_visible()
    page.keyboard.press("d")
    expect(element(page, "mode-difference")).to_have_attribute("aria-checked", "true")


def test_one_mask_has_nothing_beside_it(models, open_page, tmp_path):
    page = opened(open_page, tmp_path, LabelViewer(*models[:2], mode="beside"))
    expect(element(page, "mode-beside")).to_be_disabled()
    element(page, "stage").focus()
    page.keyboard.press("d")
    expect(element(page, "pane-2")).to_have_count(0)


@pytest.mark.parametrize("size", [(700, 700), (1000, 647), (1366, 647), (1600, 900)])
def test_both_fit_and_the_film_is_as_large_as_it_can_be(models, open_page, tmp_path, size):
    page = opened(open_page, tmp_path, LabelViewer(*models, mode="beside"), *size)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    first, second = (element(page, name).bounding_box() for name in ("pane", "pane-2"))
    is_stacked = size[0] == 700
    assert (first["x"] == second["x"]) == is_stacked
    assert (first["y"] == second["y"]) != is_stacked
    film = element(page, "canvas").bounding_box()
    assert film["width"] >= 220
    for name in ("tree", "search", "readout", "pane-2", "export", "auto", "mode-beside"):
        box = element(page, name).bounding_box()
        assert box["y"] + box["height"] <= size[1], name
    page.set_viewport_size({"width": 1366, "height": 647})  # a window that is made larger
    page.wait_for_function("document.querySelectorAll('.stacked').length === 0")
    assert element(page, "canvas").bounding_box()["width"] > film["width"] or not is_stacked


def test_truth_beside_prediction_and_strokes_from_either_panel(models, open_page, tmp_path):
    viewer = LabelViewer(*models, editable=True, mode="beside", selected=["heart"])
    page = opened(open_page, tmp_path, viewer)
    for role, name in (("target", "Corrected"), ("prediction", "Prediction")):
        expect(element(page, f"title-{role}")).to_have_text(name)
    element(page, "tool-brush").click()
    drag(page, (20, 20), (30, 40))
    right = element(page, "canvas-2").bounding_box()
    step = right["width"] / 96
    page.mouse.move(right["x"] + 70.5 * step, right["y"] + 20.5 * step)
    page.mouse.down()
    page.mouse.move(right["x"] + 60.5 * step, right["y"] + 30.5 * step, steps=3)
    page.mouse.move(1, right["y"] + 40)  # far out to the left: still a stroke of the right panel
    page.mouse.up()
    records = strokes(page)
    assert len(records) == 2
    editor = MaskEditor(*models[1:])
    for record in records:
        editor.apply(record)
    truth = LabelViewer(models[0], editor.masks, models[2], selected=["heart"])._load(0)
    style = {name: getattr(viewer, name) for name in ("alpha", "outline", "dashed", "window")}
    for mode, canvas in (("target", "canvas"), ("prediction", "canvas-2")):
        expected = truth.draw(viewer._indices(), mode=mode, heat=("", {}), **style)
        np.testing.assert_array_equal(pixels(page, canvas), expected)
    before = models[1].unpack("heart")[0]
    changed = editor.masks.unpack("heart")[0] != before
    assert changed[20, 70]
    assert changed[30, 5]


def test_the_figure_shows_both_with_their_names(models):
    viewer = LabelViewer(*models, names=("open", "mine"), mode="beside")
    single = LabelViewer(*models, names=("open", "mine"), mode="target")
    assert viewer.figure().width > 2 * 96 + single.figure().width - 96
    assert viewer.to_image().size == (2 * 96 + 4, 96)
