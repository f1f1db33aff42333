"""The LabelViewer in Chromium as a page from disk: reading, zooming, comparing, browsing."""

import re

import nbformat
import numpy as np
import pytest
from helpers.viewer_page import (
    above_legend,
    check_pixels,
    checked,
    copied,
    element,
    exported,
    ready,
    shows,
    write_page,
)
from PIL import Image

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import counts
from paxray_lib.metrics.scores import dice, iou
from paxray_lib.runs.report import notebook_page
from paxray_lib.viewer.widget import LabelViewer

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_groups_have_three_states(viewer, page):
    element(page, "none").click()
    assert checked(page, "group-great_vessels") == "false"
    element(page, "label-aorta_arch").click()
    assert checked(page, "group-great_vessels") == "mixed"
    element(page, "group-great_vessels").click()
    assert checked(page, "group-great_vessels") == "true"
    assert set(copied(page)) == {LABELS.names[i] for i in LABELS.select("great_vessels")}
    element(page, "group-great_vessels").click()
    assert copied(page) == []


def test_groups_open_and_close(page):
    assert not element(page, "label-t8").is_visible()
    element(page, "expand-vertebrae").click()
    assert element(page, "label-t8").is_visible()
    assert checked(page, "group-vertebrae") == "false"  # the arrow does not select
    element(page, "expand-vertebrae").click()
    assert not element(page, "label-t8").is_visible()


def test_copied_python_means_the_label_and_not_its_group(page):
    element(page, "none").click()
    element(page, "search").fill("ribs")
    element(page, "label-ribs").click()
    assert copied(page) == ["rib[s]"]
    assert LABELS.select(*copied(page)) == LABELS.index("ribs")


def test_present_only_hides_what_is_not_there(open_page, tiny, tmp_path):
    sample = PaxrayDataset(tiny)[0]
    stack = sample.masks.unpack()
    stack[LABELS.index("heart")[0]] = False
    page = open_page()
    page.goto(write_page(LabelViewer(sample.image, PackedMasks.pack(stack, LABELS)), tmp_path))
    ready(page)
    assert "absent" in element(page, "label-heart").get_attribute("class")
    element(page, "present").check()
    assert not element(page, "label-heart").is_visible()
    assert element(page, "label-aorta").is_visible()
    assert element(page, "browse").is_hidden()  # one image only
    assert element(page, "mode-difference").is_disabled()  # and no prediction
    assert re.fullmatch(r"\d+(\.\d)?%", element(page, "area-aorta").inner_text())


def test_the_tree_works_by_keyboard(page):
    element(page, "stage").focus()
    page.keyboard.press("/")
    page.keyboard.type("aorta")
    page.keyboard.press("ArrowDown")  # from the search into the tree, on the group
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert copied(page) == ["aorta"]
    element(page, "tree").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    assert copied(page) == ["aorta", "aorta_descending"]
    element(page, "tree").focus()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert len(copied(page)) == 4
    element(page, "search").focus()
    page.keyboard.press("Escape")
    element(page, "tree").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert not element(page, "label-lung_left").is_visible()
    page.keyboard.press("ArrowRight")
    assert element(page, "label-lung_left").is_visible()


def point(page, row, column):
    """The place of a pixel on the screen."""
    box = page.locator("canvas").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 48, box["y"] + (row + 0.5) * box[
        "height"
    ] / 48


def at(viewer, row, column):
    """The labels at a pixel, the smallest first, as Python sees them."""
    scene = viewer._load(0)
    areas = scene.target.counts()
    return sorted(scene.target.at(row, column), key=lambda i: (areas[i], i))


def fullest(viewer):
    depth = viewer._load(0).target.unpack().sum(axis=0)
    return np.unravel_index(depth.argmax(), depth.shape)


