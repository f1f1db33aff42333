"""Predictions in processes of their own: one that hangs in a read, one that may write little."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from paxray_lib.utils import read_table

pytestmark = pytest.mark.slow

HANGING = """
import time
from paxray_lib.cli import main
from paxray_lib.prediction import films
read = films.read_source
def hang(path, limit):
    if path.name.endswith("01.png"):
        print("reading", flush=True)
        time.sleep(3600)
    return read(path, limit)
films.read_source = hang
main()
"""
LIMITED = """
import resource
from paxray_lib.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4300, 4300))
main()
"""


@pytest.fixture
def arguments(tmp_path, weights):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 9), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:060}.png")
    return ["predict", "--images", folder, "--out", tmp_path / "out", "--weights", weights]


def test_ctrl_c_ends_a_process_whose_reader_hangs(arguments, tmp_path):
    command = [sys.executable, "-c", HANGING, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - started < 10  # by itself 0.6 s
    assert process.returncode == 3, said
    assert said.splitlines() == ["paxray: interrupted"]
    assert len(read_table(tmp_path / "out/report.csv")) == 40


def test_files_that_may_not_grow_stop_the_work_and_it_goes_on(arguments, tmp_path):
    limited = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True)
    assert limited.returncode == 3, limited.stderr
    assert b"File too large" in limited.stderr
    assert len(limited.stderr.splitlines()) == 1
    made = len(list((tmp_path / "out").glob("*.pxm")))
    assert 0 < made < 40
    again = [sys.executable, "-m", "paxray_lib", *arguments]
    assert (
        f"{40 - made} ok, {made} skipped, 0 failed"
        in subprocess.run(again, capture_output=True, text=True).stdout
    )
