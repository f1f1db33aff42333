"""Strokes that something comes between: a late timer, another image, a second finger."""

from unittest.mock import Mock

import numpy as np
import pytest
from helpers.viewer_page import (
    at,
    drag,
    element,
    exported,
    ready,
    shows,
    strokes,
    write_page,
)
from helpers.wire import Wire

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.review.journal import Journal
from paxray_lib.viewer.widget import LabelViewer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEART = LABELS.index("heart")[0]

# as on a machine that is busy: what the page puts off comes half a second later
LATE = "(later => { window.setTimeout = (f, ms, ...rest) => later(f, (ms ?? 0) + 500, ...rest); })"


SLOW = """() => {
    const before = inflate;
    inflate = async bytes => {
        await new Promise(resolve => setTimeout(resolve, 400));
        return before(bytes);
    };
}"""


@pytest.fixture
def desk(open_page, tmp_path):
    """The page of one film."""
    masks = PackedMasks.pack(np.zeros((166, 60, 60), bool), LABELS)
    viewer = LabelViewer(np.zeros((60, 60), np.uint8), masks, selected="heart", editable=True)
    page = open_page()
    page.add_init_script(f"{LATE}(window.setTimeout)")
    page.goto(write_page(viewer, tmp_path))
    ready(page)
    element(page, "edit-label").select_option(str(HEART))
    return page


def test_a_polygon_that_is_begun_right_after_a_stroke_stays(desk):
    element(desk, "tool-brush").click()
    drag(desk, (50, 10), (50, 40))
    desk.keyboard.press("g")
    desk.mouse.move(*at(desk, 10, 10))
    desk.mouse.down()
    desk.mouse.move(*at(desk, 10, 40), steps=3)
    desk.wait_for_timeout(800)  # the numbers of the tree are renewed meanwhile
    desk.mouse.move(*at(desk, 40, 40), steps=3)
    desk.mouse.up()
    desk.keyboard.press("Enter")
    assert [(one["mode"], one["shape"]) for one in strokes(desk)] == [
        ("add", "brush"),
        ("add", "polygon"),
    ]
    assert len(strokes(desk)[1]["points"]) > 4


@pytest.fixture
def wire(open_page, tiny, tmp_path):
    """A page of several films, and its kernel."""
    settings = {"editable": True, "corrections": tmp_path / "corrected", "selected": "heart"}
    wire = Wire(open_page(), LabelViewer.browse(PaxrayDataset(tiny), **settings), tmp_path)
    element(wire.page, "edit-label").select_option(str(HEART))
    wire.pass_on()
    element(wire.page, "tool-brush").click()
    return wire


def names(viewer):
    return viewer._source.names


def test_a_stroke_that_another_image_interrupts_is_one_of_the_first(wire):
    page, viewer = wire.page, wire.viewer
    first = viewer.corrected(0)
    page.mouse.move(*at(page, 10, 5))
    page.mouse.down()
    page.mouse.move(*at(page, 10, 20), steps=3)
    page.keyboard.press("n")
    shows(page, names(viewer)[1])
    page.mouse.move(*at(page, 20, 20), steps=3)
    page.mouse.up()
    wire.pass_on()
    assert [len(viewer.strokes(k)) for k in (0, 1)] == [1, 0]
    assert viewer.corrected(0).unpack()[HEART, 10, 5:21].all()
    assert viewer.corrected(0) != first
    drag(page, (20, 5), (20, 20))
    wire.pass_on()
    assert [len(viewer.strokes(k)) for k in (0, 1)] == [1, 1]


def test_a_stroke_goes_on_where_the_image_was_saved_meanwhile(wire):
    page, viewer = wire.page, wire.viewer
    drag(page, (10, 5), (10, 20))
    page.keyboard.press("s")
    page.mouse.move(*at(page, 20, 5))
    page.evaluate(SLOW)
    wire.pass_on()  # the saved image arrives, and is unpacked for a while
    page.mouse.down()
    page.mouse.move(*at(page, 20, 10), steps=3)
    page.wait_for_timeout(800)
    page.mouse.move(*at(page, 20, 20), steps=3)
    page.mouse.up()
    wire.pass_on()
    assert len(viewer.strokes(0)) == 1
    assert viewer.corrected(0).unpack()[HEART, 20, 5:21].all()
    page.wait_for_timeout(800)
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))


