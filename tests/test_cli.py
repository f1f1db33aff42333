"""The command line as a user meets it: by output and exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor

import numpy as np
import pandas as pd
import pytest
from helpers.portable_files import portable_bytes
from helpers.sampledata import small_training, write_tiny
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import paxray_lib
from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.named import MODELS
from paxray_lib.utils import Stopped
from paxray_lib.viz.overlay import visualize_certain_labels

COMMANDS = tuple(get_command(app).commands)


def paxray(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


def read_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_package_is_the_command_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-W", "error::UserWarning", "-m", "paxray_lib"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert done.stdout == f"paxray {paxray_lib.__version__}\n"
    done = subprocess.run([*command, "labels", "hart"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("paxray: ")
    assert "'heart'" in done.stderr


def test_how_threads_wait_is_set_before_numpy_and_torch_start_them():
    code = """
import os, sys
from paxray_lib import cli
assert not {"numpy", "torch"} & sys.modules.keys()
sys.argv = ["paxray", "--version"]
try:
    cli.main()
except SystemExit:
    print([os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT")])
"""
    own = {"OPENBLAS_NUM_THREADS": "3", "GOMP_SPINCOUNT": "9"}, {"OMP_WAIT_POLICY": "ACTIVE"}
    free = {k: v for k, v in os.environ.items() if k not in own[0] | own[1]}
    for given, found in (({}, ["1", "1000"]), (own[0], ["3", "9"]), (own[1], ["1", None])):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=free | given, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1:] == [str(found)], done.stderr


def test_help_names_every_command():
    text = paxray("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in text


def test_labels_are_listed_for_people_and_programs():
    lines = paxray("labels").stdout.splitlines()
    assert len(lines) == 1 + len(LABELS)
    assert max(map(len, lines)) <= 100
    rows = json.loads(paxray("labels", "--json").stdout)
    assert [row["name"] for row in rows] == list(LABELS)
    assert [row["mirror"] for row in rows] == LABELS.mirror.tolist()
    assert [tuple(row["parents"]) for row in rows] == list(LABELS.parents)
    few = paxray("labels", "heart", "mediastinum_upper").stdout.splitlines()[1:]
    assert [line.split()[0] for line in few] == ["12", "16", "17"]
    (vessel,) = json.loads(paxray("labels", "lung_left_vessel", "--json").stdout)
    assert vessel == {
        "index": 9,
        "name": "lung_left_vessel",
        "group": "lungs",
        "side": "left",
        "mirror": 8,
        "checked": "ct",
        "parents": [2],
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command):
    known = get_command(app).commands[command]
    assert known.help
    assert "\n" not in known.help.replace("\n\n", "")  # else typer breaks lines there
    for parameter in known.params:
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name


def test_sample_then_check_then_overlay(tmp_path):
    paxray("sample", tmp_path / "s", "--cases", 2, "--size", 64, "--format", "npy")
    assert (
        "0 errors"
        in paxray("check", "--data-root", tmp_path / "s", "--datafile", "paxray.json").stdout
    )
    out = paxray("pack", "--data-root", tmp_path / "s", "--datafile", "paxray.json").stdout
    assert out.startswith("4 packed, 0 already packed, 0 failed")
    assert paxray("pack", "--data-root", tmp_path / "s").stdout.startswith("0 packed, 4 already")


def test_pack_removes_what_it_verified_and_lists_what_failed(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    bad = tmp_path / "labels" / "case002lateral.npy"
    bad.write_bytes(bad.read_bytes()[:1000])
    done = paxray("pack", "--data-root", tmp_path, "--workers", 2, "--remove-npy", code=1)
    assert done.stdout.splitlines() == [
        "13 packed, 0 already packed, 1 failed of 14 .npy targets",
        "13 .npy files deleted",
    ]
    assert f"failed: {bad}: " in done.stderr
    assert list(tmp_path.rglob("*.npy")) == [bad]


def test_overlay_draws_what_the_library_draws(tiny, tmp_path):
    dataset = PaxrayDataset(tiny)
    masks = dataset.datafile.target_path(dataset.entries[0])
    arguments = ("--image", dataset.image_path(0), "--masks", masks)
    paxray(
        "overlay",
        *arguments,
        "--labels",
        "heart,lung_*",
        "--out",
        tmp_path / "o.png",
        "--no-legend",
    )
    expected = visualize_certain_labels(["heart", "lung_*"], dataset.image_path(0), masks)
    np.testing.assert_array_equal(read_picture(tmp_path / "o.png"), np.asarray(expected))
    paxray("overlay", *arguments, "--out", tmp_path / "all.png")
    assert read_picture(tmp_path / "all.png").shape[1] > expected.width


def test_check_exits_with_1_when_something_is_wrong(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "images/case000frontal.png").unlink()
    done = paxray("check", "--data-root", tmp_path, code=1)
    assert "error    images/case000frontal.png" in done.stdout
    assert "1 errors" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "--data-root", "nowhere"), "nowhere: no such data folder"),
        (
            ("overlay", "--image", "no.png", "--masks", "no.pxm", "--out", "o.png"),
            "no.pxm: no such file",
        ),
        (
            ("overlay", "--image", "no.png", "--masks", "no.pxm", "--out", "o.jpg"),
            "o.jpg: overlays are written as PNG",
        ),
        (
            ("predict", "--images", "empty", "--out", "o", "--weights", "no.ckpt"),
            "no.ckpt: no such file",
        ),
        (("evaluate", "--weights", "no.ckpt", "--data-root", "."), "no.ckpt"),
        (("train", "--profile", "no.yaml"), "no.yaml: no such profile"),
        (("run", "--profile", "no.yaml"), "no.yaml"),
        (("fetch", "everything"), "dataset, weights"),
        (("fetch", "dataset", "--archive", "no.zip", "--to", "d"), "no.zip: no such file"),
        (("sample", "out", "--format", "nyp"), "npy"),
    ],
)
def test_what_cannot_start_is_one_line_and_exit_code_2(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/profiles").mkdir()
    (tmp_path / "notebooks/01_a.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    error = paxray(*arguments, code=2).stderr
    assert message in error
    assert error.startswith("paxray: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_label_lists_near_matches(tiny, tmp_path):
    dataset = PaxrayDataset(tiny)
    masks = dataset.datafile.target_path(dataset.entries[0])
    arguments = ("--image", dataset.image_path(0), "--masks", masks, "--out", tmp_path / "o.png")
    error = paxray("overlay", *arguments, "--labels", "hart", code=2).stderr
    assert error == "paxray: unknown label, group or pattern 'hart'; did you mean 'heart'?\n"
    assert not (tmp_path / "o.png").exists()


def test_unknown_option_is_exit_code_2():
    assert "No such option" in paxray("check", "--dataroot", "x", code=2).stderr


def test_train_evaluate_predict(tmp_path):
    profile, data = tmp_path / "p.yaml", tmp_path / "data"
    write_tiny(data, size=32, labels=LabelSet(["lung_left", "lung_right", "heart"]))
    settings = small_training(data, tmp_path / "run")
    profile.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    paxray("train", "--profile", profile, "--set", "epochs=1")
    assert pd.read_csv(tmp_path / "run/metrics.csv")["epoch"].tolist() == [1]
    error = paxray("train", "--profile", profile, "--set", "epochs=1", code=2).stderr
    assert "resume" in error
    paxray("train", "--profile", profile, "--resume")
    assert pd.read_csv(tmp_path / "run/metrics.csv")["epoch"].tolist() == [1, 2]
    error = paxray("train", "--profile", profile, "--set", "epoch=1", code=2).stderr
    assert "did you mean 'epochs'" in error

    weights = tmp_path / "run/checkpoints/best.ckpt"
    out = paxray(
        "evaluate", "--weights", weights, "--data-root", data, "--out", tmp_path / "e"
    ).stdout
    summary = json.loads((tmp_path / "e/summary.json").read_text())
    assert f"iou_present         {summary['overall']['iou_present']:.4f}" in out

    (tmp_path / "in").mkdir()
    Image.fromarray(np.eye(50, 70, dtype=np.uint8)).save(tmp_path / "in/x.png")
    (tmp_path / "in/bad.png").write_text("no")
    done = paxray(
        "predict",
        "--images",
        tmp_path / "in",
        "--out",
        tmp_path / "o",
        "--weights",
        weights,
        "--labels",
        "heart",
        code=1,
    )
    assert "bad.png" in done.stderr
    assert done.stdout.startswith("1 ok, 0 skipped, 1 failed")
    assert PackedMasks.read(tmp_path / "o/x.pxm").shape == (1, 50, 70)


def test_predict_gives_lines_to_programs_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "open.safetensors").write_bytes(portable_bytes())
    monkeypatch.setitem(MODELS, "open", (tmp_path / "open.safetensors", ""))
    (tmp_path / "in").mkdir()
    for name in "abcdefg":
        picture = np.random.default_rng(0).integers(0, 255, (50, 70), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"in/{name}.png")
    (tmp_path / "in/h.png").write_text("no")
    arguments = ("--images", tmp_path / "in", "--out", tmp_path / "o", "--report", "--overlays")
    done = paxray("predict", *arguments, "--json", code=1)
    films = [json.loads(line) for line in done.stdout.splitlines()]
    assert [film["status"] for film in films] == ["ok"] * 7 + ["failed"]
    assert films[0]["output"] == str(tmp_path / "o/a.pxm")
    assert (films[0]["height"], films[0]["width"]) == (50, 70)
    assert "7 ok, 0 skipped, 1 failed" in done.stderr
    again = paxray("predict", *arguments, "--json", code=1)
    keep = [film | {"status": "ok", "reason": ""} for film in films[:7]]
    lines = [json.loads(line) for line in again.stdout.splitlines()][:7]
    assert [film | {"status": "ok", "reason": ""} for film in lines] == keep


def test_predict_takes_the_open_model_unless_told_otherwise(tmp_path, monkeypatch):
    file, remedy = MODELS["open"]
    monkeypatch.setitem(MODELS, "open", (tmp_path / file.name, remedy))
    Image.fromarray(np.eye(50, 70, dtype=np.uint8)).save(tmp_path / "x.png")
    arguments = ("predict", "--images", tmp_path / "x.png", "--out", tmp_path / "o")
    error = paxray(*arguments, code=2).stderr
    assert re.search(r"there is no open\.safetensors in .*make open-model.*--weights", error)
    (tmp_path / file.name).write_bytes(portable_bytes())
    paxray(*arguments)
    assert PackedMasks.read(tmp_path / "o/x.pxm").shape == (3, 50, 70)


def test_a_fault_of_ours_has_a_code_of_its_own_and_leaves_its_trace(monkeypatch, tmp_path):
    def fault(*_, **__):
        raise KeyError("no such thing")

    monkeypatch.setattr("paxray_lib.labels.listing.label_lines", fault)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    output = paxray("labels", code=70).output
    (trace,) = tmp_path.glob("paxray-fault-*.txt")
    assert len(output.splitlines()) == 1
    for part in ("not yours", "KeyError", "no such thing", str(trace), "report"):
        assert part in output
    assert "Traceback" in trace.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert "Traceback" in paxray("labels", code=70).output


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 3, "out of memory"),
        (KeyboardInterrupt(), 3, "interrupted"),
        (OSError(28, "No space left on device"), 3, "No space.*free some space"),
        (OSError(28, "No space left", "out/x.csv"), 3, r"out/x\.csv: No space left; free some"),
        (ValueError("x.npz: not written"), 2, "x.npz"),
        (BrokenExecutor("died"), 3, "killed"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), 3, "out of memory"),
        (SystemExit(1), 70, "SystemExit"),
        (RecursionError("too deep"), 70, "RecursionError: too deep"),
        (BaseExceptionGroup("several", [KeyboardInterrupt()]), 70, "several"),
        (ValueError("x" * 10**6), 2, r"paxray: x{2000}\.\.\.$"),
        (KeyError("\x1b[2J\n\n" * 1000), 70, "KeyError"),
        (Unprintable(), 70, "Unprintable"),
    ],
)
def test_ends_have_codes_and_one_line(monkeypatch, tmp_path, error, code, words):
    def end(*_, **__):
        raise error

    monkeypatch.setattr("paxray_lib.labels.listing.label_lines", end)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    output = paxray("labels", code=code).output
    assert re.search(words, output)
    assert len(output.splitlines()) == 1
    assert len(output) < 2500


def test_an_interrupt_that_a_lock_of_python_swallows_is_one(monkeypatch):
    def end(*_, **__):
        try:
            raise KeyboardInterrupt("stopped by SIGTERM")
        finally:
            threading.Lock().release()

    monkeypatch.setattr("paxray_lib.labels.listing.label_lines", end)
    assert "stopped by SIGTERM" in paxray("labels", code=3).output


def test_a_command_may_end_with_another_one(monkeypatch, tiny):
    monkeypatch.setattr("paxray_lib.data.fetch.fetch_dataset", lambda *_: tiny)
    assert "0 errors" in paxray("fetch", "dataset").output


def test_a_signal_counts_again_when_the_work_does_not_end(monkeypatch):
    def deaf(*_):
        for expected in (True, False, True):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                assert not expected
            except KeyboardInterrupt:
                assert expected
            clock[0] += 6
        raise Stopped("twice")

    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("paxray_lib.labels.listing.label_lines", deaf)
    assert "twice" in paxray("labels", code=3).output


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK"])
def test_half_an_environment_of_torchrun_is_named(monkeypatch, name):
    names = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    for key, value in {**names, "LOCAL_WORLD_SIZE": "2", name: "many"}.items():
        monkeypatch.setenv(key, value)
    error = paxray("evaluate", "--weights", "x", "--data-root", "x", code=2).output
    assert re.search("environment.*'many'.*unset TORCHELASTIC_RUN_ID", error)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_end_a_command_in_order(monkeypatch, name):
    number = getattr(signal, name)
    monkeypatch.setattr(
        "paxray_lib.labels.listing.label_lines", lambda *_: os.kill(os.getpid(), number)
    )
    assert f"stopped by {name}" in paxray("labels", code=3).output
    assert signal.getsignal(number) == signal.SIG_DFL
    signal.signal(number, signal.SIG_IGN)  # as under nohup
    try:
        monkeypatch.setattr(
            "paxray_lib.labels.listing.label_lines",
            lambda *_: os.kill(os.getpid(), number) or ["went on"],
        )
        assert "went on" in paxray("labels").output
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, signal.SIG_DFL)
