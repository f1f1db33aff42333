"""Profiles, folders of runs and notebooks that are hostile, damaged or in use."""

import json
import os
import socket
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from helpers.hostile import cases
from helpers.notebooks import run, states, status_of, write_notebook

from paxray_lib.evaluation.result import Evaluation
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics import Counts
from paxray_lib.runs import report, status, sweep_report, sweep_scores
from paxray_lib.utils import now, read_table, write_text

RUN = "run --profile {here}/p.yaml --out {here}/a"
TRAIN = "train --profile {here}/p.yaml"
SWEEP = "sweep {here}/p.yaml {here}/q.yaml --out {here}/s"
RESUME = f"{RUN} --resume"
LAUGHS = "a: &a [x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
CUT = '{"cells": [{"cell_type": "code", "metadata": {}, "sour'


def profile(text):
    """Return what makes p.yaml."""
    data = text if isinstance(text, bytes) else text.encode()
    return lambda here: (here / "p.yaml").write_bytes(data)


@cases(
    ("an alias bomb", profile(LAUGHS), RUN, 2, r"p\.yaml: .*anchor.*line 1"),
    ("an alias bomb for training", profile(LAUGHS), TRAIN, 2, r"p\.yaml: .*anchor"),
    ("an alias bomb on the command line", profile(""), f"{RUN} --set 'x=[&a 1,*a]'", 2, "anchor"),
    ("100,000 brackets", profile("a: " + "[" * 60_000), RUN, 2, r"p\.yaml: .*nested too deep"),
    ("100,000 dashes", profile("- " * 30_000 + "a"), RUN, 2, r"p\.yaml: .*nested too deep"),
    ("brackets by --set", profile(""), f"{RUN} --set a={'[' * 9000}", 2, "nested too deep"),
    (
        "100 MB",
        lambda here: os.truncate(_touch(here / "p.yaml"), 10**8),
        RUN,
        2,
        "more than 64 KiB",
    ),
    (
        "a long unknown key",
        profile("? " + "x" * 60_000 + "\n: 1"),
        RUN,
        2,
        r"'xxx[x]*\.\.\. \(60002 char",
    ),
    ("a long value", profile("epochs: " + "x" * 60_000), TRAIN, 2, r"number.*\.\.\. \(60002 char"),
    ("a long list", profile(f"epochs: [{'1,' * 9000}1]"), TRAIN, 2, r"epochs.*\.\.\. \("),
    ("a long override", profile(""), f"{TRAIN} --set {'x' * 9000}", 2, r"key=value"),
    ("a key twice", profile("epochs: 1\nepochs: 2\n"), TRAIN, 2, "'epochs' stands twice.*line 2"),
    ("10,000 keys twice", profile("a: 1\n" * 10_000), TRAIN, 2, "'a' stands twice"),
    ("a merge key", profile("<<: {epochs: 1}\n"), TRAIN, 2, "<< is a mapping"),
    ("a tag that runs", profile("a: !!python/object/apply:os.system [ls]"), RUN, 2, "a tag; write"),
    ("a tag of a type", profile("epochs: !!float 1"), TRAIN, 2, "a tag; write"),
    ("two documents", profile("epochs: 1\n---\nepochs: 2\n"), TRAIN, 2, "single document"),
    ("a list", profile("- epochs"), TRAIN, 2, r"p\.yaml: settings are lines.*got list"),
    ("a number for a key", profile("1: 2"), TRAIN, 2, r"p\.yaml: settings are lines"),
    ("no text", profile(b"\xff\xfe\x00\xd8"), TRAIN, 2, r"p\.yaml: not readable as YAML"),
    ("a half character", profile('run_dir: "\\ud800"'), TRAIN, 2, "surrogate"),
    ("a null byte", profile('run_dir: "a\\0b"'), RUN, 2, "null character"),
    ("a number of 5000 digits", profile("seed: " + "9" * 5000), TRAIN, 2, r"p\.yaml: not readable"),
    ("a seed of 10^24", profile(f"seed: {10**24}"), TRAIN, 2, "no number that settings may have"),
    ("a date", profile("epochs: 2020-01-01"), TRAIN, 2, "epochs must be a whole number"),
    ("base 60", profile("epochs: 1:30"), TRAIN, 2, "epochs must be a whole number"),
    ("no profile but a pipe", lambda here: os.mkfifo(here / "p.yaml"), RUN, 2, "a named pipe"),
    ("no profile but a folder", lambda here: (here / "p.yaml").mkdir(), SWEEP, 2, "a folder"),
    ("time_limit .nan", profile("time_limit: .nan"), RUN, 2, r"'\.nan' is no number.*time_limit"),
    (
        "time_limit 'nan'",
        profile("time_limit: 'nan'"),
        RUN,
        2,
        "time_limit must be a finite number",
    ),
    ("time_limit .inf", profile(""), f"{RUN} --set time_limit=.inf", 2, "time_limit"),
    ("time_limit 1e400", profile(""), f"{RUN} --set time_limit=1e400", 2, "time_limit"),
    ("time_limit 1e30", profile(""), f"{RUN} --set time_limit=1e30", 2, "time_limit must be less"),
    ("time_limit -1", profile(""), f"{RUN} --set time_limit=-1", 2, "time_limit must be greater"),
    ("time_limit 0", profile(""), f"{RUN} --set time_limit=0", 2, "time_limit must be greater"),
    ("run_dir ''", profile("run_dir: ''"), "run --profile {here}/p.yaml", 2, "run_dir.*not empty"),
    ("run_dir '' for training", profile("run_dir: ''"), TRAIN, 2, "run_dir.*not empty"),
    ("a name of 256 bytes", profile(f"run_dir: {'x' * 256}"), RUN[:-15], 2, "x: .*too long"),
    ("a file as folder", profile("run_dir: /dev/null/a"), RUN[:-15], 2, "/dev/null"),
    ("no folder can be made", profile("run_dir: /proc/a"), RUN[:-15], 2, "/proc/a"),
)
def test_profiles(case, hostile):
    hostile(case)


