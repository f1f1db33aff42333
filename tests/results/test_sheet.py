"""The contact sheet of a prediction: pages, order, and what stands below a film."""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.threshold_model import Threshold
from PIL import Image as PilImage

from paxray_lib.measurement.tables import measure_predictions
from paxray_lib.prediction.pipeline import readable
from paxray_lib.prediction.predict import predict
from paxray_lib.results.overlays import Picture
from paxray_lib.results.page import films_of
from paxray_lib.results.sheet import write_sheet

WIDTH, HEIGHT = 285, 310  # of the place of a film
LEFT, TOP = 50, 90


def pages(path):
    """The pages of a sheet, (H, W, 3) int: each is one JPEG."""
    parts = re.findall(rb"\xff\xd8\xff.*?\xff\xd9(?=\s*endstream)", path.read_bytes(), re.DOTALL)
    return [
        np.asarray(PilImage.open(io.BytesIO(part)).convert("RGB")).astype(int) for part in parts
    ]


def place(page, number):
    """The part of a page that a film has, picture and text."""
    row, column = divmod(number, 4)
    top, left = TOP + row * HEIGHT, LEFT + column * WIDTH
    return page[top : top + HEIGHT, left : left + WIDTH]


def shows(part, thumbnail):
    """Whether the part of a page has this picture."""
    picture = np.asarray(PilImage.open(io.BytesIO(thumbnail))).astype(int)
    height, width = picture.shape[:2]
    return np.abs(part[:height, :width] - picture).mean() < 12


def has_red_text(part):
    red, green, blue = part[227:].transpose(2, 0, 1)
    return bool(((red > 120) & (green < 90) & (blue < 90)).any())


def test_films_in_the_order_of_the_page(results):
    _, report, measured, pictures = results
    (page,) = pages(write_sheet(*results))
    assert page.shape == (1754, 1240, 3)
    shown = [film["picture"].thumbnail for film in films_of(report, measured, pictures)]
    assert len(shown) == 6
    assert all(shows(place(page, i), thumbnail) for i, thumbnail in enumerate(shown))
    assert (place(page, 6) > 240).all()
    assert (place(page, 0)[230:300] < 100).any()  # its name
    assert (page[-120:] < 200).any()  # the legend


def test_letters_with_accents_are_plain_ones(results, tmp_path):
    out, *rest = results
    titles = {}
    for name in ("Rontgen", "R\u00f6ntgen", "Ro\u0308ntgen", "R\u4e2dntgen"):
        shutil.copytree(out, tmp_path / name)
        (page,) = pages(write_sheet(tmp_path / name, *rest))
        titles[name] = page[:TOP]
    plain, *accented, foreign = titles.values()
    assert all(np.array_equal(plain, title) for title in accented)
    assert not np.array_equal(plain, foreign)


def test_flags_and_notes_alone_are_red(results):
    out, report, measured, pictures = results
    measured = measured.assign(problem="")
    report = report.assign(
        reason="",
        doubt=[0.04 if "b_pa" in file else 0.9 for file in report["file"]],
        flags=["not_a_chest_film" if "a_pa" in file else np.nan for file in report["file"]],
    )
    noted = [file for file in pictures if "c.png" in file]
    pictures = {**pictures, noted[0]: Picture(problem="changed since")}
    (page,) = pages(write_sheet(out, report, measured, pictures))
    films = [film["name"] for film in films_of(report, measured, pictures)]
    red = {name for i, name in enumerate(films) if has_red_text(place(page, i))}
    assert red == {"a_pa.png", "c.png"}


def test_doubt_is_written_below_its_film(results):
    out, report, *rest = results
    only = report[report["file"].str.contains("b_pa")]
    plain, doubtful = (
        pages(write_sheet(out, only.assign(doubt=number), *rest))[0] for number in (np.nan, 0.31)
    )
    changed = np.abs(plain - doubtful).max(axis=2) > 90
    assert changed[TOP + 225 : TOP + HEIGHT, LEFT : LEFT + WIDTH].any()


@pytest.mark.parametrize(("count", "expected"), [(20, 1), (21, 2), (45, 3)])
def test_many_films_are_several_pages(results, count, expected):
    out, report, measured, pictures = results
    (file,) = [file for file in pictures if "mm_pa" in file]
    row, numbers = (t[t["file"] == file] for t in (report, measured))
    names = [f"{file}_{i:02d}" for i in range(count)]
    report, measured = (
        pd.concat([t] * count, ignore_index=True).assign(file=names) for t in (row, numbers)
    )
    path = write_sheet(out, report, measured, dict.fromkeys(names, pictures[file]))
    sheet = pages(path)
    assert len(sheet) == expected
    assert b"/Count %d" % expected in path.read_bytes()
    last = (count - 1) % 20
    assert shows(place(sheet[-1], last), pictures[file].thumbnail)
    assert last == 19 or (place(sheet[-1], last + 1) > 240).all()


def test_all_labels_leave_room_for_films(results):
    out, report, measured, pictures = results
    (page,) = pages(write_sheet(out, report, measured, pictures, ["*"]))
    shown = films_of(report, measured, pictures)
    assert shows(place(page, 5), shown[5]["picture"].thumbnail)


def test_a_film_that_could_not_be_drawn_and_a_long_name(results):
    out, report, measured, pictures = results
    (file,) = [file for file in pictures if "a_pa" in file]
    problem = Picture(problem=f"{file}: changed since " + "it was predicted " * 9)
    (page,) = pages(write_sheet(out, report, measured, {file: problem}))
    assert has_red_text(place(page, 0))
    assert (place(page, 1) > 240).all()  # nothing reaches the next film


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"\xe4\xb8\xad", b"x" * 200])
def test_names_of_any_bytes(results, name):
    """Of the folder, which is the title, and of films, which are fitted below their pictures."""
    out, report, measured, pictures = results
    other = out.parent / os.fsdecode(name)
    out.rename(other)
    path = write_sheet(other, report, measured, pictures)
    (page,) = pages(path)
    assert (page[TOP - 14 : TOP - 2] > 240).all()  # a title of one line
    assert (page[:TOP, -LEFT + 8 :] > 240).all()
    odd = readable(Path(os.fsdecode(name)))
    (one,) = [file for file in pictures if "b_pa" in file]
    renamed = {one: one.replace("b_pa.png", odd)}
    report, measured = (table.replace({"file": renamed}) for table in (report, measured))
    pictures = {renamed.get(file, file): picture for file, picture in pictures.items()}
    (page,) = pages(write_sheet(other, report, measured, pictures))
    assert odd in [film["name"] for film in films_of(report, measured, pictures)]
    assert (page[TOP:-200, -LEFT:] > 240).all()


def test_a_folder_in_which_nothing_could_be_done(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    report = predict(Threshold(), tmp_path / "x.png", tmp_path / "out").assign(view="", flags="")
    measured = measure_predictions(tmp_path / "out", report)
    assert len(pages(write_sheet(tmp_path / "out", report, measured, {}))) == 1
