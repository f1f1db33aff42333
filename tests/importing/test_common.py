"""Imports that are stopped in the middle, by whatever, and go on to the same data set."""

import errno
import itertools
import os
import signal
import threading

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from paxray_lib.cli import app


def disk_is_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def bring(tmp_path):
    """Import twelve images, to the given folder; return the output."""
    rng = np.random.default_rng(0)
    for folder, i in itertools.product(("images", "heart"), range(12)):
        (tmp_path / folder).mkdir(exist_ok=True)
        pixels = rng.choice(np.array([0, 255], np.uint8), (20, 20))
        Image.fromarray(pixels).save(tmp_path / folder / f"p{i}.png")

    def bring(out, code=0):
        command = ["import", "masks", "--images", tmp_path / "images", "--split", "train"]
        command += ["--mask", f"heart={tmp_path / 'heart'}", "--out", tmp_path / out]
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, command)))
        assert result.exit_code == code, result.output
        return result.output

    return bring


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.suffix != ".jsonl"}


@pytest.mark.parametrize("count", [1, 6, 14, 25])
@pytest.mark.parametrize(
    ("event", "words"), [(terminate, "stopped by SIGTERM"), (disk_is_full, "free some space")]
)
def test_an_import_that_was_stopped_goes_on(bring, tmp_path, monkeypatch, count, event, words):
    bring("whole")
    calls, replace, calls_lock = [], os.replace, threading.Lock()

    def eventful(*arguments):
        with calls_lock:
            calls.append(1)
            is_now = len(calls) == count
        if is_now:
            event()
        return replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", eventful)
        assert words in bring("out", 3)
    assert not list((tmp_path / "out").rglob("*.part*"))
    assert not (tmp_path / "out/paxray.json").exists()
    assert "0 failed" in bring("out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_a_kill_leaves_is_removed_and_made_again(bring, tmp_path):
    bring("whole")
    bring("out")
    for name in ("labels/.p3.0123456789ab.part.pxm", "images/.p4.0123456789ab.part.png"):
        (tmp_path / "out" / name).write_text("half")
    for name in ("labels/p3.pxm", "images/p4.png", "paxray.json"):
        (tmp_path / "out" / name).unlink()
    assert bring("out").startswith("2 imported, 10 skipped, 0 failed")
    assert not list((tmp_path / "out").rglob("*.part*"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
