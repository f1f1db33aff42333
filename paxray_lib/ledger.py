"""What each predicted file was made from, so that a run that was stopped in any way goes on, and never wrongly.

`sources.jsonl` in the output folder has one line an output, written just before the output appears: its name, the file
it is made from, and that file's size and time of change. An output counts as done if it is there and its last line
still fits its source. While a run works in the folder it holds a lock on that file.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

NAME = "sources.jsonl"
_Entry = tuple[str, int, int]


def read_sources(out: Path) -> dict[str, _Entry]:
    """Return (source, size, mtime_ns) of each output that was ever started in a folder; empty for a new folder."""
    path = out / NAME
    found: dict[str, _Entry] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            found[entry["output"]] = (entry["file"], entry["size"], entry["mtime_ns"])
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a run that was killed while it wrote
    return found


class Ledger:
    """The open ledger of an output folder, which is made if missing; a context manager.

    Raises
    ------
    ValueError
        If another process is at work in the folder.
    """

    def __init__(self, out: Path):
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self._file = open(out / NAME, "a+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._lock = threading.Lock()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(f"{out}: another prediction works in this folder; wait for it, or use another") from None
        self._entries = read_sources(out)
        self._file.write("\n")  # ends what a kill may have cut short

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def may_write(self, output: str, source: Path) -> bool:
        """Return whether an output is not there, or is one that was made from `source`, as it is now or was before."""
        made_from = self._entries.get(output, (None,))[0]
        return not (self.out / output).exists() or made_from == os.path.relpath(source, self.out)

    def is_done(self, output: str, source: Path) -> bool:
        """Return whether an output is there and was made from `source` as it is now."""
        return (self.out / output).is_file() and self._entries.get(output) == self._entry(source)

    def start(self, output: str, source: Path) -> None:
        """Record that an output is about to be written; an older one is removed first."""
        entry = self._entry(source)
        (self.out / output).unlink(missing_ok=True)
        self._write(output, entry)

    def forget(self) -> None:
        """Let no output count as done; they are still known as made here."""
        for output in list(self._entries):
            self._write(output, (self._entries[output][0], 0, 0))

    def clean(self, outputs: Iterable[str]) -> None:
        """Remove the unfinished files that a killed run left beside its outputs."""
        folders = {(self.out / output).parent for output in outputs} | {self.out}
        for folder in folders:
            for part in folder.glob(".*.????????????.part.*") if folder.is_dir() else ():
                part.unlink(missing_ok=True)

    def _entry(self, source: Path) -> _Entry:
        status = os.stat(source)
        return os.path.relpath(source, self.out), status.st_size, status.st_mtime_ns

    def _write(self, output: str, entry: _Entry) -> None:
        line = json.dumps(dict(zip(("output", "file", "size", "mtime_ns"), (output, *entry), strict=True)))
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            self._entries[output] = entry
