"""What each output was made from, so that stopped work goes on, and never wrongly.

`manifest.jsonl` in the folder of the outputs has one line per output, written just before the
output appears: its name, and the state that its source was read in: size, times of change and a
digest of the content. An output is done if it is there and its source is still in that state. A
line that is no entry, as a kill in the middle of it leaves, costs that entry alone.

Of several processes that share the work, each but the first has a file of its own beside it, such
as `manifest.1.jsonl`. The first one takes these over at the end, and again when it starts, should
the end have been cut off.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from paxray_lib.utils.files import (
    MAX_BYTES,
    check_file,
    inside,
    open_file,
    parse_json,
    part_name,
    read_bytes,
)
from paxray_lib.utils.locks import lock

NAME = "manifest.jsonl"
_PART = re.compile(r"manifest\.\d+\.jsonl")
_LONGEST_LINE = 1 << 17  # bytes: two names of 4096, all of them escaped
_TICK_NS = 2_000_000_000  # file systems may tell times apart by no less
# size, time of change in ns of the content and of all that is known of a file, digest
State = list[Any]
# {"sources": {path: State, or None if forgotten}, and "about" if anything was noted of it}
Entry = dict[str, Any]


def read_source(path: str | os.PathLike, limit: int = MAX_BYTES) -> tuple[bytes, State]:
    """Return the content of a file and the state in which it was read; errors as `read_bytes`."""
    stat = os.stat(check_file(path))  # before: a change while it is read shows
    data = read_bytes(path, limit)
    # so young that its next change might leave the times as they are: only the digest counts
    is_young = time.time_ns() - stat.st_ctime_ns < _TICK_NS
    times = [None, None] if is_young else [stat.st_mtime_ns, stat.st_ctime_ns]
    return data, [stat.st_size, *times, hashlib.blake2b(data, digest_size=16).hexdigest()]


def is_unchanged(path: str | os.PathLike, state: State | None) -> bool:
    """Tell whether a file still has the content that it had in that state."""
    if not isinstance(state, list) or len(state) != 4:
        return False
    try:
        stat = os.stat(path)
        if [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] == state[:3]:
            return True
        if stat.st_size != state[0]:
            return False
        with open_file(path) as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except (OSError, ValueError):
        return False
    return digest.hexdigest() == state[3]


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Return the newest entry of each output that was ever started in a folder, by its name."""
    paths = (folder / NAME, *_parts(folder))
    return {output: entry for path in paths for output, entry in _read(path).items()}


def _parts(folder: Path) -> list[Path]:
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(folder / name for name in names if _PART.fullmatch(name))


def _read(path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    if not os.path.lexists(path):
        return entries
    with open_file(path) as file:
        while line := file.readline(_LONGEST_LINE):
            with contextlib.suppress(ValueError):
                entry = parse_json(line, path)
                output = entry.pop("output", None) if isinstance(entry, dict) else None
                if isinstance(output, str) and isinstance(entry.get("sources"), dict):
                    entries[output] = entry
    return entries


class Manifest(contextlib.ExitStack):
    """The manifest of a folder, which this process holds until it is closed; a context manager.

    The folder is made if missing. ValueError if another process works in it. Of several processes,
    the first, of `rank` 0, opens its manifest before the others.
    """

    def __init__(self, folder: str | os.PathLike, rank: int = 0):
        super().__init__()
        self.folder = Path(folder)
        self._path = self.folder / (f"manifest.{rank}.jsonl" if rank else NAME)
        self._lock = threading.Lock()
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock(self.folder, f".{self._path.name}.lock"))
            if os.path.lexists(self._path):
                check_file(self._path)
            # unbuffered: what a full disk does not take is not tried again when it is closed
            self._file = stack.enter_context(open(self._path, "ab", buffering=0))
            self._append(b"\n")  # ends what a kill may have cut short
            self._entries = read_manifest(self.folder)
            if rank == 0:
                self.absorb()
            self.push(stack.pop_all())

    def absorb(self) -> None:
        """Take over what other processes, which have ended, recorded in files of their own."""
        for path in _parts(self.folder):
            for output, entry in _read(path).items():
                self._write(output, entry)
            path.unlink()

    def is_done(self, output: str, source: str | os.PathLike) -> bool:
        """Return whether an output is there and was made from `source` as it is now."""
        state = self._sources(output).get(self._name(source))
        return os.path.isfile(self.folder / output) and is_unchanged(source, state)

    def may_write(self, output: str, source: str | os.PathLike) -> bool:
        """Return whether an output is absent, or was made from this file in any state of it."""
        is_there = os.path.lexists(self.folder / output)
        return not is_there or set(self._sources(output)) == {self._name(source)}

    def start(
        self,
        output: str,
        source: str | os.PathLike,
        state: State,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that an output is about to be written; an older one is removed first.

        `state` is what `read_source` gave with the content that it is made from; `about` is what is
        to be known of the output later, plain values for JSON.
        """
        (self.folder / output).unlink(missing_ok=True)
        noted = {} if about is None else {"about": dict(about)}
        self._write(output, {"sources": {self._name(source): state}, **noted})

    def about(self, output: str) -> dict[str, Any]:
        """Return what was noted of an output when it was made, or an empty dict."""
        about = self._entries.get(output, {}).get("about")
        return dict(about) if isinstance(about, dict) else {}

    def forget(self) -> None:
        """Let no output count as done; they are still known as made here."""
        for output, entry in list(self._entries.items()):
            self._write(output, {"sources": dict.fromkeys(entry["sources"])})

    def outdated(self, outputs: Mapping[str, Path]) -> dict[Path, list[Path]]:
        """Return what was made here of the sources of outputs and is forgotten, by source.

        Outputs themselves are left out: these are files of an earlier run in another format.
        """
        sources = {self._name(source): source for source in outputs.values()}
        found: dict[Path, list[Path]] = {}
        for output, entry in self._entries.items():
            for name, state in entry["sources"].items():
                if state is None and name in sources and output not in outputs:
                    with contextlib.suppress(ValueError):
                        found.setdefault(sources[name], []).append(inside(self.folder, output))
        return found

    def clean(self, outputs: Iterable[str]) -> None:
        """Remove the unfinished files that a killed run left beside its outputs."""
        ours: dict[PurePath, set[str]] = {}
        for output in map(PurePath, outputs):
            ours.setdefault(output.parent, set()).add(part_name(output, ""))
        for parent, names in ours.items():
            folder = self.folder / parent
            for name in os.listdir(folder) if folder.is_dir() else ():
                if re.sub(r"\.[0-9a-f]{12}(?=\.part)", ".", name) in names:
                    (folder / name).unlink(missing_ok=True)

    def _name(self, source: str | os.PathLike) -> str:
        return os.path.relpath(source, self.folder)

    def _sources(self, output: str) -> dict[str, State | None]:
        return self._entries.get(output, {"sources": {}})["sources"]

    def _write(self, output: str, entry: Mapping[str, Any]) -> None:
        line = json.dumps({"output": output, **entry}).encode() + b"\n"
        with self._lock:
            self._append(line)
            self._entries[output] = dict(entry)

    def _append(self, line: bytes) -> None:
        try:
            while line:  # a disk that is almost full takes a part
                line = line[self._file.write(line) :]
        except OSError as error:
            error.filename = str(self._path)
            raise
