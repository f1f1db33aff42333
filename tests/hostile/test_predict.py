"""Predictions: names and folders that mislead, records that are damaged, work that is stopped."""

import csv
import itertools
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from helpers.faults import writing_is_met_by
from helpers.hostile import Case, cases, run_case
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib.prediction import films
from paxray_lib.utils import read_table


@pytest.fixture
def run(tmp_path, weights):
    """Run a command in the test's folder, check code and words, and return the output."""

    def run(command, code, words):
        case = Case("", lambda _: None, command, code, words)
        return run_case(case, here=tmp_path, weights=weights)

    return run


PREDICT = "predict --images {here}/in --out {here}/out --weights {weights}"
ALL_OK = (0, "2 ok, 0 skipped, 0 failed")


def images(*names, **contents):
    """Return what makes images in `in`, and in `out` files of these contents (None: folders)."""

    def make(here):
        for number, name in enumerate(names):
            path = here / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = np.random.default_rng(number).integers(0, 255, (40, 50), np.uint8)
            Image.fromarray(picture).save(path, format="PNG")
        for name, content in contents.items():
            path = here / "out" / name.replace("_", ".")
            if content is None:
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)

    return make


def both(*makes):
    return lambda here: [make(here) for make in makes]


def pipe(name):
    return lambda here: ((here / "out").mkdir(), os.mkfifo(here / "out" / name))


TWO = images("a.png", "b.png")


@cases(
    ("a name of 250 bytes", images("x" * 246 + ".png", "a.png"), PREDICT, *ALL_OK),
    (
        "two names whose outputs would be too long",
        images("x" * 250 + ".png", "x" * 250 + ".jpg"),
        *(PREDICT, 1, "File name too long.*rename.*0 ok, 0 skipped, 2 failed"),
    ),
    ("names of our own files", images("settings.png", "Report.png"), PREDICT, *ALL_OK),
    (
        "a name of our own file as COCO",
        images("settings.png", "a.png"),
        *(f"{PREDICT} --format coco", *ALL_OK),
    ),
    (
        "a folder that is named like our report",
        images("report.csv/a.png", "b.png"),
        *(PREDICT, 2, r"no distinct outputs.*report\.csv.*rename"),
    ),
    ("a folder named like an output", images("a.png", "a.pxm/b.png"), PREDICT, *ALL_OK),
    (
        "names with quotes, commas and marks",
        images('a",b.png', "\u202egnp.\u2028.png"),
        *(PREDICT, *ALL_OK),
    ),
    ("names with control characters", images("\x1b[2Ja\r\nb\t.png", "\x7f.png"), PREDICT, *ALL_OK),
    (
        "a line end in the name of what fails",
        lambda here: (TWO(here), (here / "in/c\n9 ok, 0 failed\r.png").touch()),
        *(PREDICT, 1, r"failed: [^\n]*c\\n9 ok, 0 failed\\r.*2 ok, 0 skipped, 1 failed"),
    ),
)
def test_names(case, hostile):
    hostile(case)


@cases(
    (
        "an output folder that is a file",
        lambda here: (TWO(here), (here / "out").touch()),
        *(PREDICT, 2, "out.*folder"),
    ),
    ("a device", TWO, PREDICT.replace("{here}/out", "/dev/null"), 2, "/dev/null.*folder"),
    (
        "a link loop",
        lambda here: (TWO(here), (here / "out").symlink_to(here / "out")),
        *(PREDICT, 2, "out.*folder"),
    ),
    (
        "a folder where none can be made",
        TWO,
        *(PREDICT.replace("{here}/out", "/proc/paxray/out"), 2, "/proc/paxray"),
    ),
    ("a folder in the images", TWO, PREDICT.replace("/out", "/in/out"), *ALL_OK),
    ("the folder of the images", TWO, PREDICT.replace("/out", "/in"), *ALL_OK),
    (
        "a file of somebody's in the place of an output",
        both(TWO, images(a_pxm=b"mine")),
        *(PREDICT, 2, r"a\.pxm: is there already and was not predicted"),
    ),
    (
        "a folder in the place of an output",
        both(TWO, images(a_pxm=None)),
        *(f"{PREDICT} --overwrite", 1, r"a\.png: no output can be written.*1 ok, 0 sk.*1 failed"),
    ),
)
def test_output_folders(case, hostile):
    hostile(case)