def _touch(path):
    path.touch()
    return path


LOCKED = []


def run_folder(write):
    """Return what makes p.yaml and the folder of a run, and changes that by `write(folder)`."""

    def make(here):
        (here / "p.yaml").touch()
        folder = here / "a"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"run_dir: {folder}\n")
        record = {"state": "failed", "start": now(), "steps": [{"name": "01", "state": "failed"}]}
        (folder / "status.json").write_text(json.dumps(record))
        write(folder)

    return make


def record(text):
    """Return what makes a run with a hostile status.json."""
    return run_folder(lambda folder: (folder / "status.json").write_text(text))


def replaced(name, make):
    """Return what makes a run in which `make(path)` has replaced a file."""

    def replace(folder):
        (folder / name).unlink()
        make(folder / name)

    return run_folder(replace)


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def hold(folder):
    LOCKED.append(FileLock(folder / ".lock"))
    LOCKED[-1].acquire()


HEAD = '{"state": "done", "start": "2026-01-01T00:00:00", "steps"'


@cases(
    ("a run there already", record(f"{HEAD}: []}}"), RUN, 2, "holds a run already.*--resume"),
    ("status cut in half", record('{"state": "fai'), RESUME, 2, r"status\.json: not a JSON file"),
    ("status empty", record(""), RESUME, 2, r"status\.json: the file is empty"),
    ("status a list", record("[]"), RESUME, 2, r"status\.json: not a JSON object"),
    ("status without steps", record('{"state": "done"}'), RESUME, 2, r"damaged \(.*another folder"),
    ("status nested", record("[" * 10**5), RESUME, 2, r"status\.json: .*nested too deep"),
    ("steps no list", record(f"{HEAD}: 1}}"), RESUME, 2, r"damaged \(steps: "),
    ("a step no object", record(f"{HEAD}: [1]}}"), RESUME, 2, r"damaged \(steps\.0: "),
    (
        "a state unknown",
        record(f'{HEAD}: [{{"name": "01", "state": []}}]}}'),
        *(RESUME, 2, r"damaged \(steps\.0\.state: "),
    ),
    (
        "a start that is none",
        record(f'{HEAD}: [], "start2": 1}}'.replace("2026", "x")),
        RESUME,
        2,
        "start",
    ),
    ("a key twice", record(f'{HEAD}: [], "state": "failed"}}'), RESUME, 2, "'state' stands twice"),
    ("status a pipe", replaced("status.json", os.mkfifo), RESUME, 2, r"status\.json: a named pipe"),
    ("status a folder", replaced("status.json", Path.mkdir), RESUME, 2, r"status\.json: a folder"),
    ("status a socket", replaced("status.json", bind), RESUME, 2, r"status\.json: a socket"),
    ("config a pipe", replaced("config.yaml", os.mkfifo), RESUME, 2, r"config\.yaml: a named pipe"),
    (
        "config a bomb",
        replaced("config.yaml", lambda path: path.write_text(LAUGHS)),
        *(RESUME, 2, r"config\.yaml: .*anchor"),
    ),
    (
        "config a list",
        replaced("config.yaml", lambda path: path.write_text("[1]")),
        *(RESUME, 2, r"config\.yaml: settings are lines"),
    ),
    (
        "other settings of 60 kB",
        replaced("config.yaml", lambda path: path.write_text(f"x: {'y' * 60_000}")),
        *(RESUME, 2, r"--resume with other settings: .*\.\.\. \("),
    ),
    ("two runs in one folder", run_folder(hold), RESUME, 2, "another process is working in this"),
    (
        "a lock that is a folder",
        run_folder(lambda folder: (folder / ".lock").mkdir()),
        *(RESUME, 2, "Is a directory"),
    ),
    (
        "a lock that is a link to a file of the user's",
        run_folder(lambda folder: (folder / ".lock").symlink_to("config.yaml")),
        *(RESUME, 2, "lock"),
    ),
    (
        "a folder with other files",
        lambda here: [_touch(here / "p.yaml"), (here / "a").mkdir(), _touch(here / "a/mine")],
        *(RUN, 2, "holds other files"),
    ),
    (
        "out is the profile",
        profile(""),
        "run --profile {here}/p.yaml --out {here}/p.yaml",
        2,
        "p.yaml",
    ),
)
def test_folders(case, hostile):
    hostile(case)
    for lock in LOCKED:
        lock.release()
    LOCKED.clear()


