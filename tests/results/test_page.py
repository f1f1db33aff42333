"""The page of a prediction: order, what it says, and that it needs nothing else."""

import html
import re

import numpy as np
import pandas as pd
from helpers.threshold_model import Threshold

from paxray_lib.measurement.tables import measure_predictions
from paxray_lib.prediction.predict import predict
from paxray_lib.results import page as page_module
from paxray_lib.results.overlays import Picture, draw_predictions
from paxray_lib.results.page import write_page


def films(page):
    """Names of the films of a page, in order."""
    return [html.unescape(name) for name in re.findall("<strong>(.+?)</strong>", page)]


def row_of(page, name):
    (row,) = [row for row in page.split("<tr ") if f"<strong>{html.escape(name)}</strong>" in row]
    return html.unescape(row)


def test_films_by_name_with_their_numbers_and_notes(results):
    page = write_page(*results).read_text()
    assert films(page) == [
        *("<script>x_lat.png", "a_pa.png", "b_pa.png", "c.png", "mm_pa.dcm", "zero_pa.dcm")
    ]
    assert "6 films with masks · 1 failed" in page
    assert "</i>heart<" in page
    assert "</i>spine *<" in page  # compared with a CT alone
    assert "broken.png: not a PNG, JPEG or DICOM" in page
    assert str(results[0].parent) not in page
    row = row_of(page, "mm_pa.dcm")
    assert all(
        text in row for text in ("0.37", ">40\u00a0mm<", ">108\u00a0mm<", ">13\u00a0cm²<", "6 / ")
    )
    row = row_of(page, "a_pa.png")
    assert all(text in row for text in ("frontal", "0.37", ">20\u00a0px<", ">320\u00a0px<"))
    assert "view unknown" in row_of(page, "c.png")
    assert "PixelSpacing: pixels of 0 x 0 mm" in row_of(page, "zero_pa.dcm")
    assert "lies behind the heart" in html.unescape(page)  # what a lung area is


def test_one_file_without_a_network(results):
    page = write_page(*results).read_text()
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.search(r"(src|href)=.?(?!data:)\w", page)
    assert "<script" not in page
    assert "url(" not in page


def test_the_most_doubtful_come_first(results):
    out, report, *rest = results
    doubts = {"b_pa.png": 0.25, "a_pa.png": 0.125, "c.png": 0.0625, "mm_pa.dcm": np.nan}
    report = report.assign(
        doubt=[doubts.get(file.rsplit("/", 1)[1], 0.5) for file in report["file"]],
        flags=["not_a_chest_film" if "c.png" in file else np.nan for file in report["file"]],
    )
    page = write_page(out, report, *rest).read_text()
    # flags first, what is not known last
    expected = ["c.png", "<script>x_lat.png", "zero_pa.dcm", "b_pa.png", "a_pa.png", "mm_pa.dcm"]
    assert films(page) == expected
    assert "most doubtful first" in page
    assert page.count("estimate of 1 - Dice") == 2  # on hover, and in words
    assert "margin " in row_of(page, "b_pa.png")
    assert "not a chest film" in row_of(page, "c.png")
    assert ">0.06<" in row_of(page, "c.png")
    assert page.count("not a chest film") == 1


def test_pictures_lead_to_large_ones_that_are_there(results):
    out, report, measured, _ = results
    page = write_page(out, report, measured, draw_predictions(out, report)).read_text()
    links = re.findall('href="(.+?)"', page)
    assert "overlays/%3Cscript%3Ex_lat.jpg" in links
    assert len(links) == 6


def test_a_film_that_could_not_be_drawn_is_there(results):
    out, report, measured, pictures = results
    (file,) = [file for file in pictures if "a_pa" in file]
    pictures[file] = Picture(problem=f"{file}: changed since")
    row = row_of(write_page(out, report, measured, pictures).read_text(), "a_pa.png")
    assert "no picture" in row
    assert ">changed since<" in row


def test_a_folder_in_which_nothing_could_be_done(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    report = predict(Threshold(), tmp_path / "x.png", tmp_path / "out").assign(view="", flags="")
    measured = measure_predictions(tmp_path / "out", report)
    page = write_page(tmp_path / "out", report, measured, {}).read_text()
    assert "0 films with masks · 1 failed" in page


def test_three_hundred_films_are_a_page_that_can_be_sent(results):
    out, report, measured, pictures = results
    (file,) = [file for file in pictures if "mm_pa" in file]
    noise = pictures[file].thumbnail  # of no film there are more bytes
    row, numbers = (t[t["file"] == file] for t in (report, measured))
    names = [f"{file}_{i}" for i in range(300)]
    report, measured = (
        pd.concat([t] * 300, ignore_index=True).assign(file=names) for t in (row, numbers)
    )
    page = write_page(out, report, measured, dict.fromkeys(names, Picture(noise)))
    assert page.stat().st_size < 300 * (4 * len(noise) // 3 + 2000)


def test_of_very_many_films_it_has_the_first(results, monkeypatch):
    out, report, measured, _ = results
    monkeypatch.setattr(page_module, "MOST_FILMS", 2)
    first = page_module.in_order(report)["file"].tolist()
    assert [file.rsplit("/", 1)[1] for file in first] == ["<script>x_lat.png", "a_pa.png"]
    pictures = draw_predictions(out, report, overlays=False, thumbnails=first)
    assert set(pictures) == set(first)
    page = write_page(out, report, measured, pictures).read_text()
    assert films(page) == ["<script>x_lat.png", "a_pa.png"]
    assert "6 films with masks, of which the first 2 are here · 1 failed" in page
    drawn = draw_predictions(out, report, thumbnails=first)
    assert len(drawn) == 6
    assert all(picture.overlay for picture in drawn.values())
    assert {file for file, picture in drawn.items() if picture.thumbnail} == set(first)
    failed = report.assign(output="", status="failed", reason="no luck")
    page = write_page(out, failed, measured, {}).read_text()
    assert page.count("no luck") == 2
    assert "and 5 more, in report.csv" in page
