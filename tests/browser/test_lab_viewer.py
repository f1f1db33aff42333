"""The LabelViewer in JupyterLab, with a kernel of its own."""

import json
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
from helpers.viewer_page import above_legend, element, ready, shows
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """
import numpy as np
from paxray_lib import LabelViewer, PackedMasks, PaxrayDataset
data = PaxrayDataset({root!r})
shift = lambda sample: PackedMasks(np.roll(sample.masks.data, 3, 1), sample.masks.labels)
viewer = LabelViewer.browse(data, shift)
asked = []
viewer.on_msg(lambda _, content, buffers: asked.extend(content['need']))
viewer
""",
    "viewer.selected = ['aorta', 't8']\nviewer.alpha = 200",
    """
import time
from pathlib import Path
print('busy', flush=True)
while not Path('free').exists(): time.sleep(0.1)
""",
    """
viewer.to_image().save('seen.png')
print('saved', viewer.selected, viewer.position, viewer.visible)
""",
    "viewer",
    "print('asked for', asked)",
]
TWO_VIEWS = "document.querySelectorAll('[data-testid=viewer][data-first-ms]').length === 2"


def cells(root):
    return [cell.replace("{root!r}", repr(str(root))) for cell in CELLS]


def is_checked(page, label, checked):
    expect(element(page, f"label-{label}")).to_have_attribute("aria-checked", checked)


def test_viewer_in_jupyterlab(lab, tiny, open_page):
    lab.write("viewer", cells(tiny))
    page = open_page(viewport={"width": 1400, "height": 1000})
    lab.open(page, "viewer")
    lab.run(page, 0)
    ready(page)
    is_checked(page, "heart", "true")

    lab.run(page, 1)  # Python sets the selection, the page follows
    is_checked(page, "aorta", "true")
    is_checked(page, "heart", "false")
    expect(element(page, "opacity")).to_have_value("200")

    it_answers_while_the_kernel_is_busy(lab, page)
    python_knows_what_was_clicked(lab, page)

    page.keyboard.press("Control+s")
    saved = wait_for_output(lab.folder / "viewer.ipynb")
    assert "text/html" in saved["data"]
    assert "".join(saved["data"]["text/plain"]).startswith("LabelViewer(8 images, 166 labels")

    lab.run(page, 4)  # a second view shares what the first one has received
    page.wait_for_function(TWO_VIEWS)
    element(page, "next").nth(1).click()
    shows(page, "case001frontal")
    lab.run(page, 5)
    page.get_by_text("asked for [").wait_for()
    asked = json.loads(page.get_by_text("asked for [").inner_text().removeprefix("asked for "))
    assert asked[:2] == [1, 2]
    assert len(asked) == len(set(asked)), "an image was sent twice"


def it_answers_while_the_kernel_is_busy(lab, page):
    lab.run(page, 2)
    page.get_by_text("busy", exact=True).wait_for()
    drawn = int(element(page, "viewer").get_attribute("data-drawn"))
    element(page, "label-heart").click()
    element(page, "next").click()  # sent ahead of time
    shows(page, "case000lateral")
    assert int(element(page, "viewer").get_attribute("data-drawn")) > drawn
    element(page, "jump").select_option("6")
    page.get_by_text("Waiting for the kernel").wait_for()
    element(page, "jump").select_option("1")
    page.get_by_text("Waiting for the kernel").wait_for(state="hidden")
    assert page.locator(".jp-Cell").nth(2).get_by_text("[*]:").is_visible()  # busy until now
    (lab.folder / "free").touch()


def python_knows_what_was_clicked(lab, page):
    element(page, "zoom-in").click()
    page.wait_for_timeout(400)  # the part that is seen is told when it rests
    visible = [int(n) for n in element(page, "viewer").get_attribute("data-visible").split(",")]
    page.locator(".jp-Cell").nth(2).get_by_text("[3]:").wait_for()
    # widgets send what changed meanwhile once the kernel has answered the first change
    page.wait_for_timeout(500)
    lab.run(page, 3)
    page.get_by_text("saved [").wait_for()
    text = page.get_by_text("saved [").inner_text().strip()
    assert text == f"saved {['heart', 'aorta', 't8']} 1 {visible}"
    with page.expect_download() as download:
        element(page, "export").click()
    seen = np.asarray(Image.open(lab.folder / "seen.png"))
    np.testing.assert_array_equal(above_legend(page, Image.open(download.value.path())), seen)
    assert seen.shape == (*visible[2:], 3)


def test_an_executed_notebook_shows_the_viewer_once_it_is_trusted(lab, tiny, open_page):
    lab.write("executed", cells(tiny)[:2])
    path = lab.folder / "executed.ipynb"
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, resources={"metadata": {"path": str(lab.folder)}}).execute()
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "jupyter", "trust", str(path)]
    subprocess.run(command, env=lab.environment, check=True, capture_output=True)
    page = open_page(viewport={"width": 1400, "height": 1000})
    lab.open(page, "executed")  # its new kernel does not know the widget
    ready(page)
    page.wait_for_timeout(1000)
    is_checked(page, "aorta", "true")  # as the second cell left it
    element(page, "label-heart").click()
    is_checked(page, "heart", "true")


def wait_for_output(path):
    """Return the first output of a notebook as soon as it is saved."""
    for _ in range(100):
        outputs = json.loads(path.read_text())["cells"][0]["outputs"]
        if outputs:
            return outputs[-1]
        time.sleep(0.1)
    return pytest.fail("the notebook was not saved")
