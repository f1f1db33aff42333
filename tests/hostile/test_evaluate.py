"""Counts that are damaged or lie, and evaluations that are stopped or run out of space."""

import io
import json
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.hostile import cases
from helpers.sampledata import write_tiny
from helpers.tiny_models import tiny_model
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.evaluation import count
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics import Counts
from paxray_lib.models.checkpoints import save_model

EVALUATE = "evaluate --weights {weights} --data-root {data} --device cpu"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return the bytes of a sound counts.npz."""
    numbers = [np.arange(6).reshape(3, 2) for _ in range(3)]
    images = pd.DataFrame({"image": list("abc"), "case": list("aab"), "view": ["frontal"] * 3})
    folder = tmp_path_factory.mktemp("sound")
    Evaluation(Counts(*numbers), LabelSet(["heart", "x"]), images).write(folder)
    return (folder / "counts.npz").read_bytes()


def array(values, **settings):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(values, **settings))
    return stream.getvalue()


def header(descr, shape, data=b"", order=False):
    """Return a .npy file whose header says what it likes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def replaced(name, content, twice=False):
    """Return what changes one member of a .npz file."""

    def change(data):
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = {member: old.read(member) for member in old.namelist()}
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            for member, text in members.items():
                if member != name or twice:
                    new.writestr(member, text)
            if content is not None:
                new.writestr(name, content)
        return stream.getvalue()

    return change


def claiming(size):
    """Return what lets the zip's directory claim another size for its first member."""

    def change(data):
        place = data.index(b"PK\x01\x02") + 24
        return data[:place] + size.to_bytes(4, "little") + data[place + 4 :]

    return change


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name)
        for name, change in {
            "empty": lambda _: b"",
            "no zip": lambda _: b"PK\x03\x04 ",
            "cut": lambda data: data[: len(data) // 2],
            "zeros in the middle": lambda data: data[:300] + bytes(40) + data[340:],
            "claims 4 GB": claiming(0xFFFFFFF0),
            "claims 1 byte": claiming(1),
            "a bomb": replaced("tp.npy", header("<i8", (1 << 20, 2), bytes(1 << 24))),
            "without fp": replaced("fp.npy", None),
            "a name twice": replaced("tp.npy", array([[1, 2]] * 3), twice=True),
            "an unknown name": replaced("../x.npy", array([1])),
            "a text as an array": replaced("tp.npy", b"1 2 3"),
            "10^28 values": replaced("tp.npy", header("<i8", (10**14, 10**14))),
            "a negative size": replaced("tp.npy", header("<i8", (-3, 2), bytes(48))),
            "a size of True": replaced("tp.npy", header("<i8", (True, True), bytes(8))),
            "sizes of texts": replaced("tp.npy", header("<i8", "('3', 2)", bytes(48))),
            "fewer bytes": replaced("tp.npy", header("<i8", (3, 2), bytes(47))),
            "more bytes": replaced("tp.npy", header("<i8", (3, 2), bytes(49))),
            "a header that runs": replaced("tp.npy", header("<i8", "__import__('os')")),
            "a nested header": replaced("tp.npy", header("<i8", "(" * 100 + ")" * 100)),
            "pickled objects": replaced("tp.npy", header("|O", (3, 2), b"\x80\x04N.")),
            "a struct": replaced("tp.npy", array(np.zeros((3, 2), "i4,i4"))),
            "floats for counts": replaced("tp.npy", array(np.full((3, 2), np.nan))),
            "negative counts": replaced("fp.npy", array([[-1, 2]] * 3)),
            "counts that wrap": replaced("fp.npy", array([[1 << 62, 2]] * 3)),
            "unsigned that wrap": replaced("fp.npy", array([[2**64 - 1, 2]] * 3, dtype=np.uint64)),
            "other labels": replaced("names.npy", array(["heart", "x", "y"])),
            "other images": replaced("images.npy", array(["a"])),
            "names in rows": replaced("names.npy", array([["heart", "x"]])),
            "names of bytes": replaced("names.npy", array([b"heart", b"x"])),
            "names of no characters": replaced("names.npy", header("<U1", (2,), b"\xff" * 8)),
            "one dimension": replaced("tp.npy", array([1, 2, 3])),
            "half a surface": replaced("surface_total.npy", array([[1, 2]] * 3)),
            "bins of other labels": replaced("bins_pixels.npy", array([[1]] * 5)),
        }.items()
    ],
)
def test_hostile_counts_are_an_error_that_names_the_file(sound, tmp_path, change):
    path = tmp_path / "counts.npz"
    path.write_bytes(change(sound))
    with pytest.raises(ValueError, match=r"counts\.npz: ") as error:
        Evaluation.read(tmp_path)
    assert len(str(error.value)) < 500


