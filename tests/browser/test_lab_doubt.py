"""The heat map in JupyterLab: the page moves the threshold, Python knows it, and back."""

import pytest
from helpers.viewer_page import element, ready
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """
import numpy as np
from paxray_lib import LabelSet, LabelViewer, PaxrayDataset
from paxray_lib.masks import Probabilities
sample = PaxrayDataset({root!r})[0]
ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(1, 8, 8)
ramp = Probabilities(ramp, LabelSet(['heart']))
viewer = LabelViewer(sample.image, sample.masks, sample.masks, probabilities=ramp)
viewer
""",
    "print('knows', viewer.mode, viewer.thresholds)",
    "viewer.thresholds = {'heart': 0.25}",
]


def test_heat_map_in_jupyterlab(lab, tiny, open_page):
    lab.write("doubt", [cell.replace("{root!r}", repr(str(tiny))) for cell in CELLS])
    page = open_page(viewport={"width": 1366, "height": 768})
    lab.open(page, "doubt")
    lab.run(page, 0)
    ready(page)
    element(page, "mode-probability").click()
    expect(element(page, "heat")).to_be_visible()
    before = element(page, "heat-scores").inner_text()
    slider = element(page, "threshold")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    expect(element(page, "heat-lines")).to_contain_text("p > 0.70")
    assert element(page, "heat-scores").inner_text() != before
    lab.run(page, 1)
    page.get_by_text("knows probability {'heart': 0.7}").wait_for()
    lab.run(page, 2)
    expect(slider).to_have_value("25")
    fits = """() => {
        const panel = document.querySelector(".jp-WindowedPanel-outer, .jp-Notebook");
        const viewer = document.querySelector("[data-testid=viewer]");
        return viewer.offsetHeight <= panel.clientHeight;
    }"""
    assert page.evaluate(fits)
