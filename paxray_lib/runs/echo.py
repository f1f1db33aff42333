"""What a notebook says while it runs: lines, or on a terminal one line that moves."""

import shutil
import sys
import threading
import time

from paxray_lib.utils.progress import duration

_SILENCE_S = 15.0  # after which a sign of life is due


class Echo:
    """A file for papermill's stderr_file, with `stdout` for its stdout_file; a context manager.

    Whole lines are passed on to stderr, indented. Of a line that was rewritten with carriage
    returns the last state counts. While the notebook is silent, the time it has taken is shown.
    """

    def __init__(self) -> None:
        self.stdout = _SingleLines(self)
        self._terminal = sys.stderr.isatty()
        self._line = self._rest = ""
        self._start = self._shown = time.monotonic()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Echo":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._ticker.join()
        if self._terminal:
            self._rewrite("")

    def write(self, text: str) -> None:
        """Take a piece of text."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._show(line)
            if self._terminal and self._rest:
                self._show(self._rest)

    def flush(self) -> None:
        """Bring written lines out."""
        sys.stderr.flush()

    def _show(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2].rstrip()
        if not line:
            return
        self._line, self._shown = line, time.monotonic()
        if self._terminal:
            self._rewrite(f"{self._elapsed()}  {line}")
        else:
            sys.stderr.write(f"    {line}\n")

    def _tick(self) -> None:
        while not self._end.wait(1.0):
            with self._lock:
                if self._terminal:
                    self._rewrite(f"{self._elapsed()}  {self._line}")
                elif time.monotonic() - self._shown >= _SILENCE_S:
                    self._show(f"running for {self._elapsed()}")
                    sys.stderr.flush()

    def _elapsed(self) -> str:
        return duration(round(time.monotonic() - self._start))

    def _rewrite(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 5
        sys.stderr.write(f"\r    {text[:width]:<{width}}" if text else f"\r{'':{width + 4}}\r")
        sys.stderr.flush()


class _SingleLines:
    """Passes on single lines, such as an epoch's; what is printed at length is for the page."""

    def __init__(self, echo: Echo):
        self._echo = echo
        self.flush = echo.flush

    def write(self, text: str) -> None:
        if "\n" not in text.rstrip("\n"):
            self._echo.write(text)