def test_sound_counts_come_back(sound, tmp_path):
    (tmp_path / "counts.npz").write_bytes(sound)
    assert Evaluation.read(tmp_path).counts.tp.tolist() == [[0, 1], [2, 3], [4, 5]]
    fortran = np.asfortranarray([[1, 2], [3, 4], [5, 6]], dtype=">i4")
    (tmp_path / "counts.npz").write_bytes(replaced("tp.npy", array(fortran))(sound))
    assert Evaluation.read(tmp_path).counts.tp.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_counts_that_are_no_file(tmp_path, make):
    make(tmp_path / "counts.npz")
    with pytest.raises(ValueError, match=r"counts\.npz: a (folder|named pipe)"):
        Evaluation.read(tmp_path)


def named(names):
    """Return what gives the tiny data set and its masks other label names."""

    def make(here):
        path = here / "data/paxray.json"
        content = json.loads(path.read_text())
        labels = [*content["label_dict"].values()]
        labels[: len(names)] = names
        content["label_dict"] = {str(i): name for i, name in enumerate(labels)}
        path.write_text(json.dumps(content))

    return make


@cases(
    ("an unknown split", lambda _: None, f"{EVALUATE} --split tset", 2, "'tset'.*'test'"),
    ("out is a file", lambda here: (here / "o").touch(), f"{EVALUATE} --out {{here}}/o", 2, "/o: "),
    ("out cannot be made", lambda _: None, f"{EVALUATE} --out /proc/o", 2, "/proc/o"),
    (
        "out has a folder for a file",
        lambda here: (here / "o/per_label.csv").mkdir(parents=True),
        *(f"{EVALUATE} --out {{here}}/o", 2, r"per_label\.csv: a folder"),
    ),
    (
        "other label names",
        named(["<script>", "$x$", "=1"]),
        *(f"{EVALUATE} --out {{here}}/o", 2, "3 of 166 labels left out: <script>.*label 0 is"),
    ),
    (
        "no label of the model",
        named([f"x{i}" for i in range(166)]),
        *(f"{EVALUATE} --out {{here}}/o", 2, "no label of the data.*x0.*give a map"),
    ),
    (
        "a damaged target",
        lambda here: next((here / "data/labels").glob("case006*")).write_bytes(b"no mask"),
        *(f"{EVALUATE} --out {{here}}/o", 2, "case006.*"),
    ),
)
def test_evaluate(case, hostile):
    hostile(case)


MAP = f"{EVALUATE} --map {{here}}/m.yaml"


def map_of(text):
    """Return what writes a map."""
    return lambda here: (here / "m.yaml").write_bytes(
        text.encode() if isinstance(text, str) else text
    )


