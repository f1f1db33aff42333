"""What each output was made from, so that stopped work goes on, and never wrongly.

`manifest.jsonl` in the folder of the outputs has one line per output, written just before the
output appears: its name, and size and time of change of the files it is made from. An output is
done if it is there and its newest line still fits.

Of several processes that share the work, each but the first has a file of its own beside it, such
as `manifest.1.jsonl`. The first one takes these over at the end, and again when it starts, should
the end have been cut off.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paxray_lib.utils.locks import lock

NAME = "manifest.jsonl"
_PARTS = "manifest.*.jsonl"
# {"sources": {path: [size, mtime_ns], or None if forgotten}, "settings": None}
Entry = dict[str, Any]


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Return the newest entry of each output that was ever started in a folder, by its name."""
    paths = (folder / NAME, *sorted(folder.glob(_PARTS)))
    return {output: entry for path in paths for output, entry in _read(path).items()}


def _read(path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        # a run that was killed while it wrote may leave half a line
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            entries[entry.pop("output")] = entry
    return entries


class Manifest(contextlib.ExitStack):
    """The manifest of a folder, which this process holds until it is closed; a context manager.

    The folder is made if missing. ValueError if another process works in it. Of several processes,
    the first, of `rank` 0, opens its manifest before the others.
    """

    def __init__(self, folder: str | os.PathLike, rank: int = 0):
        super().__init__()
        self.folder = Path(folder)
        name = NAME if rank == 0 else _PARTS.replace("*", str(rank))
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock(self.folder, f".{name}.lock"))
            self._file = stack.enter_context(open(self.folder / name, "a", encoding="utf-8"))
            self._file.write("\n")  # ends what a kill may have cut short
            self.push(stack.pop_all())
        self._lock = threading.Lock()
        self._entries = read_manifest(self.folder)
        if rank == 0:
            self.absorb()

    def absorb(self) -> None:
        """Take over what other processes, which have ended, recorded in files of their own."""
        for path in sorted(self.folder.glob(_PARTS)):
            for output, entry in _read(path).items():
                self._write(output, entry)
            path.unlink()

    def is_done(self, output: str, source: str | os.PathLike) -> bool:
        """Return whether an output is there and was made from `source` as it is now."""
        try:
            there = (self.folder / output).is_file()
            return there and self._entries.get(output) == self._entry(source)
        except FileNotFoundError:
            return False

    def may_write(self, output: str, source: str | os.PathLike) -> bool:
        """Return whether an output is absent, or was made from this file in any state of it."""
        made_from = self._entries.get(output, {"sources": ()})["sources"]
        return not (self.folder / output).exists() or set(made_from) == {self._name(source)}

    def start(self, output: str, source: str | os.PathLike) -> None:
        """Record that an output is about to be written; an older one is removed first."""
        entry = self._entry(source)
        (self.folder / output).unlink(missing_ok=True)
        self._write(output, entry)

    def forget(self) -> None:
        """Let no output count as done; they are still known as made here."""
        for output, entry in list(self._entries.items()):
            self._write(output, {**entry, "sources": dict.fromkeys(entry["sources"])})

    def clean(self, outputs: Iterable[str]) -> None:
        """Remove the unfinished files that a killed run left beside its outputs."""
        for folder in {(self.folder / output).parent for output in outputs} | {self.folder}:
            for part in folder.glob(".*.????????????.part.*"):
                part.unlink(missing_ok=True)

    def _name(self, source: str | os.PathLike) -> str:
        return os.path.relpath(source, self.folder)

    def _entry(self, source: str | os.PathLike) -> Entry:
        state = os.stat(source)
        sources = {self._name(source): [state.st_size, state.st_mtime_ns]}
        return {"sources": sources, "settings": None}

    def _write(self, output: str, entry: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps({"output": output, **entry}) + "\n")
            self._file.flush()
            self._entries[output] = dict(entry)
