"""The page of a run: every number in it is recomputed from the stored counts."""

import html
import json
import os
import re
from urllib.parse import unquote_to_bytes

import nbformat
import numpy as np
import pandas as pd
import pytest
from helpers.sampledata import random_evaluation
from helpers.slowscores import (
    slow_distances,
    slow_draws,
    slow_interval,
    slow_labels_scored,
    slow_resamples,
    slow_score,
)

from paxray_lib.evaluation.tables import COLUMNS, summarize
from paxray_lib.labels.table import LABELS as LABELS_OF_PAXRAY
from paxray_lib.metrics.counting import Counts
from paxray_lib.runs import report
from paxray_lib.utils import files

# 12 images of 6 patients; of its 6 labels one is rare, one in no image
RANDOM = random_evaluation()
LABELS = RANDOM.labels
SCORES = [f"{name}_{convention}" for name, convention in COLUMNS]


def status(state="done"):
    return {"state": state, "start": files.now(), "steps": []}


@pytest.fixture
def run_dir(tmp_path):
    """Folder of a run with an evaluation."""
    RANDOM.write(tmp_path / "run/evaluation")
    return tmp_path / "run"


def table_after(heading, page):
    """Return the table below a heading as {first cell: {column: (text, small text)}}."""
    text = page.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
    columns = [html.unescape(name) for name in re.findall(r"<th(?: [^>]*)?>(.*?)</th>", text)]
    rows = {}
    for row in re.findall(r"<tr>(<td.*?)</tr>", text, re.DOTALL):
        cells = re.findall(r"<td[^>]*>(.*?)(?:<br><small>(.*?)</small>)?</td>", row)
        rows[cells[0][0]] = dict(zip(columns, cells, strict=True))
    return rows


def words(score):
    return score.replace("_", " ").replace("iou", "IoU").replace("dice", "Dice")


def test_every_score_and_interval_is_that_of_the_counts(run_dir):
    rows = table_after("Scores", report.write_index(run_dir, status()).read_text())
    groups = {f"groups · {group.replace('_', ' ')}": group for group in LABELS.groups}
    assert list(rows) == ["overall", "views · frontal", "views · lateral", *groups]
    with np.load(run_dir / "evaluation/counts.npz") as file:
        counts = dict(file)
    draws = list(slow_draws(counts["cases"].tolist()))
    for name, cells in rows.items():
        view = name.removeprefix("views · ") if name.startswith("views") else None
        images = [i for i in range(12) if view in (None, counts["views"][i])]
        labels = [k for k in range(6) if groups.get(name) in (None, LABELS.group[k])]
        patients = len({counts["cases"][i] for i in images})
        scored = slow_labels_scored(counts, images, labels, "iou_present")
        about = (len(images), patients, scored, len(labels))
        assert tuple(map(int, re.findall(r"\d+", cells.pop("")[1]))) == about
        upper, share = slow_distances(counts, images, labels)
        assert cells.pop("hd95 median") == (
            f"{upper:.3f}" if np.isfinite(upper) else "infinite",
            f"{100 * share:.0f} % infinite",
        )
        for score in SCORES:
            text, small = cells.pop(words(score))
            assert text == f"{slow_score(counts, images, labels, score):.3f}"
            low, high = slow_interval(slow_resamples(counts, draws, images, labels, score))
            if low is None:
                assert small == ""
            else:
                ends = [float(number) for number in small.split("–")]
                assert ends == pytest.approx([low, high], abs=0.00051)
        assert cells == {}  # nothing is left unchecked


def test_the_headline_is_the_score_and_whether_the_data_are_synthetic(run_dir):
    path = run_dir / "evaluation/summary.json"
    summary = json.loads(path.read_text())
    for synthetic, said in ((None, ""), (True, "Synthetic data"), (False, "Not synthetic")):
        path.write_text(json.dumps({**summary, "synthetic": synthetic} if said else summary))
        page = report.write_index(run_dir, status()).read_text()
        headline = page.partition('class="headline"')[2].partition("</section>")[0]
        scores = re.findall(r"<strong>(0\.\d{3})</strong> mean IoU, <em>(\w+)</em>", headline)
        assert scores == [
            (f"{summary['overall'][f'iou_{kind}']:.3f}", kind) for kind in ("present", "published")
        ]
        assert [text for text in ("Synthetic data", "Not synthetic") if text in headline] == (
            [said] if said else []
        )


