"""Correcting masks in JupyterLab, with a kernel of its own."""

import numpy as np
import pytest
from helpers.viewer_page import element, exported, ready
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """
from paxray_lib import LABELS, LabelViewer, PaxrayDataset
sample = PaxrayDataset({root!r})[0]
viewer = LabelViewer(sample.image, sample.masks, sample.masks, selected=['heart'], editable=True)
viewer
""",
    """
changed = viewer.corrected().unpack('heart')[0] ^ sample.masks.unpack('heart')[0]
print('changed', [record['mode'] for record in viewer.strokes()], bool(changed.any()))
viewer.to_image().save('kernel.png')
""",
    "viewer",
]


def drag(page, *places):
    box = page.locator("canvas").first.bounding_box()
    page.mouse.move(box["x"] + places[0][0] * box["width"], box["y"] + places[0][1] * box["height"])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
    page.mouse.up()


def test_strokes_reach_the_kernel_and_other_views(lab, tiny, open_page):
    lab.write("desk", [cell.replace("{root!r}", repr(str(tiny))) for cell in CELLS])
    page = open_page(viewport={"width": 1366, "height": 768})
    lab.open(page, "desk")
    lab.run(page, 0)
    ready(page)
    show(page)
    for name in ("search", "mode-both", "tool-brush", "auto", "stage"):
        box = element(page, name).bounding_box()  # all in the panel of a laptop, below its tabs
        assert 90 <= box["y"] <= box["y"] + box["height"] <= 740, name
    modes, tool, stage = (
        element(page, name).bounding_box()["y"] for name in ("mode-both", "tool-brush", "stage")
    )
    assert tool < modes < stage  # what is compared is directly above the image
    element(page, "stage").focus()
    page.keyboard.press("b")
    drag(page, (0.1, 0.9), (0.5, 0.8), (0.9, 0.9))
    expect(element(page, "kept")).to_have_text("kept")
    page.keyboard.press("z")
    page.keyboard.press("y")
    expect(element(page, "kept")).to_have_text("kept")
    lab.run(page, 2)  # a second view opens with the strokes
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=viewer][data-first-ms]').length === 2"
    )
    show(page)
    element(page, "tool-eraser").first.click()
    drag(page, (0.2, 0.9), (0.3, 0.8))
    expect(element(page, "kept").first).to_have_text("kept")
    page.wait_for_timeout(300)
    lab.run(page, 1)
    page.get_by_text("changed [").wait_for()
    text = page.get_by_text("changed [").inner_text().strip()
    assert text == "changed ['add', 'undo', 'redo', 'erase'] True"
    same = """async () => {
        const [a, b] = [...document.querySelectorAll('[data-testid=canvas]')].map(canvas =>
            canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data);
        return a.length === b.length && a.every((value, i) => value === b[i]);
    }"""
    assert page.evaluate(same)


KILLED = [
    """
from paxray_lib import LabelViewer, PaxrayDataset
sample = PaxrayDataset({root!r})[0]
viewer = LabelViewer(sample.image, sample.masks, selected=['heart'], editable=True,
                     corrections='corrected')
viewer
""",
    """
import os, signal, time
print('busy', flush=True)
while not os.path.exists('painted'): time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
""",
    "print('has', [record['mode'] for record in viewer.strokes()])",
    "print('saved', viewer.strokes())",
]