def test_a_second_finger_has_no_part_in_a_stroke(wire):
    page, viewer = wire.page, wire.viewer
    touch = """([type, pointerId, x, y]) => {
        const stage = document.querySelector("[data-testid=stage]");
        stage.setPointerCapture = () => {};
        const isPrimary = pointerId === 7, common = { bubbles: true, pointerType: "touch" };
        const place = { clientX: x, clientY: y, buttons: type === "pointerup" ? 0 : 1 };
        stage.dispatchEvent(new PointerEvent(type, { ...common, ...place, pointerId, isPrimary }));
    }"""
    events = [("down", 7, 10, 5), ("move", 7, 10, 10), ("down", 8, 40, 40), ("move", 8, 45, 40)]
    events += [("up", 8, 45, 40), ("move", 7, 10, 20), ("up", 7, 10, 20)]
    for kind, pointer, row, column in events:
        page.evaluate(touch, [f"pointer{kind}", pointer, *at(page, row, column)])
    wire.pass_on()
    (record,) = viewer.strokes(0)
    assert len(record["points"]) == 3
    assert max(y for _, y in record["points"]) < 16 * 15


def test_a_storage_that_is_full_loses_no_stroke(wire):
    wire.page.evaluate("void (Storage.prototype.setItem = () => { throw new Error('full'); })")
    drag(wire.page, (10, 5), (10, 20))
    wire.pass_on()
    assert len(wire.viewer.strokes(0)) == 1
    assert element(wire.page, "kept").inner_text() == "kept"


def test_strokes_that_a_full_disk_refused_are_sent_again_in_order(wire, monkeypatch):
    page, viewer = wire.page, wire.viewer
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", Mock(side_effect=OSError("no space left on device")))
        drag(page, (10, 5), (10, 20))
        wire.pass_on()
    assert "no space left" in element(page, "message").inner_text()
    drag(page, (20, 5), (20, 20))
    element(page, "tool-eraser").click()
    drag(page, (20, 5), (20, 20))
    wire.pass_on()
    assert [one["mode"] for one in viewer.strokes(0)] == ["add", "add", "erase"]
    assert element(page, "kept").inner_text() == "kept"
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))


def test_what_someone_else_did_is_loaded_and_followed(wire, tmp_path, tiny):
    page, viewer = wire.page, wire.viewer
    settings = {"editable": True, "corrections": tmp_path / "corrected"}
    drag(page, (10, 5), (10, 20))
    wire.pass_on()
    other = LabelViewer.browse(PaxrayDataset(tiny), **settings)
    other._corrections.add(0, {**viewer.strokes(0)[0], "id": "other", "mode": "erase"})
    drag(page, (20, 5), (20, 20))
    wire.pass_on()
    assert "someone else changed" in element(page, "message").inner_text()
    element(page, "again").click()
    wire.pass_on()
    page.wait_for_function("document.querySelector('[data-testid=kept]').innerText === 'kept'")
    assert [one["mode"] for one in viewer.strokes(0)] == ["add", "erase", "add"]
    page.wait_for_timeout(300)
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))


def test_a_page_that_is_loaded_again_shows_what_was_saved_and_sends_what_was_not_heard_of(wire):
    page, viewer = wire.page, wire.viewer
    drag(page, (10, 5), (10, 20))
    page.keyboard.press("s")
    wire.pass_on()
    drag(page, (20, 5), (20, 20))
    wire.pass_on()
    drag(page, (30, 5), (30, 20))  # the page goes before the kernel hears of it
    wire.open()
    wire.pass_on()
    page.wait_for_timeout(300)
    assert [one["points"][0][1] // 16 for one in viewer.strokes(0)] == [20, 30]
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))


def test_a_stroke_on_a_label_that_is_not_shown_waits_for_it(open_page, tmp_path):
    def viewer(*names):
        masks = PackedMasks.pack(np.zeros((len(names), 60, 60), bool), LabelSet(names))
        settings = {"editable": True, "corrections": tmp_path / "corrected"}
        return LabelViewer(np.zeros((60, 60), np.uint8), masks, **settings)

    wire = Wire(open_page(), viewer("heart", "aorta"), tmp_path)
    element(wire.page, "edit-label").select_option("1")
    element(wire.page, "tool-brush").click()
    drag(wire.page, (10, 5), (10, 20))  # the kernel dies before it hears of it
    wire.connect(viewer("heart", "lung_left"))
    wire.pass_on()
    assert wire.viewer.strokes() == []
    assert "A stroke on aorta waits" in element(wire.page, "message").inner_text()
    wire.connect(viewer("heart", "aorta"))
    wire.pass_on()
    assert [one["name"] for one in wire.viewer.strokes()] == ["aorta"]


def test_a_stroke_that_is_none_goes_from_the_page_too(wire):
    page, viewer = wire.page, wire.viewer
    page.evaluate("void (Painter.prototype.place = () => [8.5, 100])")
    drag(page, (10, 5), (10, 20))
    wire.pass_on()
    assert "whole numbers" in element(page, "message").inner_text()
    element(page, "undo").click()
    wire.pass_on()
    page.wait_for_timeout(300)
    assert [one["mode"] for one in viewer.strokes(0)] == ["undo"]
    np.testing.assert_array_equal(exported(page), np.asarray(viewer.to_image()))
