"""`pick_labels` in JupyterLab: the list may change while a click is under way."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """
from paxray_lib import PaxrayDataset
from paxray_lib.viewer.picker import pick_labels
sample = PaxrayDataset({root!r})[0]
picker = pick_labels(sample.image, sample.masks, selected=["heart", "mediastinum_upper"])
picker
""",
    """
import time
from pathlib import Path
print('busy', flush=True)
while not Path('picker-free').exists(): time.sleep(0.1)
""",
    "print('chosen', picker.selected)",
]


def test_a_click_while_the_list_changes(lab, tiny, open_page):
    lab.write("picker", [cell.replace("{root!r}", repr(str(tiny))) for cell in CELLS])
    page = open_page(viewport={"width": 1366, "height": 900})
    lab.open(page, "picker")
    lab.run(page, 0)
    names = page.locator(".widget-select-multiple select")
    search = page.get_by_placeholder("search names")
    chosen = names.locator("option:checked")
    expect(chosen.first).to_have_text(re.compile(r"mediastinum_upper\s\*\s\(12,\s16\)"))
    texts = names.locator("option").all_inner_texts()
    last = next(k for k, text in enumerate(texts) if text.split()[0] == "hemidiaphragm_left")
    lab.run(page, 1)
    page.get_by_text("busy", exact=True).wait_for()
    search.fill("rib left")  # the kernel will answer with a shorter list ...
    page.wait_for_timeout(500)
    names.select_option(index=last)  # ... when this was chosen from the long one
    (lab.folder / "picker-free").touch()
    expect(names.locator("option").first).to_have_text(re.compile("rib_left"))
    page.get_by_text("1 of 165 selected").wait_for()
    search.fill("")
    expect(chosen).to_have_text(re.compile("hemidiaphragm_left"))
    lab.run(page, 2)
    page.get_by_text("chosen ['hemidiaphragm_left']").wait_for()
