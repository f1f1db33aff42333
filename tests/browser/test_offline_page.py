"""The LabelViewer in Chromium as a page from disk; test_lab_viewer.py is about JupyterLab."""

import base64
import io
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.counting import counts
from paxray_lib.metrics.scores import dice, iou
from paxray_lib.runs.report import notebook_page
from paxray_lib.viz.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser

IDS = [name if LABELS.index(name)[0] == i else f"{name}-{i}" for i, name in enumerate(LABELS.names)]


def shift(sample):
    return PackedMasks(np.roll(sample.masks.data, 3, 1), sample.masks.labels)


@pytest.fixture(scope="module")
def viewer(tiny):
    """A viewer of eight images with predictions and scores."""
    dataset = PaxrayDataset(tiny)
    images = [entry.image for entry in dataset.entries]
    scores = pd.DataFrame(
        {"image": images, "iou_present": [0.5, 0.2, 0.9, 0.4, 0.8, 0.3, 0.7, 0.6]}
    )
    return LabelViewer.browse(dataset, shift, scores=scores)


def write_page(viewer, folder):
    page = folder / "page.html"
    html = viewer._repr_mimebundle_()[0]["text/html"]
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{html}</body>", encoding="utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def address(viewer, tmp_path_factory):
    return write_page(viewer, tmp_path_factory.mktemp("page"))


def ready(page):
    page.wait_for_function(
        "Number(document.querySelector('[data-testid=viewer]')?.dataset.drawn) > 1"
    )


def shows(page, name):
    """Wait for an image."""
    page.wait_for_function(
        "name => document.querySelector('canvas').parentNode.ariaLabel.startsWith(name)", arg=name
    )


@pytest.fixture
def page(open_page, address):
    page = open_page()
    page.goto(address)
    ready(page)
    return page


def test_id(page, name):
    return page.locator(f'[data-testid="{name}"]')


test_id.__test__ = False


def checked(page, name):
    return test_id(page, name).get_attribute("aria-checked")


# Chromium holds back a tenth download within seconds, so the link that the button makes is read,
# not followed.
EXPORT = """async () => {
    const follow = HTMLAnchorElement.prototype.click;
    const address = await new Promise(resolve => {
        HTMLAnchorElement.prototype.click = function () { resolve(this.href); };
        document.querySelector("[data-testid=export]").click();
    });
    HTMLAnchorElement.prototype.click = follow;
    const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}"""


def exported(page):
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(page.evaluate(EXPORT)))).convert("RGB")
    )


def copied(page):
    test_id(page, "copy").click()
    return json.loads(test_id(page, "copied").input_value())


def same_as(viewer, page, **traits):
    """Whether the exported picture is what Python draws with these traits."""
    before = {name: getattr(viewer, name) for name in traits}
    for name, value in traits.items():
        setattr(viewer, name, value)
    expected = np.asarray(viewer.to_image())
    for name, value in before.items():
        setattr(viewer, name, value)
    np.testing.assert_array_equal(exported(page), expected)


def test_it_shows_the_selection_of_python(viewer, page):
    assert copied(page) == viewer.selected
    assert checked(page, "label-heart") == "true"
    assert checked(page, "label-aorta") == "false"
    assert test_id(page, "count").inner_text() == "3 of 166"
    same_as(viewer, page)


def test_clicking_a_row_toggles_a_label(viewer, page):
    test_id(page, "label-aorta").click()
    assert copied(page) == [*viewer.selected, "aorta"]
    same_as(viewer, page, selected=[*viewer.selected, "aorta"])
    test_id(page, "label-aorta").click()
    assert copied(page) == viewer.selected
    test_id(page, "label-heart").hover()
    test_id(page, "only-heart").click()
    assert copied(page) == ["heart"]
    test_id(page, "none").click()
    assert copied(page) == []
    same_as(viewer, page, selected=[])
    test_id(page, "all").click()
    same_as(viewer, page, selected=list(dict.fromkeys(LABELS.names)))


def test_a_repeated_name_is_selected_as_a_whole(viewer, page):
    test_id(page, "none").click()
    test_id(page, "label-mediastinum_upper-16").click()
    assert checked(page, "label-mediastinum_upper") == "true"
    assert copied(page) == ["mediastinum_upper"]
    same_as(viewer, page, selected=["mediastinum_upper"])


