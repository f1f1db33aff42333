"""The LabelViewer in Chromium: it fits its window, and its controls are where they are needed."""

import base64
import io

import numpy as np
import pytest
from helpers.viewer_page import EXPORT, above_legend, element, ready, shows, write_page
from PIL import Image

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser

# of one window: the panel of JupyterLab on a laptop of 1366 x 768 is 647 pixels high
SIZES = [(700, 700), (1000, 647), (1366, 647), (1600, 900)]


@pytest.mark.parametrize("size", SIZES)
def test_search_image_and_modes_are_seen_together(open_page, address, size):
    page = open_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    ready(page)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    for name in ("viewer", "search", "tree", "readout", "mode-difference", "export", "auto"):
        box = element(page, name).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1], name
    stage = element(page, "stage").bounding_box()
    assert stage["height"] >= 0.6 * min(size[1], stage["width"])


def test_auto_window_brightens_a_dark_film_and_reset_takes_it_back(open_page, tmp_path):
    pixels = np.arange(100, dtype=np.uint8).repeat(10).reshape(20, 50) // 2
    masks = PackedMasks.pack(np.zeros((166, 20, 50), bool), LABELS)
    page = open_page()
    page.goto(write_page(LabelViewer(pixels, masks), tmp_path))
    ready(page)
    element(page, "auto").click()
    shown = saved(page)
    # the first gray of which at most a hundredth is darker becomes black, the 99th white
    assert (shown[pixels <= 0] == 0).all()
    assert (shown[pixels >= 49] == 255).all()
    assert (shown[pixels == 25] > 100).all()
    element(page, "gray-reset").click()
    np.testing.assert_array_equal(saved(page)[..., 0], pixels)


def saved(page):
    picture = Image.open(io.BytesIO(base64.b64decode(page.evaluate(EXPORT))))
    return above_legend(page, picture)


def test_a_saved_picture_has_the_chosen_labels_below(page, viewer):
    below = Image.open(io.BytesIO(base64.b64decode(page.evaluate(EXPORT)))).convert("RGB")
    below = below.crop((0, 48, *below.size))
    colors = {color for _, color in below.getcolors(2**16)}
    for name in viewer.selected:
        assert tuple(LABELS.colors[LABELS.index(name)[0]].tolist()) in colors
    assert (255, 255, 255) in colors


def test_the_same_terms_on_hover_and_in_the_legend(page):
    element(page, "mode-difference").click()
    legend = page.locator(".paxray-legend span").all_inner_texts()
    assert legend == ["true positive", "false positive", "false negative"]
    box = page.locator("canvas").bounding_box()
    seen = set()
    for part in np.linspace(0.1, 0.9, 25):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.5 * box["height"])
        seen |= set(page.locator(".paxray-verdict").all_inner_texts())
    assert seen == set(legend)


def test_arrow_keys_page_and_pan_where_the_image_is_zoomed(page, viewer):
    names = viewer._source.names
    element(page, "stage").focus()
    page.keyboard.press("ArrowRight")
    shows(page, names[1])
    page.keyboard.press("ArrowLeft")
    shows(page, names[0])
    page.keyboard.press("+")
    before = page.locator("canvas").bounding_box()
    page.keyboard.press("ArrowRight")
    assert page.locator("canvas").bounding_box() != before
    shows(page, names[0])


def test_help_opens_and_closes(page):
    assert element(page, "hint").is_hidden()
    element(page, "help").click()
    assert "smallest label" in element(page, "hint").inner_text()
    page.keyboard.press("Escape")
    assert element(page, "hint").is_hidden()


def test_a_page_without_a_kernel_offers_no_order_that_needs_one(page):
    options = element(page, "sort").locator("option").all_inner_texts()
    assert options == ["file order", "worst iou present"]  # of the table; not rules_kept
