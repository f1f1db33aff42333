"""The command line itself: closed and full streams, locales, empty and endless arguments."""

import os
import subprocess
import sys

import pytest
from helpers.hostile import cases

from paxray_lib.cli.command import STOPPED

# each line of arguments in the process that it is given to, as a user's own would be
EVERY = """
import os, sys
from paxray_lib.cli import main
for line in os.fsdecode(sys.stdin.buffer.read()).splitlines():
    sys.argv = ["paxray", *line.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code, line.encode(errors="backslashreplace"), flush=True)
"""
COMMANDS = """\
labels héart
check --data-root größe
pack --data-root größe
sample größe --cases 0
fetch weights --archive größe.pth
project --ct größe --segmentation größe --out o
train --profile größe.yaml
run --profile größe.yaml
sweep größe.yaml
evaluate --weights größe.ckpt --data-root größe
predict --weights größe.ckpt --images größe --out größe
overlay --image größe.png --masks größe.pxm --out größe.png
labels --help
"""


@cases(
    (
        "an empty path",
        lambda _: None,
        *("predict --images '' --out {here} --weights {weights}", 2, "empty text"),
    ),
    ("an empty value", lambda _: None, "check --data-root=", 2, "--data-root: an empty text"),
    (
        "an unset variable for labels",
        lambda _: None,
        *("overlay --image x.png --masks x.pxm --out o.png --labels ''", 2, "empty text"),
    ),
    ("an option named like a path", lambda _: None, "sample -o", 2, "No such option"),
    ("an argument of 10 kB", lambda _: None, f"labels {'x' * 10_000}", 2, "unknown label.{,200}$"),
    ("an argument that steers", lambda _: None, r"labels '\x1b[2J'", 2, "unknown label"),
    (
        "a name longer than names may be",
        lambda _: None,
        f"sample {'x' * 256} --cases 1",
        2,
        "short",
    ),
    ("a place that cannot be written", lambda _: None, "sample /proc/x --cases 1", 2, "/proc/x: "),
)
def test_arguments(case, hostile):
    hostile(case)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("labels >&-", 0),
        ("labels >&- 2>&- <&-", 0),
        ("labels hart 2>&-", 2),
        ("labels hart 2>/dev/full", 2),
        ("labels >/dev/full", STOPPED),
        ("--help >/dev/full", STOPPED),
    ],
)
def test_closed_and_full_streams(ending, code):
    command = f"{sys.executable} -m paxray_lib {ending}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") == (code == STOPPED)


def test_a_reader_that_leaves_early_is_no_fault():
    command = f"set -o pipefail; {sys.executable} -m paxray_lib labels | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("index")


@pytest.mark.slow
def test_a_locale_without_utf8_is_no_fault(tmp_path):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", EVERY],
        cwd=tmp_path,
        input=COMMANDS.encode(),
        env={**os.environ, **locale},
        capture_output=True,
    )
    ends = [line for line in done.stdout.decode().splitlines() if " b'" in line]
    assert [line.split()[0] for line in ends] == ["2"] * 12 + ["0"], done
    assert b"Traceback" not in done.stderr
    assert done.stderr.isascii()


def test_a_home_that_cannot_be_written_is_no_fault(tiny, tmp_path):
    nowhere = {"HOME": "/proc/nowhere", "XDG_CONFIG_HOME": "/proc/nowhere"}
    masks = sorted((tiny / "labels").iterdir())[0]
    image = sorted((tiny / "images").iterdir())[0]
    command = ["overlay", "--image", image, "--masks", masks, "--out", tmp_path / "o.png"]
    done = subprocess.run(
        [sys.executable, "-m", "paxray_lib", *map(str, command)],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o.png").is_file()
