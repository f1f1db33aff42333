"""For all browser tests: one Chromium whose pages are watched, and one JupyterLab."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
import pandas as pd
import pytest
from helpers.viewer_page import ready, write_page

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.widget import LabelViewer

LOCAL = (
    "file:",
    "data:",
    "blob:",
    "http://localhost:",
    "http://127.0.0.1:",
    "ws://localhost:",
    "ws://127.0.0.1:",
)


class Watch:
    """What a page must not do, as it happens."""

    def __init__(self, page):
        self.trouble: list[str] = []
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", lambda request: self._address(request.url))
        page.on("websocket", lambda socket: self._address(socket.url))

    def _console(self, message) -> None:
        if message.type == "error":
            self.trouble.append(f"console: {message.text}")

    def _address(self, url: str) -> None:
        if not url.startswith(LOCAL):
            self.trouble.append(f"request: {url}")


@pytest.fixture
def open_page(browser):
    """Open empty pages with the given options; afterwards none of them may have misbehaved."""
    contexts, watches = [], []

    def open_one(**options):
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **options})
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        watches.append(Watch(page))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [line for watch in watches for line in watch.trouble] == []


@pytest.fixture(scope="session")
def viewer(tiny):
    """A viewer of eight images with predictions and scores; no test may leave it changed."""
    dataset = PaxrayDataset(tiny)
    images = [entry.image for entry in dataset.entries]
    values = [0.5, 0.2, 0.9, 0.4, 0.8, 0.3, 0.7, 0.6]
    scores = pd.DataFrame({"image": images, "iou_present": values})

    def shift(sample):
        return PackedMasks(np.roll(sample.masks.data, 3, 1), sample.masks.labels)

    return LabelViewer.browse(dataset, shift, scores=scores)


@pytest.fixture(scope="session")
def address(viewer, tmp_path_factory):
    return write_page(viewer, tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(open_page, address):
    page = open_page()
    page.goto(address)
    ready(page)
    return page


class Lab(NamedTuple):
    """A running JupyterLab: the folder that it shows, its address, its environment variables."""

    folder: Path
    address: str
    environment: dict[str, str]

    def write(self, name: str, cells: list[str]) -> None:
        """Write a notebook of code cells."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
        nbformat.write(notebook, self.folder / f"{name}.ipynb")

    def open(self, page, name: str) -> None:
        """Open a notebook and wait for its kernel."""
        page.set_default_timeout(120_000)
        page.goto(f"{self.address}/lab/workspaces/{name}/tree/{name}.ipynb")
        page.locator(".jp-Cell").first.wait_for()
        page.get_by_text("| Idle").wait_for()

    def run(self, page, number: int) -> None:
        """Run a cell, without waiting for its end."""
        page.locator(".jp-Cell").nth(number).locator(".jp-InputArea-prompt").click()
        page.keyboard.press("Control+Enter")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab for all tests of the session, with settings of its own."""
    folder, settings = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("settings")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTER_CONFIG_DIR": str(settings / "config"),
        "JUPYTER_DATA_DIR": str(settings / "data"),
        "JUPYTER_RUNTIME_DIR": str(settings / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(settings / "work"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root"]
    command += [
        "--ServerApp.token=",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = settings / "log"
    environment = {**os.environ, **own}
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api", server, log)
            yield Lab(folder, address, environment)
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