def test_groups_have_three_states(viewer, page):
    test_id(page, "none").click()
    assert checked(page, "group-great_vessels") == "false"
    test_id(page, "label-aorta_arch").click()
    assert checked(page, "group-great_vessels") == "mixed"
    test_id(page, "group-great_vessels").click()
    assert checked(page, "group-great_vessels") == "true"
    assert set(copied(page)) == {LABELS.names[i] for i in LABELS.select("great_vessels")}
    test_id(page, "group-great_vessels").click()
    assert copied(page) == []


def test_groups_open_and_close(page):
    assert not test_id(page, "label-t8").is_visible()
    test_id(page, "expand-vertebrae").click()
    assert test_id(page, "label-t8").is_visible()
    assert checked(page, "group-vertebrae") == "false"  # the arrow does not select
    test_id(page, "expand-vertebrae").click()
    assert not test_id(page, "label-t8").is_visible()


def test_copied_python_means_the_label_and_not_its_group(page):
    test_id(page, "none").click()
    test_id(page, "search").fill("ribs")
    test_id(page, "label-ribs").click()
    assert copied(page) == ["rib[s]"]
    assert LABELS.select(*copied(page)) == LABELS.index("ribs")


def test_search_matches_names_and_groups_and_limits_all(page):
    test_id(page, "none").click()
    test_id(page, "search").fill("LEFT rib 1")
    assert test_id(page, "label-rib_left_1").is_visible()
    assert not test_id(page, "label-heart").is_visible()
    names = [name for name in LABELS.names if all(word in name for word in ("left", "rib", "1"))]
    assert test_id(page, "all").inner_text() == f"All {len(names)} listed"
    test_id(page, "all").click()
    assert copied(page) == names
    test_id(page, "search").fill("great_ves")
    assert test_id(page, "label-aorta_arch").is_visible()
    test_id(page, "search").fill("no such thing")
    assert page.get_by_text("No label fits.").is_visible()
    test_id(page, "search").press("Escape")
    assert test_id(page, "label-heart").is_visible()


def test_present_only_hides_what_is_not_there(open_page, tiny, tmp_path):
    sample = PaxrayDataset(tiny)[0]
    stack = sample.masks.unpack()
    stack[LABELS.index("heart")[0]] = False
    page = open_page()
    page.goto(write_page(LabelViewer(sample.image, PackedMasks.pack(stack, LABELS)), tmp_path))
    ready(page)
    assert "absent" in test_id(page, "label-heart").get_attribute("class")
    test_id(page, "present").check()
    assert not test_id(page, "label-heart").is_visible()
    assert test_id(page, "label-aorta").is_visible()
    assert test_id(page, "browse").is_hidden()  # one image only
    assert test_id(page, "mode-difference").is_disabled()  # and no prediction
    assert re.fullmatch(r"\d+(\.\d)?%", test_id(page, "area-aorta").inner_text())


def test_the_tree_works_by_keyboard(page):
    test_id(page, "stage").focus()
    page.keyboard.press("/")
    page.keyboard.type("aorta")
    page.keyboard.press("ArrowDown")  # from the search into the tree, on the group
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert copied(page) == ["aorta"]
    test_id(page, "tree").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    assert copied(page) == ["aorta", "aorta_descending"]
    test_id(page, "tree").focus()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert len(copied(page)) == 4
    test_id(page, "search").focus()
    page.keyboard.press("Escape")
    test_id(page, "tree").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert not test_id(page, "label-lung_left").is_visible()
    page.keyboard.press("ArrowRight")
    assert test_id(page, "label-lung_left").is_visible()


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
    test_id(page, "mode-target").click()
    row, column = fullest(viewer)
    page.mouse.move(*point(page, row, column))
    names = page.eval_on_selector_all(
        ".paxray-chip", "chips => chips.map(chip => chip.dataset.label)"
    )
    expected = at(viewer, row, column)
    assert names == [LABELS.names[i] for i in expected]
    text = test_id(page, "readout").inner_text()
    assert text.startswith(f"column {column}, row {row}, gray ")
    share = 100 * viewer._load(0).target.counts()[expected[0]] / 48**2
    assert f"{share:.1f}%" in text or f"{share:.0f}%" in text
    page.mouse.move(0, 0)
    assert "Point at the image" in test_id(page, "readout").inner_text()


