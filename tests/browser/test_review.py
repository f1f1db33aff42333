"""Reviewing by keyboard: accept, doubt, reject, notes, and going on where one stopped."""

import json
from unittest.mock import Mock

import numpy as np
import pytest
from helpers.viewer_page import element, ready, shows
from helpers.wire import Wire
from playwright.sync_api import expect

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.review.blind import preferences
from paxray_lib.review.decisions import Review, read_review
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser


def shift(sample):
    return PackedMasks(np.roll(sample.masks.data, 3, 1), sample.masks.labels)


def browse(tiny, folder, **settings):
    return LabelViewer.browse(PaxrayDataset(tiny), shift, review=folder, who="Ada", **settings)


@pytest.fixture
def wire(open_page, tiny, tmp_path):
    wire = Wire(open_page(), browse(tiny, tmp_path / "review"), tmp_path)
    wire.pass_on()
    element(wire.page, "stage").focus()
    return wire


def decisions(folder):
    return {name: (one.verdict, one.note) for name, one in read_review(folder).items()}


def press(wire, *keys):
    """Press keys, each once the film of the one before it is there."""
    for key in keys:
        wire.page.keyboard.press(key)
        wire.pass_on()
        at = wire.page.evaluate("model.get('position')")
        shows(wire.page, wire.viewer._source.names[at])


def test_a_review_by_keys_alone(wire, tiny, tmp_path, open_page):
    page, names = wire.page, wire.viewer._source.names
    assert element(page, "progress").inner_text() == "0 of 8"
    press(wire, "1", "2", "n")
    page.keyboard.press("w")
    page.keyboard.type("rib 6 is 5, n 1 w")  # no commands
    page.keyboard.press("Enter")
    press(wire, "3")
    assert element(page, "progress").inner_text() == "3 of 8"
    assert decisions(tmp_path / "review") == {
        names[0]: ("accept", ""),
        names[1]: ("doubt", ""),
        names[3]: ("reject", "rib 6 is 5, n 1 w"),
    }
    press(wire, "p")  # back, to decide otherwise
    assert element(page, "review-reject").get_attribute("aria-pressed") == "true"
    assert element(page, "note").input_value() == "rib 6 is 5, n 1 w"
    press(wire, "1")  # goes on to the next open one
    assert page.evaluate("model.get('position')") == 4
    press(wire, "1", "1", "1", "1")  # the last of them, then the one that was left out
    assert page.evaluate("model.get('position')") == 2
    press(wire, "j", "2")
    assert element(page, "progress").inner_text() == "8 of 8"
    assert "a decision on every image" in element(page, "message").inner_text()
    assert decisions(tmp_path / "review")[names[3]] == ("accept", "rib 6 is 5, n 1 w")


def test_a_review_goes_on_where_it_stopped(wire, tiny, tmp_path, open_page):
    press(wire, "1", "2")
    again = Wire(open_page(), browse(tiny, tmp_path / "review"), tmp_path)
    shows(again.page, wire.viewer._source.names[2])
    assert element(again.page, "progress").inner_text() == "2 of 8"
    press(wire, "3")
    wire.open()  # the same viewer, its page loaded again
    assert element(wire.page, "progress").inner_text() == "3 of 8"


def test_what_was_not_written_is_said(wire, tmp_path, monkeypatch):
    page, names = wire.page, wire.viewer._source.names
    page.keyboard.press("1")
    assert element(page, "progress").inner_text() == "1 of 8, 1 not yet written"
    with monkeypatch.context() as patch:
        patch.setattr("paxray_lib.review.decisions.write_table", Mock(side_effect=OSError("full")))
        wire.pass_on()
    assert element(page, "progress").inner_text() == "0 of 8"
    assert f"{names[0]}: not written: full" in element(page, "review-trouble").inner_text()
    Review(tmp_path / "review", names, "Bo").decide(names[0], "reject", "dark")
    press(wire, "p", "1")
    assert "decided meanwhile: 'reject' by 'Bo'" in element(page, "review-trouble").inner_text()
    press(wire, "p")
    assert element(page, "review-reject").get_attribute("aria-pressed") == "true"
    press(wire, "1")
    assert element(page, "review-trouble").inner_text() == ""
    assert decisions(tmp_path / "review") == {names[0]: ("accept", "dark")}


def test_nothing_is_decided_on_a_film_that_is_not_seen_yet(wire, tmp_path):
    page = wire.page
    for _ in range(4):
        page.keyboard.press("n")  # a film that the kernel has not sent
    page.keyboard.press("3")
    wire.pass_on()
    assert decisions(tmp_path / "review") == {}
    shows(page, wire.viewer._source.names[4])
    press(wire, "3")
    assert list(decisions(tmp_path / "review")) == [wire.viewer._source.names[4]]