def project_with(write):
    """Return what makes a project of two notebooks, and changes the second by `write(path)`."""

    def make(here):
        os.chdir(here)
        (here / "notebooks/profiles").mkdir(parents=True)
        (here / "p.yaml").touch()
        (here / "q.yaml").touch()
        for name in ("01_a", "02_b"):
            write_notebook(here / "notebooks", name, "x = 1")
        path = here / "notebooks/02_b.ipynb"
        text = path.read_text()
        path.unlink()
        write(path, text)

    return make


def written(change):
    return project_with(lambda path, text: path.write_text(change(text)))


@cases(
    (
        "cut in half",
        written(lambda text: text[: len(text) // 2]),
        RUN,
        2,
        r"02_b\.ipynb: not a JSON",
    ),
    ("cut in half, in a sweep", written(lambda _: CUT), SWEEP, 2, r"02_b\.ipynb: not a JSON"),
    ("empty", written(lambda _: ""), RUN, 2, r"02_b\.ipynb: the file is empty"),
    ("no cells", written(lambda _: "{}"), RUN, 2, r"02_b\.ipynb: not a notebook"),
    ("a list", written(lambda _: "[]"), RUN, 2, r"02_b\.ipynb: not a notebook"),
    (
        "cells of numbers",
        written(lambda text: json.dumps({**json.loads(text), "cells": [1]})),
        *(RUN, 2, r"02_b\.ipynb: not a notebook"),
    ),
    (
        "cells without source",
        written(lambda text: text.replace('"source"', '"sauce"')),
        *(RUN, 2, r"02_b\.ipynb: not a notebook"),
    ),
    ("nested", written(lambda _: "[" * 10**5), RUN, 2, r"02_b\.ipynb: .*nested too deep"),
    (
        "parameters nested",
        written(lambda text: text.replace("run_dir = ", "run_dir = " + "(" * 5000)),
        *(RUN, 2, r"02_b\.ipynb: parameters not readable"),
    ),
    ("a pipe", project_with(lambda path, _: os.mkfifo(path)), RUN, 2, r"02_b\.ipynb: a named pipe"),
    ("a folder", project_with(lambda path, _: path.mkdir()), RUN, 2, r"02_b\.ipynb: a folder"),
)
def test_notebooks(case, hostile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile(case)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "s").exists()


# -- what a page makes of hostile names

NAMES = [
    "<script>alert(1)</script>",
    "{{ 977 * 983 }}{% raw %}",
    "$\\frac$",
    "=1+1",
    "+x",
    "-x",
    "@x",
]


def evaluation():
    rng = np.random.default_rng(0)
    images = pd.DataFrame({"image": list("abcd"), "case": list("aabb"), "view": NAMES[:4]})
    numbers = [rng.integers(1, 9, (4, len(NAMES))) for _ in range(3)]
    return Evaluation(Counts(*numbers), LabelSet(NAMES), images, {"split": NAMES[0]})


def test_names_stay_text_on_pages_and_in_tables(tmp_path):
    result = evaluation()
    result.write(tmp_path / "evaluation")
    assert read_table(tmp_path / "evaluation/per_label.csv")["label"].tolist() == NAMES
    lines = (tmp_path / "evaluation/per_label.csv").read_text()
    for name in NAMES[3:]:
        assert f",'{name}," in lines
    write_text(tmp_path / "metrics.csv", "epoch,train_loss,val_iou_present\n1,0.5,0.5\n")
    steps = [{"name": name, "state": "failed", "error": name, "source": name} for name in NAMES]
    record = {"state": "failed", "start": now(), "note": NAMES[0], "steps": steps}
    pages = [report.write_index(tmp_path, record)]
    members = [
        sweep_scores.Member(
            name=name,
            folder=tmp_path,
            evaluation=result,
            trouble=name,
            state="done",
            error=None,
            seconds=1.0,
            settings={name: name},
            provenance={"git": name},
            train_images=1,
            synthetic=False,
            metrics=pd.DataFrame({"epoch": [1], "train_loss": [0.5], "val_iou_present": [0.5]}),
        )
        for name in NAMES
    ]
    pages.append(sweep_report.write_comparison(tmp_path, record, members))
    for page in pages:
        text = page.read_text()
        assert "<script" not in text
        assert "960391" not in text.replace(NAMES[1], "").partition("<body>")[2][:2000]
        assert "&lt;script&gt;" in text
    scores = read_table(tmp_path / "scores.csv")
    assert scores["member"].unique().tolist() == NAMES
    assert "\n'=1+1," in (tmp_path / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation/summary.json", b'{"overall": [1]}'),
        ("evaluation/summary.json", b'{"overall": {"iou_present": "<b>"}}'),
        ("evaluation/summary.json", b'{"views": {"frontal": {"iou_present_interval": [1]}}}'),
        ("evaluation/summary.json", b"{" * 100_000),
        ("metrics.csv", b"\xff\x00"),
        ("metrics.csv", b"epoch,train_loss\n1,2\n"),
        ("metrics.csv", b"epoch,train_loss,val_iou_present\nx,<b>,nan\n"),
        ("config.yaml", b"a: [\n"),
        ("notebooks/01_a.ipynb", b'{"cells": ['),
    ],
)
def test_a_page_names_what_is_damaged_and_shows_the_rest(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    record = {"state": "done", "start": now(), "steps": [{"name": "01_a", "state": "done"}]}
    text = report.write_index(tmp_path, record).read_text()
    assert f'<aside class="interrupted">{path}' in text
    assert "01_a" in text


# -- events while a run is under way


@pytest.fixture
def project(tmp_path):
    """Return a project's root with an empty profile."""
    (tmp_path / "p.yaml").touch()
    return tmp_path


def test_a_notebook_damaged_after_the_start_fails_its_step(project, capfd):
    folder = project / "notebooks"
    write_notebook(folder, "01_a", f"open('notebooks/02_b.ipynb', 'w').write('{CUT}')")
    write_notebook(folder, "02_b", "x = 1")
    assert run(project) == 3
    assert [status_of(project)["state"], *states(status_of(project))] == [
        "failed",
        "done",
        "failed",
    ]
    assert "02_b.ipynb: not a JSON file" in status_of(project)["steps"][1]["error"]
    assert "02_b.ipynb: not a JSON file" in (project / "runs/a/index.html").read_text()
    write_notebook(folder, "02_b", "x = 1")
    assert run(project, resume=True) == 0


def test_a_folder_deleted_during_its_run_is_no_fault(project):
    write_notebook(project / "notebooks", "01_a", "import shutil\nshutil.rmtree(run_dir)")
    assert run(project, out=project / "runs/a{b} '\n") == 0
    assert status.read_status(project / "runs/a{b} '\n")["state"] == "done"


def test_durations_are_those_of_a_clock_that_does_not_jump(tmp_path, monkeypatch):
    state = status.Status(tmp_path, ["01_a"])
    with state.running(state.steps[0]) as result:
        monkeypatch.setattr(status, "now", lambda: "1999-01-01T00:00:00+00:00")
        result["state"] = "done"
    (step,) = status.read_status(tmp_path)["steps"]
    assert step["end"] < step["start"]
    assert step["seconds"] >= 0


def test_outputs_that_no_page_can_show_do_not_stop_a_run(project):
    shown = (
        "{'image/png': 'no base64', 'text/html': '<script>alert(1)</script>', 'image/svg+xml': '<'}"
    )
    cell = f"from IPython.display import display\ndisplay({shown}, raw=True)"
    write_notebook(project / "notebooks", "01_a", cell, "print('\\x1b[2J\\x00')")
    assert run(project) == 0
    assert nbformat.read(project / "runs/a/notebooks/01_a.ipynb", 4).cells


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:IPython parent")
def test_a_home_that_cannot_be_written_does_not_stop_a_run(project, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    write_notebook(project / "notebooks", "01_a", "import matplotlib.pyplot")
    assert run(project) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-x", "x" * 255, "\u202egnp", "a\nb", "a$b$", "{run_dir}"])
def test_a_run_of_any_name_is_done(project, name):
    write_notebook(project / "notebooks", "01_a", "open(run_dir + '/seen', 'w').close()")
    assert run(project, out=project / "runs" / name) == 0
    assert (project / "runs" / name / "seen").is_file()
