"""The LabelViewer in Chromium as a page from disk: what it draws, and how labels are chosen."""

import numpy as np
import pytest
from helpers.viewer_page import check_pixels, checked, copied, element, ready, write_page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.viewer.picker import search_labels
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser

IDS = [name if LABELS.index(name)[0] == i else f"{name}-{i}" for i, name in enumerate(LABELS.names)]

SET_ALL = """([ids, style]) => {
    const find = id => document.querySelector(`[data-testid="${id}"]`);
    find("none").click();
    for (const id of ids) {
        const row = find(`label-${id}`);
        if (row.getAttribute("aria-checked") !== "true") row.click();
    }
    for (const [id, value] of Object.entries(style.sliders)) {
        find(id).value = value;
        find(id).dispatchEvent(new Event("input"));
    }
    find("outline").value = style.outline;
    find("outline").dispatchEvent(new Event("change"));
    if (find("dashed").checked !== style.dashed) find("dashed").click();
    find(`mode-${style.mode}`).click();
}"""


def test_it_shows_the_selection_of_python(viewer, page):
    assert copied(page) == viewer.selected
    assert checked(page, "label-heart") == "true"
    assert checked(page, "label-aorta") == "false"
    assert element(page, "count").inner_text() == "3 of 166"
    check_pixels(viewer, page)


def test_clicking_a_row_toggles_a_label(viewer, page):
    element(page, "label-aorta").click()
    assert copied(page) == [*viewer.selected, "aorta"]
    check_pixels(viewer, page, selected=[*viewer.selected, "aorta"])
    element(page, "label-aorta").click()
    assert copied(page) == viewer.selected
    element(page, "label-heart").hover()
    element(page, "only-heart").click()
    assert copied(page) == ["heart"]
    element(page, "none").click()
    assert copied(page) == []
    check_pixels(viewer, page, selected=[])
    element(page, "all").click()
    check_pixels(viewer, page, selected=list(dict.fromkeys(LABELS.names)))


def test_a_row_says_what_was_checked(viewer, page):
    for name, words in (("heart", "people drew"), ("aorta", "one real CT"), ("c1", "Never")):
        assert words in element(page, f"label-{name}").get_attribute("title")
        assert element(page, f"label-{name}").get_attribute("data-checked") in LABELS.checked


def test_a_repeated_name_is_selected_as_a_whole(viewer, page):
    element(page, "none").click()
    element(page, "label-mediastinum_upper-16").click()
    assert checked(page, "label-mediastinum_upper") == "true"
    assert copied(page) == ["mediastinum_upper"]
    for row, index in (("label-mediastinum_upper", 12), ("label-mediastinum_upper-16", 16)):
        assert element(page, row).inner_text().startswith(f"mediastinum_upper ({index})")
        assert "12 and 16 share the name" in element(page, row).get_attribute("title")
    check_pixels(viewer, page, selected=["mediastinum_upper"])


def test_search_finds_what_it_finds_in_python(page):
    element(page, "none").click()
    for text in ("LEFT rib 1", "rib_left_3", "great_ves", "upper_mediastinum", "Ribs"):
        element(page, "search").fill(text)
        rows = page.locator('[data-testid^="label-"]:visible')
        ids = rows.evaluate_all("rows => rows.map(row => row.dataset.testid.slice(6))")
        assert set(ids) == {IDS[i] for i in search_labels(LABELS, text)}


def test_all_adds_what_the_search_lists(page):
    element(page, "none").click()
    element(page, "search").fill("LEFT rib 1")
    names = [LABELS.names[i] for i in search_labels(LABELS, "rib left 1")]
    assert element(page, "all").inner_text() == f"All {len(names)} listed"
    element(page, "all").click()
    assert copied(page) == names
    element(page, "search").fill("no such thing")
    assert page.get_by_text("No label fits.").is_visible()
    element(page, "search").press("Escape")
    assert element(page, "label-heart").is_visible()


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
    check_pixels(
        viewer,
        page,
        selected=names,
        mode=mode,
        alpha=alpha,
        outline=outline,
        dashed=dashed,
        window=window,
    )


def test_without_javascript_the_figure_stays(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(address)
    assert page.locator("img").is_visible()
    assert page.locator("img").evaluate("image => image.naturalWidth") > 48
    assert page.locator("[data-testid=viewer]").count() == 0


def test_labels_that_are_not_annotated_say_so_and_have_no_score(tiny, open_page, tmp_path):
    sample, known = PaxrayDataset(tiny)[0], np.ones(166, bool)
    known[LABELS.select("ribs", "heart")] = False
    viewer = LabelViewer(
        (sample.image * 255).astype(np.uint8),
        sample.masks.knowing(known),
        sample.masks,
        selected=["heart", "lung_left"],
        mode="difference",
    )
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    for name, text in {"heart": "not annotated", "lung_left": "none"}.items():
        shown = element(page, f"label-{name}").locator(".paxray-text")
        content = shown.evaluate("node => getComputedStyle(node, '::after').content")
        assert text in content
    assert element(page, "iou-heart").inner_text() == "–"
    assert element(page, "iou-lung_left").inner_text() == "1.00"
    check_pixels(viewer, page)
    element(page, "mode-both").click()
    check_pixels(viewer, page, mode="both")
