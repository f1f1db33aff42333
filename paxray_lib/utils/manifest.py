"""What each predicted file was made from, so that a run that was stopped in any way goes on, and
never wrongly.

`sources.jsonl` in the output folder has one line an output, written just before the output appears:
its name, the file it is made from, and that file's size and time of change. An output counts as
done if it is there and its last line still fits its source. While a run works in the folder it
holds a lock on that file.

Of several processes that work as one the first has `sources.jsonl`, and each other one a file
beside it, such as `sources.1.jsonl`. The first takes these over, at the end and again when it
starts, should the end have been cut off."""

import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

NAME = "sources.jsonl"
_PARTS = "sources.*.jsonl"
_Entry = tuple[str, int, int]


def read_sources(out: Path) -> dict[str, _Entry]:
    """Return (source, size, mtime_ns) of each output that was ever started in a folder; empty for a
    new folder.
    """
    found: dict[str, _Entry] = {}
    for path in (out / NAME, *sorted(out.glob(_PARTS))):
        found |= _read(path)
    return found


def _read(path: Path) -> dict[str, _Entry]:
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

    Parameters
    ----------
    out : the folder
    rank : number of this process; the first, 0, opens its ledger before the others

    Raises
    ------
    ValueError
        If another process is at work in the folder.
    """

    def __init__(self, out: Path, rank: int = 0):
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        path = out / (NAME if rank == 0 else _PARTS.replace("*", str(rank)))
        self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        self._lock = threading.Lock()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{out}: another prediction works in this folder; wait for it, or use another"
            ) from None
        self._entries = read_sources(out)
        self._file.write("\n")  # ends what a kill may have cut short
        if rank == 0:
            self.absorb()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the work in the folder, so that another process may begin."""
        self._file.close()

    def absorb(self) -> None:
        """Take over what other processes, which work no more, have recorded in files of their
        own.
        """
        for path in sorted(self.out.glob(_PARTS)):
            for output, entry in _read(path).items():
                self._write(output, entry)
            path.unlink()

    def may_write(self, output: str, source: Path) -> bool:
        """Return whether an output is not there, or is one that was made from `source`, as it is
        now or was before.
        """
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
        line = json.dumps(
            dict(zip(("output", "file", "size", "mtime_ns"), (output, *entry), strict=True))
        )
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            self._entries[output] = entry