def test_curve_and_tagged_figures_come_before_the_table(run_dir):
    (run_dir / "metrics.csv").write_text("epoch,train_loss,val_iou_present\n1,0.9,\n2,0.5,0.4\n")
    output = nbformat.v4.new_output("display_data", {"image/png": "aGVsbG8="})
    cells = [
        nbformat.v4.new_markdown_cell("# 3. Scores & <b>more</b>"),
        nbformat.v4.new_code_cell("plot()", outputs=[output], metadata={"tags": ["report"]}),
        nbformat.v4.new_code_cell("other()", outputs=[output]),
    ]
    (run_dir / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), run_dir / "notebooks/03_scores.ipynb")
    page = report.write_index(run_dir, status()).read_text()
    assert page.count("data:image/png;base64,aGVsbG8=") == 1
    assert "03 · Scores &amp; &lt;b&gt;more&lt;/b&gt;" in page
    marks = ("headline", "svg+xml", "aGVsbG8=", "<h2>Scores", "<h2>Notebooks", "<h2>Settings")
    places = [page.index(mark, page.index("<body>")) for mark in marks]
    assert places == sorted(places)
    (run_dir / "metrics.csv").write_text("")
    assert "svg+xml" not in report.write_index(run_dir, status()).read_text()


def test_the_calibration_error_is_that_of_the_bins(run_dir):
    page = report.write_index(run_dir, status()).read_text()
    with np.load(run_dir / "evaluation/counts.npz") as file:
        pixels, true, given = (
            file[f"bins_{name}"].sum(axis=0) for name in ("pixels", "true", "probability")
        )
    error = sum(abs(t - p) for t, p in zip(true, given, strict=True)) / pixels.sum()
    assert f"calibration error: {error:.3f}" in page
    assert "split: test" in page


def test_paper_is_white_also_for_those_who_read_in_the_dark(run_dir):
    text = report.write_index(run_dir, status()).read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert text.count("prefers-color-scheme") == 1
    assert "@media print" in text


def test_files_may_have_names_that_are_no_utf_8(run_dir):
    (run_dir / "overlays").mkdir()
    for name in (b"M\xfcller #1 100%.png", "M\u00fcller.png".encode()):
        (run_dir / "overlays" / os.fsdecode(name)).write_bytes(b"")
    text = report.write_index(run_dir, status()).read_text()
    assert "<figcaption>M\\udcfcller #1 100%</figcaption>" in text
    links = re.findall(r'href="(overlays/[^"]+png)"', text)
    assert len(links) == 4
    assert all(
        os.path.exists(os.fsencode(run_dir) + b"/" + unquote_to_bytes(link)) for link in links
    )


def test_a_page_written_while_running_says_when(run_dir):
    text = report.write_index(run_dir, status("running")).read_text()
    assert re.search(
        r"<h1>.*running when this page was written, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</span></h1>",
        text,
    )


WIDE = {f"a_long_name_of_a_column_{k}": [0.123456789] * 2 for k in range(14)}


@pytest.fixture
def paper(browser):
    """A browser's page in print, as wide as A4 within the margins, where nobody can scroll."""
    page = browser.new_page(viewport={"width": 688, "height": 970}, color_scheme="dark")
    page.emulate_media(media="print")
    yield page
    page.close()


CUT = """[...document.querySelectorAll("body, body *")].filter(element => {
    const hidden = element.clientWidth && element.scrollWidth > element.clientWidth + 1
        && getComputedStyle(element).overflowX != "visible"
    return hidden || element.getBoundingClientRect().right > innerWidth + 1
}).map(element => element.outerHTML.slice(0, 80))"""


@pytest.mark.browser
def test_nothing_is_cut_on_paper(run_dir, paper):
    code = nbformat.v4.new_code_cell("x = " + " + ".join(WIDE))
    table = {"text/html": pd.DataFrame(WIDE).to_html(), "text/plain": ""}
    code.outputs = [
        nbformat.v4.new_output("execute_result", table),
        nbformat.v4.new_output("stream", text="y" * 300),
    ]
    (run_dir / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[code]), run_dir / "notebooks/01_a.ipynb")
    page = report.notebook_page(run_dir / "notebooks/01_a.ipynb")
    arrays = {name: np.full((4, 166), k) for k, name in enumerate(("tp", "fp", "fn"), 3)}
    summary = summarize(
        Counts(**arrays), LABELS_OF_PAXRAY, ["frontal", "lateral"] * 2, ["a", "a", "b", "b"]
    )
    # as an evaluation with boundary scores has them
    for part in (summary["overall"], *summary["groups"].values()):
        part |= {"nsd_present": 0.5, "nsd_present_interval": [0.4, 0.6]}
        part |= {"hd95_median": None, "hd95_infinite_share": 0.625}
    (run_dir / "evaluation/summary.json").write_text(json.dumps(summary))
    index = report.write_index(run_dir, status())
    for path in (index, page):
        paper.goto(path.as_uri())
        assert paper.evaluate(CUT) == [], path.name
    paper.goto(index.as_uri())
    assert paper.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
