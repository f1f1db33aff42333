"""One viewer in two pages: strokes of one are seen in the other, in the kernel's order."""

import numpy as np
import pytest
from helpers.viewer_page import at, drag, element, exported
from helpers.wire import Wire
from playwright.sync_api import expect

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.widget import LabelViewer

pytestmark = pytest.mark.browser


class Pages:
    """Two pages of one viewer: what it sends arrives in both."""

    def __init__(self, open_page, viewer, folder):
        self.viewer, self.wires = viewer, []
        for name in ("first", "second"):
            (folder / name).mkdir()
            self.wires.append(Wire(open_page(), viewer, folder / name))
        self.pages = [wire.page for wire in self.wires]
        viewer.send = self.send
        for page in self.pages:
            element(page, "tool-brush").click()

    def send(self, content, buffers=None):
        for wire in self.wires:
            wire.answers.append((dict(content), list(buffers or [])))

    def pass_on(self):
        while sum(len(wire.to_kernel()) for wire in self.wires) or self.wires[0].answers:
            for wire in self.wires:
                wire.to_page()

    def check(self):
        """Both pages show what the kernel has, once all has arrived."""
        for _ in range(4):
            self.pass_on()
            self.pages[0].wait_for_timeout(100)
        expected = np.asarray(self.viewer.to_image())
        for page in self.pages:
            np.testing.assert_array_equal(exported(page), expected)
        records = [record["id"] for record in self.viewer.strokes()]
        for page in self.pages:
            found = page.evaluate(
                "stores.get(model.get('_labels')).edits.get(0).map(one => one.id)"
            )
            assert found == records
            assert element(page, "viewer").get_attribute("data-pending") == "0"


@pytest.fixture
def two(open_page, tmp_path):
    masks = PackedMasks.pack(np.zeros((166, 60, 60), bool), LABELS)
    pixels = np.zeros((60, 60), np.uint8)
    viewer = LabelViewer(pixels, masks, selected="heart", editable=True, mode="target")
    return Pages(open_page, viewer, tmp_path)


def test_a_stroke_of_one_page_is_seen_in_the_other(two):
    first, second = two.pages
    drag(first, (10, 10), (10, 40))
    two.check()
    assert two.viewer.corrected().counts()[LABELS.index("heart")[0]] > 100
    second.keyboard.press("z")  # takes back what the first page did
    two.check()
    assert two.viewer.corrected().counts().sum() == 0


def test_strokes_that_cross_each_other_on_the_way(two):
    (first, second), (one, other) = two.pages, two.wires
    drag(first, (10, 10), (10, 40))
    second.keyboard.press("e")
    drag(second, (10, 20), (10, 50))
    other.to_kernel()  # erased before anything is there
    one.to_kernel()
    two.check()
    assert two.viewer.corrected().unpack("heart")[0, 10, 25]


def test_a_stroke_that_comes_while_one_is_being_drawn(two):
    first, second = two.pages
    drag(first, (10, 10), (10, 40))
    element(second, "tool-eraser").click()
    second.mouse.move(*at(second, 5, 25))
    second.mouse.down()
    second.mouse.move(*at(second, 8, 25), steps=2)
    two.pass_on()  # meanwhile that of the first page arrives
    second.mouse.move(*at(second, 30, 25), steps=3)
    second.mouse.up()
    two.check()
    assert not two.viewer.corrected().unpack("heart")[0, 10, 25]


@pytest.mark.parametrize("seed", [0, 1])
def test_any_order_ends_in_the_same_masks(two, seed):
    rng = np.random.default_rng(seed)
    for _ in range(14):
        k = rng.integers(2)
        page, wire = two.pages[k], two.wires[k]
        action = rng.integers(6)
        if action < 3:
            element(page, ("tool-brush", "tool-eraser")[rng.integers(2)]).click()
            drag(page, *rng.integers(2, 58, (3, 2)).tolist())
        elif action == 3:
            element(page, ("undo", "redo")[rng.integers(2)]).click()
        elif action == 4:
            wire.to_kernel()
        else:
            wire.to_page()
    two.check()


@pytest.mark.slow
def test_broken_rules_are_those_of_the_corrected_masks(open_page, tmp_path):
    stack = np.zeros((166, 60, 60), bool)
    names = {"lung_left_lobeupper": (40, 20), "lung_left_lobelower": (10, 20)}
    for name, (row, column) in names.items():
        stack[LABELS.index(name)[0], row : row + 8, column : column + 8] = True
    masks = PackedMasks.pack(stack, LABELS)
    viewer = LabelViewer(np.zeros((60, 60), np.uint8), masks, selected=[*names], editable=True)
    two = Pages(open_page, viewer, tmp_path)
    page = two.pages[0]
    wrong = "lung_left_lobelower not below lung_left_lobeupper"
    expect(element(page, "broken")).to_contain_text(wrong)
    upper = str(LABELS.index("lung_left_lobeupper")[0])
    element(page, "edit-label").select_option(upper)
    element(page, "tool-eraser").click()
    drag(page, (44, 10), (44, 40))
    drag(page, (40, 10), (40, 40))
    page.wait_for_timeout(1600)
    sent = two.wires[0].to_kernel()
    assert ["strokes" in content for content in sent] == [True, True]  # first these are kept
    two.pass_on()
    page.wait_for_timeout(1700)
    two.pass_on()
    assert viewer.corrected().counts()[int(upper)] == 0
    rules = viewer._load(0).broken_rules("target")
    for one in two.pages:
        expect(element(one, "broken")).not_to_contain_text(wrong)
        expect(element(one, "broken")).to_contain_text(f"Broken rules: {len(rules)}")
    assert len(rules) == len(viewer._message(0)["broken"]) > 0