def test_hovering_names_the_labels_the_smallest_first(viewer, page):
    element(page, "mode-target").click()
    row, column = fullest(viewer)
    page.mouse.move(*point(page, row, column))
    names = page.eval_on_selector_all(
        ".paxray-chip", "chips => chips.map(chip => chip.dataset.label)"
    )
    expected = at(viewer, row, column)
    assert names == [LABELS.names[i] for i in expected]
    text = element(page, "readout").inner_text()
    assert text.startswith(f"column {column}, row {row}, gray ")
    share = 100 * viewer._load(0).target.counts()[expected[0]] / 48**2
    assert f"{share:.1f}%" in text or f"{share:.0f}%" in text
    page.mouse.move(0, 0)
    assert "Point at the image" in element(page, "readout").inner_text()


@pytest.mark.parametrize("width", [900, 1250, 1600])
def test_all_labels_of_a_pixel_fit(open_page, tmp_path, width):
    names = LABELS.names[:156:6]  # 26, as many as a pixel of a lateral image may have
    masks = PackedMasks.pack(np.ones((26, 40, 40), bool), LabelSet(names))
    page = open_page(viewport={"width": width, "height": 900})
    page.goto(write_page(LabelViewer(np.zeros((40, 40)), masks, masks), tmp_path))
    ready(page)
    page.locator("canvas").hover()
    assert page.locator(".paxray-chip").count() == 26
    assert element(page, "readout").evaluate("box => box.scrollHeight <= box.clientHeight")
    assert page.locator(".paxray-chip").evaluate_all(
        "all => all.every(chip => chip.scrollWidth <= chip.clientWidth)"
    )


def test_clicking_the_image_selects_the_smallest_label(viewer, page):
    element(page, "mode-target").click()
    row, column = fullest(viewer)
    smallest = LABELS.names[at(viewer, row, column)[0]]
    element(page, "none").click()
    page.mouse.click(*point(page, row, column))
    assert copied(page) == [smallest]
    element(page, "all").click()
    page.keyboard.down("Shift")
    page.mouse.click(*point(page, row, column))
    page.keyboard.up("Shift")
    assert copied(page) == [smallest]


def test_zoom_is_exact_and_double_click_resets(viewer, page):
    row, column = fullest(viewer)
    before = page.locator("canvas").bounding_box()
    selected = copied(page)
    page.mouse.move(*point(page, row, column))
    for _ in range(5):
        page.mouse.wheel(0, -300)
    page.wait_for_function(
        "document.querySelector('[data-testid=viewer]').dataset.visible.includes(',')"
    )
    assert page.locator("canvas").evaluate("canvas => canvas.style.imageRendering") == "pixelated"
    top, left, height, width = map(
        int, element(page, "viewer").get_attribute("data-visible").split(",")
    )
    assert top <= row < top + height < 48
    assert left <= column < left + width < 48
    check_pixels(viewer, page, visible=[top, left, height, width])
    x, y = point(page, row, column)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 40, steps=3)
    page.mouse.up()
    assert copied(page) == selected  # a drag pans and selects nothing
    assert element(page, "viewer").get_attribute("data-visible") != f"{top},{left},{height},{width}"
    page.mouse.dblclick(*point(page, row, column))
    assert page.locator("canvas").bounding_box() == before
    assert copied(page) == selected
    assert element(page, "viewer").get_attribute("data-visible") == ""


def test_zoom_by_buttons_and_keys(page):
    first = element(page, "zoom").inner_text()
    element(page, "zoom-in").click()
    assert element(page, "zoom").inner_text() != first
    element(page, "zoom-reset").click()
    assert element(page, "zoom").inner_text() == first
    element(page, "stage").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert element(page, "zoom").inner_text() != first
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert element(page, "zoom").inner_text() == first


def test_comparing_shows_scores_as_the_metrics_do(viewer, page):
    scene = viewer._load(0)
    found = counts(scene.prediction.unpack()[None], scene.target.unpack()[None])
    ious, dices = iou(found)[0], dice(found)[0]
    for i in LABELS.select("heart", "aorta", "t8"):
        assert float(element(page, f"iou-{LABELS.names[i]}").text_content()) == pytest.approx(
            ious[i], abs=0.0051
        )
        assert float(element(page, f"dice-{LABELS.names[i]}").text_content()) == pytest.approx(
            dices[i], abs=0.0051
        )
    chosen = LABELS.select("heart", "aorta")
    element(page, "none").click()
    for i in chosen:
        element(page, f"label-{LABELS.names[i]}").click()
    means = re.findall(r"[\d.]+", element(page, "mean").inner_text())
    assert [float(mean) for mean in means] == pytest.approx(
        [ious[chosen].mean(), dices[chosen].mean()], abs=0.0051
    )
    for mode in ("target", "prediction", "difference", "both"):
        element(page, f"mode-{mode}").click()
        check_pixels(viewer, page, mode=mode, selected=["heart", "aorta"])