def views(text):
    return both(TWO, lambda here: (here / "views.csv").write_bytes(text))


VIEWS = f"{PREDICT} --views {{here}}/views.csv"


@cases(
    ("no such table", TWO, VIEWS, 2, r"views\.csv: no such file"),
    ("a folder", both(TWO, lambda here: (here / "views.csv").mkdir()), VIEWS, 2, "a folder, but"),
    ("an empty table", views(b""), VIEWS, 2, r"views\.csv: the file is empty"),
    ("bytes", views(bytes(range(256)) * 9), VIEWS, 2, r"views\.csv: not a table of images"),
    ("a null", views(b"image,view\na.png,\0\n"), VIEWS, 2, r"views\.csv"),
    ("an open quote", views(b'image,view\n"a.png,PA\n'), VIEWS, 2, "not a table of images"),
    ("other columns", views(b"file,view\na.png,PA\n"), VIEWS, 2, "not one column 'image' but file"),
    ("a column twice", views(b"image,view,view\n"), VIEWS, 2, "not one column 'view' but image"),
    ("semicolons", views(b"image;view\na.png;PA\n"), VIEWS, 2, "not one column 'image'"),
    (
        "an unknown view",
        views(b"image,view\nb.png,PA\na.png,frntal\n"),
        *(VIEWS, 2, r"views\.csv, line 3: view 'frntal': unknown; did you mean 'frontal'"),
    ),
    (
        "an unknown image",
        views(b"image,view\naa.png,PA\n"),
        *(VIEWS, 2, r"line 2: image 'aa\.png': in .*in is none; did you mean 'a\.png'"),
    ),
    (
        "an image twice",
        views(b"image,view\na.png,PA\nb.png,PA\na.png,LAT\n"),
        *(VIEWS, 2, r"line 4: image 'a\.png' stands in an earlier row"),
    ),
    ("a path out of the folder", views(b"image,view\n../a.png,PA\n"), VIEWS, 2, "is none"),
    ("short and long rows", views(b"image,view\na.png\nb.png,PA,,7\n\n"), VIEWS, *ALL_OK),
)
def test_tables_of_views(case, hostile):
    hostile(case)


SPACING = f"{PREDICT} --measure-doubtful --view frontal --spacing"


@cases(
    *(
        (f"of {number}", TWO, f"{SPACING} {number}", 2, "pixels of a film have 0.01 to 10 mm")
        for number in ("0", "-0.14", "nan", "inf", "1e300", "-1e-300", "11")
    ),
    ("a word", TWO, f"{SPACING} wide", 2, "--spacing"),
    ("for nothing", TWO, f"{PREDICT} --spacing 0.2", 2, "--report, --sheet or --json"),
    ("of a film that may have it", TWO, f"{SPACING} 10", *ALL_OK),
    (
        "of a film that would be too long",
        lambda here: (TWO(here), Image.effect_noise((300, 9), 90).save(here / "in/long.png")),
        *(f"{SPACING} 10", 1, r"long\.png: pixels of 10 x 10 mm in 9 x 300: not an X-ray film"),
    ),
)
def test_spacings(case, hostile):
    hostile(case)


SEND = f"{PREDICT} --view frontal --overlays --report"


@cases(
    (
        "names",
        images('a",b.png', "\u202egnp.\u2028<b>.png"),
        SEND,
        0,
        r"2 pictures.*report\.html: 0",
    ),
    ("control characters", images("\x1b[2Ja\r\nb.png", "\x7f.png"), SEND, 0, "2 pictures"),
    (
        "some that fail",
        both(TWO, images(), lambda here: (here / "in/c.png").touch()),
        SEND,
        1,
        "html",
    ),
    ("the folder of the images", TWO, SEND.replace("/out", "/in"), 0, "2 ok.*2 pictures"),
    (
        "nothing that could be done",
        lambda here: (here / "in").write_text("x"),
        SEND,
        1,
        "0 pictures",
    ),
    (
        "a page that is a folder",
        both(TWO, images(report_html=None)),
        SEND,
        2,
        r"report\.html: a folder",
    ),
    ("overlays that are a file", both(TWO, images(overlays=b"")), SEND, 2, "overlays"),
    (
        "a folder in the place of a picture",
        both(TWO, lambda here: (here / "out/overlays/a.jpg").mkdir(parents=True)),
        *(SEND, 1, r"a\.jpg: is there already and was not drawn.*1 pictures"),
    ),
    (
        "a table of definitions that is a pipe",
        both(TWO, pipe("measurements.md")),
        SEND,
        2,
        "a named pipe",
    ),
)
def test_what_is_to_be_sent(case, hostile):
    hostile(case)