@pytest.mark.parametrize("width", [900, 1250, 1600])
def test_all_labels_of_a_pixel_fit(open_page, tmp_path, width):
    names = LABELS.names[:156:6]  # 26, as many as a pixel of a lateral image may have
    masks = PackedMasks.pack(np.ones((26, 40, 40), bool), LabelSet(names))
    page = open_page(viewport={"width": width, "height": 900})
    page.goto(write_page(LabelViewer(np.zeros((40, 40)), masks, masks), tmp_path))
    ready(page)
    page.locator("canvas").hover()
    assert page.locator(".paxray-chip").count() == 26
    assert test_id(page, "readout").evaluate("box => box.scrollHeight <= box.clientHeight")
    assert page.locator(".paxray-chip").evaluate_all(
        "all => all.every(chip => chip.scrollWidth <= chip.clientWidth)"
    )


def test_clicking_the_image_selects_the_smallest_label(viewer, page):
    test_id(page, "mode-target").click()
    row, column = fullest(viewer)
    smallest = LABELS.names[at(viewer, row, column)[0]]
    test_id(page, "none").click()
    page.mouse.click(*point(page, row, column))
    assert copied(page) == [smallest]
    test_id(page, "all").click()
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
        int, test_id(page, "viewer").get_attribute("data-visible").split(",")
    )
    assert top <= row < top + height < 48
    assert left <= column < left + width < 48
    same_as(viewer, page, visible=[top, left, height, width])
    x, y = point(page, row, column)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 40, steps=3)
    page.mouse.up()
    assert copied(page) == selected  # a drag pans and selects nothing
    assert test_id(page, "viewer").get_attribute("data-visible") != f"{top},{left},{height},{width}"
    page.mouse.dblclick(*point(page, row, column))
    assert page.locator("canvas").bounding_box() == before
    assert copied(page) == selected
    assert test_id(page, "viewer").get_attribute("data-visible") == ""


def test_zoom_by_buttons_and_keys(page):
    first = test_id(page, "zoom").inner_text()
    test_id(page, "zoom-in").click()
    assert test_id(page, "zoom").inner_text() != first
    test_id(page, "zoom-reset").click()
    assert test_id(page, "zoom").inner_text() == first
    test_id(page, "stage").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert test_id(page, "zoom").inner_text() != first
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert test_id(page, "zoom").inner_text() == first


def test_comparing_shows_scores_as_the_metrics_do(viewer, page):
    scene = viewer._load(0)
    found = counts(scene.prediction.unpack()[None], scene.target.unpack()[None])
    ious, dices = iou(found)[0], dice(found)[0]
    for i in LABELS.select("heart", "aorta", "t8"):
        assert float(test_id(page, f"iou-{IDS[i]}").text_content()) == pytest.approx(
            ious[i], abs=0.0051
        )
        assert float(test_id(page, f"dice-{IDS[i]}").text_content()) == pytest.approx(
            dices[i], abs=0.0051
        )
    chosen = LABELS.select("heart", "aorta")
    test_id(page, "none").click()
    for i in chosen:
        test_id(page, f"label-{IDS[i]}").click()
    means = re.findall(r"[\d.]+", test_id(page, "mean").inner_text())
    assert [float(mean) for mean in means] == pytest.approx(
        [ious[chosen].mean(), dices[chosen].mean()], abs=0.0051
    )
    for mode in ("target", "prediction", "difference", "both"):
        test_id(page, f"mode-{mode}").click()
        same_as(viewer, page, mode=mode, selected=["heart", "aorta"])


def test_browsing(viewer, page):
    names = viewer._source.names
    assert test_id(page, "place").inner_text() == "1 of 8"
    assert test_id(page, "previous").is_disabled()
    drawn = exported(page)
    test_id(page, "next").click()
    shows(page, names[1])
    assert (exported(page) != drawn).any()
    same_as(viewer, page, position=1)
    test_id(page, "view").select_option("lateral")
    assert test_id(page, "place").inner_text() == "1 of 4"
    test_id(page, "view").select_option("")
    test_id(page, "sort").select_option("iou_present")
    shows(page, names[1])
    assert test_id(page, "place").inner_text() == "1 of 8"  # 0.2 is the worst
    listed = test_id(page, "jump").locator("option").all_inner_texts()
    assert [float(text.split()[-1]) for text in listed] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    test_id(page, "jump").select_option("2")
    shows(page, names[2])
    same_as(viewer, page, position=2)
    assert test_id(page, "next").is_disabled()
    test_id(page, "stage").focus()
    page.keyboard.press("p")
    shows(page, names[4])


