"""The LabelViewer in JupyterLab, started here, with a kernel of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

pytestmark = pytest.mark.browser

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
    "viewer.to_image().save('seen.png'); print('saved', viewer.selected, viewer.position, viewer.visible)",
    "viewer",
    "print('asked for', asked)",
]


def write_notebook(folder, root):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.cells = [
        nbformat.v4.new_code_cell(cell.replace("{root!r}", repr(str(root))).strip())
        for cell in CELLS
    ]
    nbformat.write(notebook, folder / "viewer.ipynb")


@pytest.fixture(scope="module")
def lab(tiny, tmp_path_factory):
    """Start JupyterLab in a folder with a notebook; yield its folder, address and environment."""
    folder, settings = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("settings")
    write_notebook(folder, tiny)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(settings / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    lab_dirs = {
        "JUPYTERLAB_SETTINGS_DIR": str(settings / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(settings / "work"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root"]
    command += [
        "--ServerApp.token=",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (settings / "log").open("w") as log:
        env = {**os.environ, **own, **lab_dirs}
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api", server, settings / "log")
            yield folder, f"{address}/lab/workspaces", {**os.environ, **own}
        finally:
            server.terminate()
            server.wait(20)


def wait_for(address, server, log):
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.25)
        if server.poll() is not None:
            break
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def run_cell(page, number):
    """Run a cell, without waiting for its end."""
    page.locator(".jp-Cell").nth(number).locator(".jp-InputArea-prompt").click()
    page.keyboard.press("Control+Enter")


def row(page, name):
    return page.locator(f'[data-testid="label-{name}"]')


def test_viewer_in_jupyterlab(lab, open_page):
    folder, address, _ = lab
    page = open_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/one/tree/viewer.ipynb")
    page.locator(".jp-Cell").nth(3).wait_for()
    page.get_by_text("| Idle").wait_for()
    run_cell(page, 0)
    viewer = page.locator("[data-testid=viewer]")
    page.wait_for_function(
        "Number(document.querySelector('[data-testid=viewer]')?.dataset.drawn) > 1"
    )
    assert row(page, "heart").get_attribute("aria-checked") == "true"

    run_cell(page, 1)  # Python sets the selection, the page follows
    page.wait_for_function(
        "document.querySelector('[data-testid=\"label-aorta\"]').ariaChecked === 'true'"
    )
    assert row(page, "heart").get_attribute("aria-checked") == "false"
    assert page.locator("[data-testid=opacity]").input_value() == "200"

    run_cell(page, 2)
    page.get_by_text("busy", exact=True).wait_for()
    drawn = int(viewer.get_attribute("data-drawn"))
    row(page, "heart").click()
    page.locator("[data-testid=next]").click()  # sent ahead of time
    page.wait_for_function(
        "document.querySelector('canvas').parentNode.ariaLabel.startsWith('case000lateral')"
    )
    assert int(viewer.get_attribute("data-drawn")) > drawn
    page.locator("[data-testid=jump]").select_option("6")
    page.get_by_text("Waiting for the kernel").wait_for()
    page.locator("[data-testid=jump]").select_option("1")
    page.get_by_text("Waiting for the kernel").wait_for(state="hidden")
    # all that while the kernel was busy
    assert page.locator(".jp-Cell").nth(2).get_by_text("[*]:").is_visible()
    (folder / "free").touch()

    page.locator("[data-testid=zoom-in]").click()
    page.wait_for_timeout(400)  # the part that is seen is told when it rests
    visible = [int(value) for value in viewer.get_attribute("data-visible").split(",")]
    page.locator(".jp-Cell").nth(2).get_by_text("[3]:").wait_for()
    # widgets send what changed meanwhile once the kernel has answered the first change
    page.wait_for_timeout(500)
    run_cell(page, 3)  # what was clicked is known in Python
    page.get_by_text("saved [").wait_for()
    text = page.get_by_text("saved [").inner_text().strip()
    assert text == f"saved {['heart', 'aorta', 't8']} 1 {visible}"
    with page.expect_download() as download:
        page.locator("[data-testid=export]").click()
    seen = np.asarray(Image.open(folder / "seen.png"))
    np.testing.assert_array_equal(
        np.asarray(Image.open(download.value.path()).convert("RGB")), seen
    )
    assert seen.shape == (*visible[2:], 3)

    page.keyboard.press("Control+s")
    saved = wait_for_output(folder / "viewer.ipynb")
    assert "text/html" in saved["data"]
    assert "".join(saved["data"]["text/plain"]).startswith("LabelViewer(8 images, 166 labels")

    run_cell(page, 4)  # a second view shares what the first one has received
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=viewer][data-first-ms]').length === 2"
    )
    page.locator("[data-testid=next]").nth(1).click()
    shown = "[...document.querySelectorAll('canvas')].every(c => c.parentNode.ariaLabel.startsWith('case001frontal'))"
    page.wait_for_function(shown)
    run_cell(page, 5)
    page.get_by_text("asked for [").wait_for()
    asked = json.loads(page.get_by_text("asked for [").inner_text().removeprefix("asked for "))
    assert asked[:2] == [1, 2]
    assert len(asked) == len(set(asked)), "an image was sent twice"


def test_an_executed_notebook_shows_the_viewer_once_it_is_trusted(lab, open_page):
    folder, address, env = lab
    notebook = nbformat.read(folder / "viewer.ipynb", 4)
    notebook.cells = notebook.cells[:2]
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.write(notebook, folder / "executed.ipynb")
    command = [sys.executable, "-m", "jupyter", "trust", str(folder / "executed.ipynb")]
    subprocess.run(command, env=env, check=True, capture_output=True)
    page = open_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/two/tree/executed.ipynb")
    page.wait_for_function(
        "Number(document.querySelector('[data-testid=viewer]')?.dataset.drawn) > 1"
    )
    page.get_by_text("| Idle").wait_for()  # the new kernel does not know the widget
    page.wait_for_timeout(1000)
    assert row(page, "aorta").get_attribute("aria-checked") == "true"  # as the second cell left it
    row(page, "heart").click()
    page.wait_for_function(
        "document.querySelector('[data-testid=\"label-heart\"]').ariaChecked === 'true'"
    )


def wait_for_output(path):
    """Return the first output of a notebook as soon as it is saved."""
    for _ in range(100):
        outputs = json.loads(path.read_text())["cells"][0]["outputs"]
        if outputs:
            return outputs[-1]
        time.sleep(0.1)
    return pytest.fail("the notebook was not saved")
