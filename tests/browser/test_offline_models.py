"""Two models over one film, in Chromium as a page from disk."""

import numpy as np
import pytest
from helpers.viewer_page import at, check_pixels, copied, element, ready, strokes, write_page
from playwright.sync_api import expect

from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.metrics import counts, dice, iou
from paxray_lib.phantoms.phantom import render
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def models():
    image, first = render(0, 0, 96)["frontal"]
    second = PackedMasks(np.roll(first.data, 3, 1), first.labels)
    return LabelViewer(image, first, second, names=("open", "mine"), mode="difference")


@pytest.fixture
def models_page(models, open_page, tmp_path):
    page = open_page(viewport={"width": 700, "height": 768})
    page.goto(write_page(models, tmp_path))
    ready(page)
    return page


def test_both_are_called_by_their_names(models, models_page):
    for mode, text in {"target": "open", "prediction": "mine"}.items():
        expect(element(models_page, f"mode-{mode}")).to_have_text(text)
    legend = models_page.locator(".paxray-legend")
    expect(legend).to_have_text("bothonly mineonly open")
    check_pixels(models, models_page)
    element(models_page, "mode-both").click()
    expect(legend).to_have_text("fill: open, outline: mine")
    element(models_page, "mode-difference").click()
    scene = models._load(0)
    only = scene.target.unpack("heart")[0] & ~scene.prediction.unpack("heart")[0]
    row, column = np.argwhere(only)[0]
    box = element(models_page, "canvas").bounding_box()
    step = box["width"] / 96
    models_page.mouse.move(box["x"] + (column + 0.5) * step, box["y"] + (row + 0.5) * step)
    readout = element(models_page, "readout")
    expect(readout).to_contain_text("only open")
    expect(readout).not_to_contain_text("false negative")


def test_the_agreement_of_each_label_is_in_the_tree(models, models_page):
    scene = models._load(0)
    found = counts(scene.prediction, scene.target)
    label = scene.target.labels.index("lung_left")[0]
    expect(element(models_page, "iou-lung_left")).to_have_text(f"{iou(found)[0, label]:.2f}")
    expect(element(models_page, "dice-lung_left")).to_have_text(f"{dice(found)[0, label]:.2f}")


def test_the_same_place_is_seen_of_both(models_page):
    element(models_page, "mode-target").click()
    element(models_page, "zoom-in").click()
    element(models_page, "zoom-in").click()
    visible = element(models_page, "viewer").get_attribute("data-visible")
    assert visible
    element(models_page, "mode-prediction").click()
    assert element(models_page, "viewer").get_attribute("data-visible") == visible


def test_labels_that_one_of_them_has_alone_are_marked(models, open_page, tmp_path):
    scene, height = models._load(0), 96
    stack = np.zeros((3, height, height), bool)
    stack[0] = scene.prediction.union("lung_left")
    stack[1], stack[2, 10:20, 30:60] = scene.target.union("heart"), True
    few = PackedMasks.pack(stack, LabelSet(["lung_left", "heart", "tube"]))
    chosen = ["lung_left", "lung_right", "tube"]
    viewer = LabelViewer(scene.pixels, scene.target, few, names=("open", "mine"), selected=chosen)
    page = open_page(viewport={"width": 1366, "height": 647})
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    for mode in ("both", "difference", "beside", "target", "prediction"):
        element(page, f"mode-{mode}").click()
        check_pixels(viewer, page, mode=mode)
    notes = {"lung_right": "only open", "tube": "only mine", "heart": ""}
    for name, note in notes.items():
        row = element(page, f"label-{name}")
        assert (row.locator(".paxray-text").get_attribute("data-note") or "") == note
        assert note in row.get_attribute("title")
    found = counts(few.relabel(scene.target.labels), scene.target)
    label = scene.target.labels.index("lung_left")[0]
    expect(element(page, "iou-lung_left")).to_have_text(f"{iou(found)[0, label]:.2f}")
    expect(element(page, "dice-heart")).to_have_text("1.00")
    expect(element(page, "iou-lung_right")).to_have_text("–")
    expect(element(page, "mean")).to_contain_text(f"IoU {iou(found)[0, label]:.2f}")
    element(page, "mode-both").click()
    page.mouse.move(*at(page, 15, 40))
    expect(element(page, "readout")).to_contain_text("a label of mine alonetube")


def test_a_label_that_is_not_predicted_is_not_copied(models, open_page, tmp_path):
    scene = models._load(0)
    few = scene.prediction.select(scene.prediction.labels.index("heart"))
    viewer = LabelViewer(scene.pixels, scene.target, few, editable=True, selected=["aorta"])
    page = open_page()
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    element(page, "copy-prediction").click()
    expect(element(page, "message")).to_have_text("The prediction does not have this label.")
    assert strokes(page) == []
    element(page, "edit-label").select_option(str(viewer._source.labels.index("heart")[0]))
    element(page, "copy-prediction").click()
    assert [record["mode"] for record in strokes(page)] == ["copy"]


def test_broken_rules_are_listed_of_both(models, open_page, tmp_path):
    scene = models._load(0)
    labels, places = scene.target.labels, []
    for name in ("rib_left_5", "rib_left_6"):
        places += labels.index(name)
    stack = scene.target.unpack()
    stack[places] = stack[places[::-1]]
    wrong = PackedMasks.pack(stack, labels)
    for first, second, whose in ((wrong, scene.target, "open"), (scene.target, wrong, "mine")):
        viewer = LabelViewer(scene.pixels, first, second, names=("open", "mine"))
        page = open_page()
        page.goto(write_page(viewer, tmp_path))
        ready(page)
        choice = element(page, "broken")
        choice.select_option(f"{whose}: rib_left_6 not below rib_left_5")
        assert copied(page) == ["rib_left_5", "rib_left_6"]
        assert element(page, "viewer").get_attribute("data-visible")


@pytest.mark.parametrize("names", [("a", "a"), ("", "b")])
def test_names_must_tell_them_apart(models, names):
    scene = models._load(0)
    with pytest.raises(ValueError, match="names"):
        LabelViewer(scene.pixels, scene.target, scene.prediction, names=names)


def test_the_figure_names_them_too(models):
    other = LabelViewer(
        models._load(0).pixels,
        models._load(0).target,
        models._load(0).prediction,
        mode="difference",
    )
    assert np.asarray(other.to_image()).tolist() == np.asarray(models.to_image()).tolist()
    assert models.figure().tobytes() != other.figure().tobytes()