def test_a_kernel_killed_while_painting_loses_nothing(lab, tiny, open_page):
    lab.write("killed", [cell.replace("{root!r}", repr(str(tiny))) for cell in KILLED])
    page = open_page(viewport={"width": 1366, "height": 768})
    lab.open(page, "killed")
    lab.run(page, 0)
    ready(page)
    show(page)
    element(page, "tool-brush").click()
    drag(page, (0.1, 0.9), (0.5, 0.8))
    expect(element(page, "kept")).to_have_text("kept")
    lab.run(page, 1)
    page.get_by_text("busy", exact=True).wait_for()
    show(page)
    element(page, "tool-eraser").click()
    drag(page, (0.1, 0.8), (0.4, 0.8))  # the kernel dies before it hears of this one
    expect(element(page, "kept")).to_have_text("1 not yet kept")
    (lab.folder / "painted").touch()
    page.get_by_role("button", name="Ok").click()  # of the notice that the kernel restarts
    page.get_by_text("| Idle").wait_for()
    lab.run(page, 0)
    ready(page)
    expect(element(page, "kept")).to_have_text("kept")
    lab.run(page, 2)
    page.get_by_text("has [").wait_for()
    assert page.get_by_text("has [").inner_text().strip() == "has ['add', 'erase']"
    show(page)
    element(page, "save").click()
    expect(element(page, "save")).to_be_disabled()
    assert (lab.folder / "corrected/labels/image.pxm").is_file()
    lab.run(page, 3)
    page.get_by_text("saved []").wait_for()


def show(page):
    element(page, "viewer").first.evaluate("node => node.scrollIntoView()")


LARGE = [
    """
import numpy as np
from paxray_lib import LABELS, LabelViewer, PackedMasks
stack = np.zeros((166, 2048, 2048), bool)
for k in range(166):
    stack[k, 10 * k : 10 * k + 300, 5 * k : 5 * k + 900] = True
film = np.arange(2048 * 2048, dtype=np.uint32).reshape(2048, 2048).astype(np.uint8)
viewer = LabelViewer(film, PackedMasks.pack(stack, LABELS), selected=LABELS.names, editable=True)
viewer
""",
    """
viewer.to_image().save('large.png')
print('drawn', [record['mode'] for record in viewer.strokes()])
""",
]


def test_what_the_page_draws_of_a_large_film_is_what_the_kernel_draws(lab, open_page):
    lab.write("large", LARGE)
    page = open_page(viewport={"width": 1366, "height": 768})
    lab.open(page, "large")
    lab.run(page, 0)
    ready(page)
    show(page)
    for tool in ("brush", "eraser"):
        element(page, f"tool-{tool}").click()
        drag(page, (0.1, 0.5), (0.5, 0.2), (0.9, 0.6))
        page.keyboard.press("]")
    page.keyboard.press("g")
    drag(page, (0.6, 0.6), (0.9, 0.7), (0.6, 0.9))
    page.keyboard.press("Enter")
    expect(element(page, "kept")).to_have_text("kept", timeout=60_000)
    lab.run(page, 1)
    page.get_by_text("drawn [").wait_for()
    assert page.get_by_text("drawn [").inner_text().strip() == "drawn ['add', 'erase', 'add']"
    seen = np.asarray(Image.open(lab.folder / "large.png"))
    assert seen.shape == (2048, 2048, 3)
    assert np.array_equal(exported(page), seen)


def test_two_tabs_of_one_notebook_see_each_others_strokes(lab, tiny, open_page):
    lab.write("tabs", [cell.replace("{root!r}", repr(str(tiny))) for cell in CELLS])
    first, second = (open_page(viewport={"width": 1366, "height": 768}) for _ in range(2))
    lab.open(first, "tabs")
    lab.run(first, 0)
    ready(first)
    first.keyboard.press("Control+s")
    first.wait_for_timeout(1500)
    second.set_default_timeout(120_000)
    second.goto(f"{lab.address}/lab/workspaces/tabs2/tree/tabs.ipynb")
    ready(second)
    for page, places in ((first, ((0.1, 0.9), (0.5, 0.8))), (second, ((0.3, 0.2), (0.6, 0.7)))):
        show(page)
        element(page, "mode-beside").click()
        element(page, "tool-brush").click()
        drag(page, *places)
        expect(element(page, "kept")).to_have_text("kept")
    drawn = "document.querySelector('[data-testid=canvas]').toDataURL()"
    first.wait_for_timeout(500)
    assert first.evaluate(drawn) == second.evaluate(drawn)
    lab.run(first, 1)
    first.get_by_text("changed [").wait_for()
    assert "changed ['add', 'add'] True" in first.get_by_text("changed [").inner_text()