LINES = f"{PREDICT} --json --view frontal"
LINE = r'\{"file": [^\n]*\}\n'


@cases(
    ("names", images('a",b.png', "\u202egnp.\u2028<b>.png"), LINES, 0, rf"2 ok.*{LINE}{LINE}"),
    ("a line end", images("\x1b[2Ja\r\nb.png", "\x7f.png"), LINES, 0, rf"{LINE}{LINE}"),
    ("a failure", both(TWO, lambda here: (here / "in/c.png").touch()), LINES, 1, rf"{LINE}" * 3),
    ("no film", lambda here: (here / "in").mkdir(), LINES, 2, "in: "),
    ("a bad name of a label", TWO, f"{LINES} --labels hart", 2, "did you mean 'heart'"),
    (
        "a spacing that cannot be",
        lambda here: (TWO(here), write_xray(here / "in/c.dcm", (9, 9), PixelSpacing=[0, 0])),
        *(LINES, 1, r'"spacing_mm": null, [^\n]*"problem": "[^"]*PixelSpacing'),
    ),
)
def test_lines_for_programs(case, hostile):
    hostile(case)


@cases(
    ("garbage", both(TWO, images(manifest_jsonl=os.urandom(9999))), PREDICT, *ALL_OK),
    ("nesting", both(TWO, images(manifest_jsonl=b'[{"a":' * 50_000)), PREDICT, *ALL_OK),
    ("no entries", both(TWO, images(manifest_jsonl=b"[]\n7\n{}\n")), PREDICT, *ALL_OK),
    (
        "outputs elsewhere",
        both(TWO, images(manifest_jsonl=b'{"output": "../in/a.png", "sources": {"x": [1]}}\n')),
        *(f"{PREDICT} --overwrite", *ALL_OK),
    ),
    ("a folder", both(TWO, images(manifest_jsonl=None)), PREDICT, 2, "manifest.jsonl: a folder"),
    ("a pipe", both(TWO, pipe("manifest.jsonl")), PREDICT, 2, "manifest.jsonl: a named pipe"),
)
def test_manifests(case, hostile):
    hostile(case)


@cases(
    ("a folder", both(TWO, images(settings_json=None)), PREDICT, 2, "settings.json: a folder"),
    ("a pipe", both(TWO, pipe("settings.json")), PREDICT, 2, "settings.json: a named pipe"),
    ("a list", both(TWO, images(settings_json=b"[]")), PREDICT, 2, "not the settings.*another fol"),
    ("nesting", both(TWO, images(settings_json=b"[" * 100_000)), PREDICT, 2, "nested too deeply"),
    (
        "no text",
        both(TWO, images(settings_json=b"\xff\xfe")),
        PREDICT,
        2,
        "settings.json: not a JS",
    ),
    (
        "doubled keys",
        both(TWO, images(settings_json=b'{"view": 1, "view": null}')),
        *(PREDICT, 2, "stands twice"),
    ),
    (
        "other settings",
        both(TWO, images(settings_json=b"{}")),
        PREDICT,
        2,
        "predictions with other",
    ),
)
def test_settings(case, hostile):
    hostile(case)


@cases(
    ("formulas", images("=1+1.png", "@x\r=1.png"), f"{PREDICT} --measure-doubtful", *ALL_OK),
    ("more", images("+a.png", "-b.png"), f"{PREDICT} --measure-doubtful", *ALL_OK),
)
def test_no_cell_of_a_table_is_a_formula(case, hostile, run, tmp_path):
    hostile(case)
    run(case.command, 0, "0 ok, 2 skipped, 0 failed")
    for name in ("report.csv", "measurements.csv"):
        with open(tmp_path / "out" / name, newline="") as file:
            texts = [cell for row in csv.reader(file) for cell in row]
        assert not [t for t in texts if t.startswith(("=", "+", "@", "-b"))]
        outputs = read_table(tmp_path / "out" / name)["output"]
        assert all((tmp_path / "out" / output).is_file() for output in outputs)


