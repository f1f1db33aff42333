"""Names of cases, folders of results, and what ends `project` in the middle."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from helpers.faults import writing_is_met_by, writing_stops_after
from helpers.hostile import cases
from helpers.nifti_files import (
    DONE,
    FOLDER,
    PIXDIM,
    PROJECT,
    poked,
    write_good,
)
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.ct import dataset, pairing
from paxray_lib.data.datafile import read_datafile


def named(*names, also=lambda folder: None):
    """Return what writes good cases of these names to the folder `in`, and calls `also` with it."""

    def make(here):
        for name in names:
            write_good(here, case=name)
        also(here / "in")

    return make


TWO = "2 projected, 0 skipped, 0 failed"
LONG = "n" * 240


@cases(
    ("begin with - and =", named("-p", "=p"), FOLDER, 0, TWO),
    ("steer the terminal", named("\x1b[2Jp", "a\nb"), FOLDER, 0, TWO),
    ("of 240 bytes", named("p", LONG), FOLDER, 0, TWO),
    (
        "too long",
        named("p", LONG + "nnnnnn"),
        FOLDER,
        1,
        "too long for files.*1 proj.*1 failed",
    ),
    ("that differ by case", named("p1", "P1"), FOLDER, 2, "the same case 'p1' as .*P1_ct.nii"),
    (
        "that differ by the form of Unicode",
        named("\u00e9", "e\u0301"),
        *(FOLDER, 2, "the same case .*rename one of them"),
    ),
    (
        "of hidden files",
        named("p1", ".p2", also=lambda folder: (folder / "._p1_ct.nii").write_bytes(b"x")),
        *(FOLDER, 0, DONE),
    ),
    (
        "of loops of links",
        named("p1", also=lambda folder: (folder / "again").symlink_to(folder)),
        *(FOLDER, 1, "again: no CT named again.*1 projected, 0 skipped, 0 failed"),
    ),
    ("that are not UTF-8", named(os.fsdecode(b"\xff")), FOLDER, 0, DONE),
)
def test_names_of_cases(case, hostile):
    hostile(case)


def test_a_path_with_two_dots_names_the_case_by_its_folder(tmp_path):
    ct = write_good(tmp_path)["ct"]
    (tmp_path / "in/x").mkdir()
    ct.rename(tmp_path / "in/ct.nii")
    code, output = run(tmp_path, PROJECT.replace("p1_ct", "x/../ct"))
    assert code == 0, output
    assert {entry.case for entry in read_datafile(tmp_path / "out").split("test")} == {"in"}


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_names_that_climb_out_are_failed_cases(tmp_path, name):
    paths = write_good(tmp_path)
    case = pairing.Case(name, paths["ct"], paths["seg"])
    (outcome,) = dataset.project_cases([case], tmp_path / "out", size=32)
    assert outcome.status == "failed"
    assert "leads outside" in outcome.reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def run(here, command):
    arguments = [part.format(here=here) for part in command.split()]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def with_out(write):
    """Return what writes the good files, and calls `write` with the folder of the results."""

    def make(here):
        write_good(here)
        (here / "out/images").mkdir(parents=True)
        write(here / "out")

    return make


def done_before(change):
    """Return what projects the good files, and calls `change` with the folder of the results."""

    def make(here):
        write_good(here)
        assert run(here, PROJECT)[0] == 0
        change(here / "out")

    return make


def linked_out(name):
    def write(out):
        (out.parent / "elsewhere").mkdir()
        (out / name).symlink_to(out.parent / "elsewhere")

    return write


RECORD = "provenance/p1.json"


def replaced(name, content):
    return done_before(lambda out: (out / name).write_text(content))


@cases(
    (
        "inside the input",
        named("p1"),
        *(FOLDER.replace("/out", "/in/out"), 0, DONE),
    ),
    ("the input itself", named("p1"), FOLDER.replace("/out", "/in"), 0, DONE),
    (
        "a file",
        lambda here: (write_good(here), (here / "out").touch()),
        *(PROJECT, 2, "out: not a folder"),
    ),
    (
        "a pipe",
        lambda here: (write_good(here), os.mkfifo(here / "out")),
        *(PROJECT, 2, "out: not a folder"),
    ),
    (
        "with an image of somebody else's",
        with_out(lambda out: (out / "images/p1frontal.png").write_text("mine")),
        *(PROJECT, 1, r"p1frontal\.png: belongs to another case of the data set, or to none"),
    ),
    (
        "with other things",
        with_out(lambda out: (out / "images/mine.png").write_text("mine")),
        *(PROJECT, 0, DONE),
    ),
    ("with labels elsewhere", with_out(linked_out("labels")), PROJECT, 1, "leads outside of"),
    ("with records elsewhere", with_out(linked_out("provenance")), PROJECT, 1, "leads outside of"),
    (
        "with a damaged paxray.json",
        replaced("paxray.json", '{"label_dict": {'),
        *(PROJECT, 2, r"paxray\.json: not a JSON file"),
    ),
    (
        "with a paxray.json of other labels",
        replaced("paxray.json", '{"label_dict": {"0": "heart"}, "test": []}'),
        *(PROJECT, 2, "other labels"),
    ),
    (
        "with a pipe as paxray.json",
        with_out(lambda out: os.mkfifo(out / "paxray.json")),
        *(PROJECT, 2, r"paxray\.json: a named pipe"),
    ),
    (
        "with a folder as paxray.json",
        with_out(lambda out: (out / "paxray.json").mkdir()),
        *(PROJECT, 2, r"paxray\.json: a folder"),
    ),
    ("done before", done_before(lambda out: None), PROJECT, 0, "0 projected, 1 skipped, 0 failed"),
    ("with a damaged record", replaced(RECORD, "{"), PROJECT, 0, DONE),
    ("with a record of nothing", replaced(RECORD, '{"inputs": []}'), PROJECT, 0, DONE),
    ("with a record that nests", replaced(RECORD, "[" * 100_000), PROJECT, 0, DONE),
    (
        "with a pipe as record",
        done_before(lambda out: ((out / RECORD).unlink(), os.mkfifo(out / RECORD))),
        *(PROJECT, 1, r"p1\.json: a named pipe"),
    ),
    (
        "with another CT of the same name",
        done_before(
            lambda out: poked((PIXDIM + 28, "f", 9))(out.parent),
        ),
        *(PROJECT, 1, "made from another CT"),
    ),
    (
        "with a case that differs by capital letters",
        done_before(lambda out: write_good(out.parent, case="P1")),
        *(PROJECT.replace("p1_", "P1_"), 1, "has the case 'p1'.*file systems do not tell"),
    ),
)
def test_results_in_a_folder(case, hostile):
    hostile(case)


def test_what_is_somebody_elses_is_kept(tmp_path):
    mine = tmp_path / "out/images/p1frontal.png"
    with_out(lambda out: mine.write_text("mine"))(tmp_path)
    run(tmp_path, PROJECT)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "out/paxray.json").exists()


def results(out):
    """Return the bytes of the results but for the dates in the records."""
    files = sorted(path for kind in ("images", "labels") for path in (out / kind).iterdir())
    return {path.name: path.read_bytes() for path in [*files, out / "paxray.json"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of two good cases."""
    here = tmp_path_factory.mktemp("undisturbed")
    named("a", "b")(here)
    assert run(here, FOLDER)[0] == 0
    return results(here / "out")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_stops_in_order_and_the_same_command_goes_on(tmp_path, undisturbed, name):
    named("a", "b")(tmp_path)
    with writing_is_met_by(3, lambda: os.kill(os.getpid(), getattr(signal, name))):
        code, output = run(tmp_path, FOLDER)
    assert code == 3
    assert name in output
    assert {entry.case for entry in read_datafile(tmp_path / "out").split("test")} == {"a"}
    assert not list((tmp_path / "out").rglob("*.part*"))
    assert run(tmp_path, FOLDER)[1].startswith("1 projected, 1 skipped")
    assert results(tmp_path / "out") == undisturbed


