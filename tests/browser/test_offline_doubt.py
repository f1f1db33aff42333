"""What to doubt, in Chromium as a page from disk: heat map, threshold, broken rules, order."""

import numpy as np
import pandas as pd
import pytest
from helpers.viewer_page import copied, element, exported, ready, shows, write_page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks import PackedMasks, Probabilities
from paxray_lib.phantoms.phantom import render
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser

NAMES = ["heart", "lung_left"]
SET = """([label, threshold, sliders, outline]) => {
    const find = id => document.querySelector(`[data-testid="${id}"]`);
    const put = (id, value, type) => {
        find(id).value = value;
        find(id).dispatchEvent(new Event(type));
    };
    put("heat-label", label, "change");
    put("threshold", threshold, "input");
    for (const [id, value] of Object.entries(sliders)) put(id, value, "input");
    put("outline", outline, "change");
}"""

# whether a choice is wide enough for what it says when closed, with two digits more
FITS = """choice => {
    const alone = choice.cloneNode(false);
    alone.append(new Option(`${choice.options[0].text}00`));
    alone.style.width = "auto";
    choice.after(alone);
    const { width } = alone.getBoundingClientRect();
    alone.remove();
    return choice.getBoundingClientRect().width >= width;
}"""


def slow_scores(viewer, plane, threshold, target):
    """IoU and Dice of what is above the threshold, pixel by pixel, from torch-like fractions."""
    both = either = total = 0
    height, width = target.shape
    h, w = plane.shape
    for row, column in np.ndindex(height, width):
        value = 0
        places = []
        for i, length, count in ((row, height, h), (column, width, w)):
            at = min(max((2 * i + 1) * count - length, 0), 2 * length * (count - 1))
            low, weight = at // (2 * length), at % (2 * length) * 256 // (2 * length)
            places.append(((low, 256 - weight), (min(low + 1, count - 1), weight)))
        for y, part in places[0]:
            for x, share in places[1]:
                value += int(plane[y, x]) * part * share
        found, true = value * 100 > threshold * 255 * 65536, bool(target[row, column])
        both, either, total = both + (found and true), either + (found or true), total + found
        total += true
    return (both / either, 2 * both / total) if either else (np.nan, np.nan)


@pytest.fixture(scope="module")
def film(tiny):
    """A viewer with probabilities of two labels, at another size and aspect ratio; also one that
    has no target.
    """
    sample = PaxrayDataset(tiny)[0]
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (2, 7, 5), np.uint8)
    return LabelViewer(
        sample.image,
        sample.masks,
        sample.masks,
        probabilities=Probabilities(values, LabelSet(NAMES)),
        mode="probability",
    )


@pytest.fixture
def doubt_page(film, open_page, tmp_path):
    page = open_page()
    page.goto(write_page(film, tmp_path))
    ready(page)
    return page


