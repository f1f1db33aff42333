"""What a notebook says while it runs: lines, or on a terminal one line that moves."""

import shutil
import sys
import threading
import time
from types import SimpleNamespace

from tqdm import tqdm

from paxray_lib.utils.console import duration, log

_SILENCE_S = 15.0  # after which a sign of life is due; chosen by eye


class Echo:
    """A file for papermill's stderr_file, with `stdout` for its stdout_file; a context manager.

    Lines are passed on to stderr at once. Of a line that was rewritten with carriage returns the
    last state counts. While the notebook is silent, the time it has taken is shown. Of stdout only
    single lines are passed on, such as an epoch's: what is printed at length is for the page.
    """

    def __init__(self) -> None:
        self.stdout = SimpleNamespace(write=self._write_single, flush=self.flush)
        # without a terminal the bar is disabled; nrows: some terminals say that they have none
        width, layout = shutil.get_terminal_size().columns, "    {elapsed}  {desc}"
        self._bar = tqdm(bar_format=layout, leave=False, ncols=width, nrows=24, disable=None)
        self._rest = ""
        self._start = self._shown = time.monotonic()
        self._end = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Echo":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._ticker.join()
        self._bar.close()

    def write(self, text: str) -> None:
        """Take a piece of text."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._show(line.rstrip("\r").rpartition("\r")[2])

    def flush(self) -> None:
        """Bring written lines out."""
        sys.stderr.flush()

    def _write_single(self, text: str) -> None:
        if "\n" not in text.rstrip("\n"):
            self.write(text)

    def _show(self, line: str) -> None:
        self._shown = time.monotonic()
        if self._bar.disable:
            log(f"    {line}")
        else:
            self._bar.set_description_str(line)

    def _tick(self) -> None:
        while not self._end.wait(1.0):
            if not self._bar.disable:
                self._bar.refresh()
            elif time.monotonic() - self._shown >= _SILENCE_S:
                self._show(f"running for {duration(time.monotonic() - self._start)}")
