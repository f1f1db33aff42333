"""What a notebook says while it runs, with and without a terminal."""

import io
import time

from paxray_lib.utils import echo as module
from paxray_lib.utils.echo import Echo


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_whole_lines_are_passed_on_at_once(monkeypatch):
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    with Echo() as echo:
        echo.write("half 1/2\rhalf 2/2")
        assert stderr.getvalue() == ""
        echo.write("\nwarning\n\n")
        assert stderr.getvalue() == "    half 2/2\n    warning\n"
        echo.stdout.write("epoch 1: loss 0.5\n")
        echo.stdout.write("a table\nof two lines\n")
    assert stderr.getvalue().splitlines()[2:] == ["    epoch 1: loss 0.5"]


def test_a_silent_notebook_gives_a_sign_of_life(monkeypatch):
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    monkeypatch.setattr(module, "_SILENCE_S", 0.0)
    with Echo():
        time.sleep(1.5)
    assert "running for 1" in stderr.getvalue()


def test_on_a_terminal_one_line_moves_and_vanishes(monkeypatch):
    monkeypatch.setattr("sys.stderr", stderr := Terminal())
    with Echo() as echo:
        echo.write("first\n")
        echo.stdout.write("second\n")
        time.sleep(1.5)
    text = stderr.getvalue()
    assert text.index("first") < text.index("second")
    assert "\n" not in text
    assert text.endswith("\r")