@given(
    st.sampled_from(NAMES), st.integers(1, 99), st.integers(0, 255), st.integers(0, 3),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_threshold_is_drawn_and_scored_as_in_python(
    film, doubt_page, label, threshold, alpha, outline, seed
):
    level = int(np.random.default_rng(seed).integers(60, 200))
    sliders = {"opacity": alpha, "level": level, "window": 100}
    doubt_page.evaluate(SET, [label, threshold, sliders, outline])
    film.heat_label, film.thresholds = label, {label: threshold / 100}
    film.alpha, film.outline, film.window = alpha, outline, [level - 50, level + 50]
    np.testing.assert_array_equal(exported(doubt_page), np.asarray(film.to_image()))
    scene = film._load(0)
    plane = scene.probabilities.values[NAMES.index(label)]
    iou, dice = slow_scores(film, plane, threshold, scene.target.unpack(label)[0])
    text = f"IoU {iou:.2f}, Dice {dice:.2f}"
    assert element(doubt_page, "heat-scores").inner_text() == text


def test_the_label_clicked_in_the_tree_is_shown_if_it_has_probabilities(doubt_page):
    choice = element(doubt_page, "heat-label")
    assert choice.locator("option").all_inner_texts() == NAMES
    element(doubt_page, "label-lung_left").click()
    expect(choice).to_have_value("lung_left")
    element(doubt_page, "expand-ribs").click()
    element(doubt_page, "label-rib_left_5").click()
    expect(choice).to_have_value("lung_left")
    element(doubt_page, "mode-both").click()
    expect(element(doubt_page, "heat")).to_be_hidden()


def test_the_probability_under_the_pointer_is_told(film, doubt_page):
    doubt_page.evaluate(SET, ["heart", 50, {}, 1])
    box = element(doubt_page, "canvas").bounding_box()
    doubt_page.mouse.move(box["x"] + 1, box["y"] + 1)  # at a corner nothing is mixed
    value = film._load(0).probabilities.values[0, 0, 0] / 255
    expect(element(doubt_page, "readout")).to_contain_text(f"heart: probability {value:.2f}")


def test_without_probabilities_there_is_no_such_mode(page):
    expect(element(page, "mode-probability")).to_be_hidden()
    expect(element(page, "heat")).to_be_hidden()


def exchanged(masks, first, second):
    """Masks in which two labels have each other's pixels."""
    stack = masks.unpack()
    i, j = LABELS.index(first)[0], LABELS.index(second)[0]
    stack[[i, j]] = stack[[j, i]]
    return PackedMasks.pack(stack, masks.labels)


def test_a_broken_rule_is_named_and_its_place_shown(open_page, tmp_path):
    image, sound = render(0, 0, 128)["frontal"]
    masks = exchanged(sound, "rib_left_5", "rib_left_6")
    page = open_page()
    page.goto(write_page(LabelViewer(image, sound, masks), tmp_path))
    ready(page)
    choice = element(page, "broken")
    assert choice.evaluate(FITS), "its count of rules is cut off"
    options = choice.locator("option").all_inner_texts()
    assert options[0] == f"Broken rules: {len(options) - 1}"
    choice.select_option("rib_left_6 not below rib_left_5")
    assert copied(page) == ["rib_left_5", "rib_left_6"]
    page.wait_for_function("document.querySelector('[data-testid=viewer]').dataset.visible")
    visible = element(page, "viewer").get_attribute("data-visible")
    top, left, height, width = map(int, visible.split(","))
    rows, columns = np.nonzero(masks.unpack(["rib_left_5", "rib_left_6"]).any(0))
    assert top <= rows.min() <= rows.max() < top + height
    assert left <= columns.min() <= columns.max() < left + width
    assert height * width < image.size


def test_a_film_that_keeps_all_rules_has_no_list(open_page, tmp_path):
    image, sound = render(0, 0, 128)["frontal"]
    page = open_page()
    page.goto(write_page(LabelViewer(image, sound.select(sound.labels.select("lungs"))), tmp_path))
    ready(page)
    expect(element(page, "broken")).to_be_hidden()


@pytest.mark.parametrize("column", ["doubt", "broken_rules", "iou_present"])
def test_the_worst_comes_first(tiny, open_page, tmp_path, column):
    dataset = PaxrayDataset(tiny)
    values = [3.0, 1.0, np.nan, 8.0, 2.0, 5.0, 4.0, 7.0]
    scores = pd.DataFrame({"image": [e.image for e in dataset.entries], column: values})
    viewer = LabelViewer.browse(dataset, lambda sample: sample.masks, scores=scores)
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    stored = element(page, "jump").locator("option").all_inner_texts()
    element(page, "sort").select_option(column)
    worst = sorted(
        (value for value, name in zip(values, viewer._source.names, strict=True) if name in stored),
        key=lambda value: (np.isnan(value), value if column == "iou_present" else -value),
    )
    listed = element(page, "jump").locator("option").all_inner_texts()
    shown = [text.split()[-1] for text in listed]
    assert shown == ["–" if np.isnan(value) else f"{value:.3f}" for value in worst]
    shows(page, listed[0].split()[0])