@cases(
    ("no map", lambda _: None, MAP, 2, r"m\.yaml: no such map; give a path, or one of chexmask"),
    ("an empty name", lambda _: None, f"{EVALUATE} --map ''", 2, "an empty text"),
    ("a null byte", lambda _: None, f"{EVALUATE} --map 'a\0b'", 2, "no such map|null"),
    ("a folder", lambda here: (here / "m.yaml").mkdir(), MAP, 2, r"m\.yaml: a folder"),
    ("a pipe", lambda here: os.mkfifo(here / "m.yaml"), MAP, 2, r"m\.yaml: a named pipe"),
    (
        "a dead link",
        lambda here: (here / "m.yaml").symlink_to("x"),
        MAP,
        2,
        r"m\.yaml: no such file",
    ),
    ("no text", map_of(bytes(range(256))), MAP, 2, r"m\.yaml: not readable as YAML"),
    ("cut off", map_of('heart: "heart - aor'), MAP, 2, r"m\.yaml: not readable as YAML"),
    ("huge", map_of("#" * (1 << 20)), MAP, 2, r"m\.yaml: more than 64 KiB"),
    ("nesting", map_of("heart: " + "[" * 30_000), MAP, 2, r"m\.yaml: .*nested too deeply"),
    ("an alias", map_of("heart: &a heart\naorta: *a\n"), MAP, 2, r"m\.yaml: .*an alias"),
    ("an object", map_of("heart: !!python/object:os.system x"), MAP, 2, r"m\.yaml: .*a tag"),
    ("a name twice", map_of("heart: heart\nheart: aorta\n"), MAP, 2, "'heart' stands twice"),
    ("a mapping", map_of("heart: {a: b}"), MAP, 2, r"'heart': \{'a': 'b'\} is no text"),
    ("a number", map_of("heart: 1"), MAP, 2, "'heart': 1 is no text"),
    ("names that steer", map_of('"\\e[2J\\u202e": heart'), MAP, 2, "is no label of the data"),
    ("labels that steer", map_of('heart: "\\e[2J\\u202e"'), MAP, 2, "unknown label"),
    ("a long name", map_of(f"? {'x' * 60_000}\n: heart"), MAP, 2, "is no label of the data"),
    ("a long label", map_of(f"heart: {'x' * 60_000}"), MAP, 2, "unknown label"),
    ("a slow pattern", map_of(f"heart: '{'*a' * 200}b'"), MAP, 2, "unknown label"),
    ("signs alone", map_of(f"heart: '{' - +' * 9_000}'"), MAP, 2, "lacks a label"),
    ("a path in a name", map_of("../../etc/passwd: heart"), MAP, 2, "is no label of the data"),
)
def test_maps(case, hostile):
    hostile(case)


@pytest.mark.slow
def test_a_map_of_many_steps_ends(small, tmp_path):
    (tmp_path / "m.yaml").write_text("heart: heart" + " - heart + heart" * 3_500)
    done = evaluate(small, tmp_path / "o", "--map", tmp_path / "m.yaml")
    assert done.exit_code == 0, done.output
    (tmp_path / "n.yaml").write_text("heart: heart")
    evaluate(small, tmp_path / "n", "--map", tmp_path / "n.yaml")
    tables = [(tmp_path / name / "per_label.csv").read_text() for name in "on"]
    assert tables[0] == tables[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a data set of three labels and a checkpoint for them."""
    folder = tmp_path_factory.mktemp("small")
    labels = LabelSet(["=lung_left", "lung_right", "heart"])
    write_tiny(folder / "data", size=32, labels=labels)
    save_model(folder / "model.ckpt", tiny_model(labels=labels).eval())
    return folder


def evaluate(small, out, *more):
    command = ["evaluate", "--weights", small / "model.ckpt", "--data-root", small / "data"]
    command += ["--out", out, *more]
    return CliRunner().invoke(app, [*map(str, command), "--device", "cpu"])


@pytest.mark.parametrize("name", ["counts.npz", "per_label.csv", "summary.json"])
def test_a_full_disk_ends_an_evaluation_with_file_and_remedy(small, tmp_path, monkeypatch, name):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    writer = "numpy.savez_compressed" if name == "counts.npz" else "pathlib.Path.write_text"
    if name == "summary.json":
        monkeypatch.setattr("paxray_lib.evaluation.result.write_table", lambda *_: None)
    monkeypatch.setattr(writer, full)
    done = evaluate(small, tmp_path / "o")
    assert done.exit_code == 3
    assert done.output.splitlines()[-1].startswith(f"paxray: {tmp_path}/o/{name}: No space left")
    assert "free some space" in done.output
    assert not list((tmp_path / "o").glob(f"*{name}*"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_an_evaluation_in_order(small, tmp_path, monkeypatch, name):
    pack, calls = count.decide, []

    def signalled(*arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), getattr(signal, name))
        return pack(*arguments)

    monkeypatch.setattr(count, "decide", signalled)
    done = evaluate(small, tmp_path / "o")
    assert done.exit_code == 3
    words = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert done.output.splitlines()[-1] == f"paxray: {words}"
    assert not list((tmp_path / "o").iterdir())
    monkeypatch.undo()
    if name == "SIGTERM":
        assert evaluate(small, tmp_path / "o").exit_code == 0
        rows = (tmp_path / "o/per_label.csv").read_text().splitlines()
        assert rows[1].startswith("0,'=lung_left,")