SET_ALL = """([ids, style]) => {
    const find = id => document.querySelector(`[data-testid="${id}"]`);
    find("none").click();
    for (const id of ids) if (find(`label-${id}`).getAttribute("aria-checked") !== "true") find(`label-${id}`).click();
    for (const [id, value] of Object.entries(style.sliders)) {
        find(id).value = value;
        find(id).dispatchEvent(new Event("input"));
    }
    find("outline").value = style.outline;
    find("outline").dispatchEvent(new Event("change"));
    if (find("dashed").checked !== style.dashed) find("dashed").click();
    find(`mode-${style.mode}`).click();
}"""


@given(
    chosen=st.lists(st.integers(0, 165), max_size=20) | st.just(list(range(166))),
    mode=st.sampled_from(["target", "prediction", "both", "difference"]),
    alpha=st.integers(0, 255),
    outline=st.integers(0, 4),
    dashed=st.booleans(),
    level=st.integers(0, 255),
    width=st.integers(1, 255),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exported_pixels_are_those_of_python(
    viewer, page, chosen, mode, alpha, outline, dashed, level, width
):
    sliders = {"opacity": alpha, "window": width, "level": level}
    style = {"sliders": sliders, "outline": outline, "dashed": dashed, "mode": mode}
    page.evaluate(SET_ALL, [[IDS[i] for i in chosen], style])
    low = max(0, min(254, level - width // 2))
    window = [low, max(low + 1, min(255, level - width // 2 + width))]
    names = [LABELS.names[i] for i in sorted(chosen)]
    same_as(
        viewer,
        page,
        selected=names,
        mode=mode,
        alpha=alpha,
        outline=outline,
        dashed=dashed,
        window=window,
    )


def test_the_export_is_a_download_named_after_the_image(viewer, page):
    with page.expect_download() as download:
        test_id(page, "export").click()
    assert download.value.suggested_filename == f"{viewer._source.names[0]}.png"
    np.testing.assert_array_equal(
        np.asarray(Image.open(download.value.path())), np.asarray(viewer.to_image())
    )


def test_a_colour_image_is_drawn_exactly(open_page, tiny, tmp_path):
    sample = PaxrayDataset(tiny)[0]
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    viewer = LabelViewer(image, sample.masks, selected=["heart", "ribs"])
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    same_as(viewer, page)


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
    assert test_id(page, "viewer").count() == 2
    page.locator("img").wait_for(state="detached")  # the scripts replaced both figures
    second = test_id(page, "viewer").nth(1)
    second.get_by_test_id("none").click()
    assert second.get_by_test_id("count").inner_text() == "0 of 166"
    assert test_id(page, "viewer").nth(0).get_by_test_id("count").inner_text() == "3 of 166"
    notebook.cells = [nbformat.v4.new_code_cell("viewer")]
    nbformat.write(notebook, tmp_path / "empty.ipynb")
    added = path.stat().st_size - notebook_page(tmp_path / "empty.ipynb").stat().st_size
    assert added < 2 * 400_000


def test_without_javascript_the_figure_stays(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(address)
    assert page.locator("img").is_visible()
    assert page.locator("img").evaluate("image => image.naturalWidth") > 48
    assert page.locator("[data-testid=viewer]").count() == 0


@pytest.mark.parametrize("width", [480, 900, 1600])
def test_nothing_overflows_or_jumps(open_page, address, width):
    page = open_page(viewport={"width": width, "height": 1000})
    page.goto(address)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = test_id(page, "viewer").bounding_box()
    stage = test_id(page, "stage").bounding_box()
    page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    test_id(page, "search").fill("rib")
    test_id(page, "all").click()
    test_id(page, "mode-difference").click()
    test_id(page, "next").click()
    assert test_id(page, "viewer").bounding_box() == before
