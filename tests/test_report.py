"""The page of a run: every number in it is recomputed from the stored counts."""

import html
import json
import re

import numpy as np
import pytest
from slowscores import slow_draws, slow_interval, slow_score

from paxray_lib import report, runfolder
from paxray_lib.labels import LABELS as LABELS_OF_PAXRAY
from paxray_lib.labels import LabelSet
from paxray_lib.metrics import Counts
from paxray_lib.tables import summarize

LABELS = LabelSet(["lung_left", "lung_right", "heart", "t8"])
CASES = ["a", "a", "b", "b", "c"]
VIEWS = ["frontal", "lateral", "frontal", "lateral", "frontal"]
SCORES = ("iou_published", "iou_present", "dice_published", "dice_present")


@pytest.fixture
def run_dir(tmp_path):
    """Folder of a run with an evaluation: 5 images, 4 labels, one of them rare."""
    rng = np.random.default_rng(1)
    arrays = {name: rng.integers(0, 9, (5, 4)) for name in ("tp", "fp", "fn")}
    for array in arrays.values():
        array[1:, 3] = 0
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    np.savez(folder / "evaluation/counts.npz", **arrays)
    summary = {"split": "<test>", **summarize(Counts(**arrays), LABELS, VIEWS, CASES)}
    (folder / "evaluation/summary.json").write_text(json.dumps(summary))
    return folder


def table_after(heading, page):
    """Return the table below a heading as {first cell: {column: (text, small text)}}."""
    text = page.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
    columns = [html.unescape(name) for name in re.findall(r"<th[^>]*>(.*?)</th>", text)]
    rows = {}
    for row in re.findall(r"<tr><td>(.*?)</tr>", text):
        name, *cells = re.split(r"</td>(?:<td[^>]*>)?", row)
        texts = [re.match(r"(.*?)(?:<br><small>(.*)</small>)?$", cell).groups() for cell in cells if cell]
        rows[name] = dict(zip(columns[1:], texts, strict=True))
    return rows


def test_every_score_and_interval_is_that_of_the_counts(run_dir):
    status = {"state": "done", "start": runfolder.now(), "steps": []}
    rows = table_after("Scores", report.write_index(run_dir, status).read_text())
    groups = {f"groups · {group.replace('_', ' ')}": group for group in LABELS.groups}
    assert list(rows) == ["overall", "views · frontal", "views · lateral", *groups]
    with np.load(run_dir / "evaluation/counts.npz") as file:
        counts = dict(file)
    draws = list(slow_draws(CASES))
    for name, cells in rows.items():
        view = name.removeprefix("views · ") if name.startswith("views") else None
        images = [i for i in range(5) if view in (None, VIEWS[i])]
        labels = [k for k in range(4) if groups.get(name) in (None, LABELS.group[k])]
        assert cells["images"][0] == str(len(images))
        assert cells["patients"][0] == str(len({CASES[i] for i in images}))
        assert cells["labels"][0] == str(len(labels))
        for score in SCORES:
            text, small = cells[score.replace("_", " ").replace("iou", "IoU").replace("dice", "Dice")]
            assert text == f"{slow_score(counts, images, labels, score):.3f}"
            inside = [[i for i in draw if i in images] for draw in draws]
            low, high = slow_interval([slow_score(counts, draw, labels, score) for draw in inside])
            found = [float(number) for number in small.split("–")]
            assert found == pytest.approx([low, high], abs=0.00051)


def test_paper_is_white_also_for_those_who_read_in_the_dark(run_dir):
    text = report.write_index(run_dir, {"state": "done", "start": runfolder.now(), "steps": []}).read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert text.count("prefers-color-scheme") == 1
    assert "@media print" in text


WIDE = {f"a_long_name_of_a_column_{k}": [0.123456789] * 2 for k in range(14)}


@pytest.fixture
def paper(chromium):
    """A browser's page in print, as wide as A4 within the margins, where nobody can scroll."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 688, "height": 970}, color_scheme="dark")
        page.emulate_media(media="print")
        yield page
        browser.close()


CUT = """[...document.querySelectorAll("body, body *")].filter(element => {
    const hidden = element.clientWidth && element.scrollWidth > element.clientWidth + 1
        && getComputedStyle(element).overflowX != "visible"
    return hidden || element.getBoundingClientRect().right > innerWidth + 1
}).map(element => element.outerHTML.slice(0, 80))"""


@pytest.mark.browser
def test_nothing_is_cut_on_paper(run_dir, paper):
    import nbformat
    import pandas as pd

    code = nbformat.v4.new_code_cell("x = " + " + ".join(WIDE))
    table = {"text/html": pd.DataFrame(WIDE).to_html(), "text/plain": ""}
    code.outputs = [nbformat.v4.new_output("execute_result", table), nbformat.v4.new_output("stream", text="y" * 300)]
    (run_dir / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[code]), run_dir / "notebooks/01_a.ipynb")
    page = report.notebook_page(run_dir / "notebooks/01_a.ipynb")
    arrays = {name: np.full((5, 166), k) for k, name in enumerate(("tp", "fp", "fn"), 3)}
    summary = summarize(Counts(**arrays), LABELS_OF_PAXRAY, VIEWS, CASES)
    for part in (summary["overall"], *summary["groups"].values()):  # as an evaluation with boundary scores has them
        part |= {"nsd_present": 0.5, "nsd_present_interval": [0.4, 0.6], "hd95_median": 12.345}
    (run_dir / "evaluation/summary.json").write_text(json.dumps(summary))
    index = report.write_index(run_dir, {"state": "done", "start": runfolder.now(), "steps": []})
    for path in (index, page):
        paper.goto(path.as_uri())
        assert paper.evaluate(CUT) == [], path.name
    paper.goto(index.as_uri())
    assert paper.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