def test_a_full_disk_stops_with_file_and_remedy_and_the_same_command_goes_on(tmp_path, undisturbed):
    named("a", "b")(tmp_path)
    full = OSError(errno.ENOSPC, "No space left on device", "out/labels/blateral.pxm")
    with writing_stops_after(3, full):
        code, output = run(tmp_path, FOLDER)
    assert code == 3
    assert "blateral.pxm" in output
    assert "free some space" in output
    assert run(tmp_path, FOLDER)[1].startswith("1 projected, 1 skipped")
    assert results(tmp_path / "out") == undisturbed


DIES = """
import os, sys
sys.path.insert(0, "tests")
from helpers.faults import writing_is_met_by
from paxray_lib.cli import app
with writing_is_met_by(int(sys.argv.pop(1)), lambda: os.kill(os.getpid(), 9)):
    app()
"""


def test_kill_9_in_the_middle_and_the_same_command_goes_on(tmp_path, undisturbed):
    named("a", "b")(tmp_path)
    arguments = [part.format(here=tmp_path) for part in FOLDER.split()]
    for count in (1, 3):
        killed = subprocess.run([sys.executable, "-c", DIES, str(count), *arguments], check=False)
        assert killed.returncode == -signal.SIGKILL
    assert run(tmp_path, FOLDER)[0] == 0
    assert results(tmp_path / "out") == undisturbed


def test_a_file_that_is_replaced_while_it_is_read_is_a_failed_case(tmp_path):
    paths = write_good(tmp_path)
    read = dataset.read_scan

    def replaced_meanwhile(*arguments):
        scan = read(*arguments)
        paths["seg"].write_bytes(paths["seg"].read_bytes()[:-1] + b"\1")
        return scan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "read_scan", replaced_meanwhile)
        code, output = run(tmp_path, PROJECT)
    assert code == 1
    assert "changed while it was read" in output
    assert not (tmp_path / "out/images").exists()