def test_a_blind_review_says_nothing_of_names_and_sources(open_page, tiny, tmp_path):
    viewer = browse(tiny, tmp_path / "review", blind=tmp_path / "keys/key.json")
    wire = Wire(open_page(), viewer, tmp_path)
    wire.pass_on()
    page = wire.page
    ready(page)
    names = [path.stem for path in map(PaxrayDataset(tiny).image_path, range(8))]
    assert element(page, "mode-target").inner_text() == "Masks"
    assert element(page, "place").inner_text() == "1 of 16"
    for _ in range(3):
        element(page, "stage").focus()
        for hidden in (*names, "truth"):
            assert hidden not in element(page, "viewer").inner_text().lower()
        press(wire, "1")
    assert element(page, "progress").inner_text() == "3 of 16"
    assert list(decisions(tmp_path / "review")) == ["01", "02", "03"]


@pytest.fixture
def two_folders(tiny, tmp_path):
    """Two models' masks on four films: moved by 2 pixels, or by 7."""
    dataset = PaxrayDataset(tiny, split="test")
    folders = tmp_path / "unet", tmp_path / "segformer"
    for folder, step in zip(folders, (2, 7), strict=True):
        folder.mkdir()
        for k in range(len(dataset)):
            moved = np.roll(dataset.masks(k).data, step, 1)
            PackedMasks(moved, dataset.labels).write(folder / f"{dataset.image_path(k).stem}.pxm")
    return tiny / "images", folders


def test_the_better_of_two_models_by_keys_without_their_names(open_page, two_folders, tmp_path):
    review, key = tmp_path / "review", tmp_path / "keys/key.json"
    viewer = LabelViewer.browse(*two_folders, review=review, blind=key, who="Ada")
    wire = Wire(open_page(viewport={"width": 700, "height": 700}), viewer, tmp_path)
    page = wire.page
    wire.pass_on()
    for side in ("left", "right"):
        expect(page.locator(".paxray-title", has_text=side)).to_be_visible()
    places = [element(page, name).bounding_box()["x"] for name in ("pane", "pane-2")]
    assert places[0] < places[1]  # left and right in a narrow window, too
    films = list(json.loads(key.read_text())["films"].values())
    element(page, "stage").focus()
    for number, verdict in enumerate(("1", "3", "2")):
        text = element(page, "viewer").inner_text()
        assert not any(word in text for word in ("unet", "segformer", films[number]["image"]))
        press(wire, verdict)
    assert element(page, "progress").inner_text() == "3 of 4"
    assert decisions(review) == {"1": ("left", ""), "2": ("right", ""), "3": ("equal", "")}
    chosen = [films[0]["left"], films[1]["right"], "equal"]
    expected = {name: chosen.count(name) for name in ("segformer", "unet", "equal")}
    found = preferences(review, key)
    assert dict(zip(found["preferred"], found["films"], strict=True)) == expected
    element(page, "help").click()
    assert "left, equal, right" in element(page, "hint").inner_text()


def test_films_of_two_models_the_most_different_first(open_page, two_folders, tmp_path):
    images, (first, second) = two_folders
    name = sorted(path.stem for path in second.iterdir())[2]
    masks = PackedMasks.read(second / f"{name}.pxm")
    PackedMasks(np.roll(masks.data, 40, 0), masks.labels).write(second / f"{name}.pxm")
    wire = Wire(open_page(), LabelViewer.browse(images, (first, second), mode="beside"), tmp_path)
    wire.pass_on()
    page = wire.page
    page.evaluate("model.set('sort_by', 'disagreement')")
    wire.viewer.sort_by = "disagreement"
    items = json.dumps(wire.viewer._items)
    page.evaluate("items => model.set('_items', JSON.parse(items))", items)
    wire.pass_on()
    shows(page, name)
    for role, title in (("target", "unet"), ("prediction", "segformer")):
        expect(element(page, f"title-{role}")).to_have_text(title)
    assert element(page, "sort").locator("option").all_inner_texts()[-1] == "worst disagreement"
    element(page, "stage").focus()
    press(wire, "n")
    assert element(page, "place").inner_text() == "2 of 4"


CELLS = [
    """
from paxray_lib import LabelViewer, PaxrayDataset
viewer = LabelViewer.browse(PaxrayDataset({root!r}), review='review', who='Ada')
viewer
""",
    "print('written', viewer.position, open('review/review.csv').read().split())",
]


@pytest.mark.slow
def test_a_review_in_jupyterlab(lab, tiny, open_page):
    lab.write("review", [cell.replace("{root!r}", repr(str(tiny))) for cell in CELLS])
    page = open_page(viewport={"width": 1366, "height": 768})
    lab.open(page, "review")
    lab.run(page, 0)
    ready(page)
    element(page, "viewer").evaluate("node => node.scrollIntoView()")
    element(page, "stage").focus()
    page.keyboard.press("1")
    expect(element(page, "progress")).to_have_text("1 of 8")
    shows(page, "case000lateral")
    page.keyboard.press("w")
    page.keyboard.type("no")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(element(page, "progress")).to_have_text("2 of 8")
    lab.run(page, 1)
    page.get_by_text("written 2").wait_for()
    text = page.get_by_text("written 2").inner_text()
    assert "case000frontal,accept,,Ada" in text
    assert "case000lateral,reject,,Ada" in text
    lab.run(page, 0)  # again: a new viewer goes on
    expect(element(page, "progress")).to_have_text("2 of 8")
    ready(page)
    shows(page, "case001frontal")