def test_browsing(viewer, page):
    names = viewer._source.names
    assert element(page, "place").inner_text() == "1 of 8"
    assert element(page, "previous").is_disabled()
    drawn = exported(page)
    element(page, "next").click()
    shows(page, names[1])
    assert (exported(page) != drawn).any()
    check_pixels(viewer, page, position=1)
    element(page, "view").select_option("lateral")
    assert element(page, "place").inner_text() == "1 of 4"
    element(page, "view").select_option("")
    element(page, "sort").select_option("iou_present")
    shows(page, names[1])
    assert element(page, "place").inner_text() == "1 of 8"  # 0.2 is the worst
    listed = element(page, "jump").locator("option").all_inner_texts()
    assert [float(text.split()[-1]) for text in listed] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    element(page, "jump").select_option("2")
    shows(page, names[2])
    check_pixels(viewer, page, position=2)
    assert element(page, "next").is_disabled()
    element(page, "stage").focus()
    page.keyboard.press("p")
    shows(page, names[4])


def test_the_export_is_a_download_named_after_the_image(viewer, page):
    with page.expect_download() as download:
        element(page, "export").click()
    assert download.value.suggested_filename == f"{viewer._source.names[0]}.png"
    np.testing.assert_array_equal(
        above_legend(page, Image.open(download.value.path())), np.asarray(viewer.to_image())
    )


def test_a_colour_image_is_drawn_exactly(open_page, tiny, tmp_path):
    sample = PaxrayDataset(tiny)[0]
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    viewer = LabelViewer(image, sample.masks, selected=["heart", "ribs"])
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    check_pixels(viewer, page)


def test_the_page_of_an_executed_notebook_shows_two_viewers(viewer, open_page, tiny, tmp_path):
    sample = PaxrayDataset(tiny)[0]
    notebook = nbformat.v4.new_notebook()
    for shown in (viewer, LabelViewer(sample.image, sample.masks)):
        output = nbformat.v4.new_output(
            "execute_result", shown._repr_mimebundle_()[0], execution_count=1
        )
        notebook.cells.append(nbformat.v4.new_code_cell("viewer", outputs=[output]))
    nbformat.write(notebook, tmp_path / "viewer.ipynb")
    path = notebook_page(tmp_path / "viewer.ipynb")
    page = open_page()
    page.goto(path.as_uri())
    ready(page)
    assert element(page, "viewer").count() == 2
    page.locator("img").wait_for(state="detached")  # the scripts replaced both figures
    second = element(page, "viewer").nth(1)
    second.get_by_test_id("none").click()
    assert second.get_by_test_id("count").inner_text() == "0 of 166"
    assert element(page, "viewer").nth(0).get_by_test_id("count").inner_text() == "3 of 166"
    notebook.cells = [nbformat.v4.new_code_cell("viewer")]
    nbformat.write(notebook, tmp_path / "empty.ipynb")
    added = path.stat().st_size - notebook_page(tmp_path / "empty.ipynb").stat().st_size
    assert added < 2 * 400_000


@pytest.mark.parametrize("width", [480, 900, 1600])
def test_nothing_overflows_or_jumps(open_page, address, width):
    page = open_page(viewport={"width": width, "height": 1000})
    page.goto(address)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = element(page, "viewer").bounding_box()
    stage = element(page, "stage").bounding_box()
    page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    element(page, "search").fill("rib")
    element(page, "all").click()
    element(page, "mode-difference").click()
    element(page, "next").click()
    assert element(page, "viewer").bounding_box() == before