def test_damage_between_prediction_and_measurement_is_one_failed_row(run, tmp_path):
    images("a.png", "b.png", "c.png")(tmp_path)
    run(f"{PREDICT} --measure-doubtful", *ALL_OK[:1], "3 ok")
    content = (tmp_path / "out/a.pxm").read_bytes()
    (tmp_path / "out/a.pxm").write_bytes(content[:-9])
    run(f"{PREDICT} --measure-doubtful", 1, r"measurements: .*a\.pxm: damaged.*")
    table = read_table(tmp_path / "out/measurements.csv")
    assert table["problem"].notna().tolist() == [True, False, False]
    assert table["lung_area_px"].isna().tolist()[0]


@pytest.mark.parametrize("spacing", [[1e300, 1e300], [0.14, 42.0], [1e-9, 1e-9]])
def test_what_no_film_can_have_gives_no_millimetres(run, tmp_path, spacing):
    images("a.png")(tmp_path)
    write_xray(tmp_path / "in/xfrontal.dcm", (40, 50), PixelSpacing=spacing)
    words = r"2 ok, 0 skipped, 0 failed;.*measurements: \S+xfrontal\.dcm: PixelSpacing: "
    run(f"{PREDICT} --measure-doubtful", 1, words)
    table = read_table(tmp_path / "out/measurements.csv").set_index("output")
    assert table["problem"].notna().to_dict() == {"a.pxm": False, "xfrontal.pxm": True}
    millimetres = table.filter(regex="_mm2?$")
    assert millimetres.isna().all(axis=None)


# -- work that is stopped


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_a_report_that_is_true_to_the_last_item(run, tmp_path, name):
    images(*(f"{number}.png" for number in range(20)))(tmp_path)
    sent = itertools.count()  # once: two threads write
    with writing_is_met_by(3, lambda: next(sent) or os.kill(os.getpid(), getattr(signal, name))):
        words = "interrupted" if name == "SIGINT" else f"stopped by {name}"
        said = run(PREDICT, 3, words)
    assert len(said.strip().splitlines()) == 1
    report = read_table(tmp_path / "out/report.csv")
    assert set(report["status"]) == {"ok", "pending"}
    made = {path.name for path in (tmp_path / "out").glob("*.pxm")}
    assert set(report["output"].dropna()) == made
    assert not list((tmp_path / "out").glob(".*part*"))
    run(PREDICT, 0, f"{20 - len(made)} ok, {len(made)} skipped, 0 failed")


def test_ctrl_c_ends_the_work_while_a_reader_hangs(run, tmp_path, monkeypatch):
    images("a.png", "b.png", "c.png")(tmp_path)
    read, hangs, go_on = films.read_source, threading.Event(), threading.Event()
    times = []

    def hang(path, limit):
        if path.name == "b.png":
            hangs.set()
            go_on.wait(60)
        return read(path, limit)

    def interrupt():
        hangs.wait(60)
        time.sleep(0.3)
        times.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(films, "read_source", hang)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        run(PREDICT, 3, "interrupted")
        assert time.monotonic() - times[0] < 5  # for one that hangs 60 s; by itself it takes 0.5 s
    finally:
        go_on.set()
        thread.join()
    report = read_table(tmp_path / "out/report.csv").set_index("file")
    assert report.loc[str(tmp_path / "in/b.png"), "status"] == "pending"


@pytest.mark.parametrize("format", ["packed", "dicom-seg"])
def test_an_image_that_is_replaced_meanwhile_never_counts_as_done(
    run, tmp_path, monkeypatch, format
):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "other"):
        write_xray(tmp_path / f"in/{name}.dcm", (40, 50), PatientID=name.ljust(8))
    shutil.move(tmp_path / "in/other.dcm", tmp_path / "other.dcm")
    shutil.copystat(tmp_path / "in/a.dcm", tmp_path / "other.dcm")
    read = films.read_source

    def replaced(path, limit):
        found = read(path, limit)
        if path.name == "a.dcm" and (tmp_path / "other.dcm").exists():
            os.replace(tmp_path / "other.dcm", path)  # as large and as old
        return found

    monkeypatch.setattr(films, "read_source", replaced)
    command = f"{PREDICT} --format {format}"
    run(command, 1, r"a\.dcm: changed while it was predicted.*1 ok, 0 skipped, 1 failed")
    assert len(list((tmp_path / "out").glob("a.*"))) == 0
    run(command, 0, "1 ok, 1 skipped, 0 failed")
    run(command, 0, "0 ok, 2 skipped, 0 failed")
