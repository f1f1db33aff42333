"""Strokes on disk before they are acknowledged, so that a process that dies loses none of these.

`journal.jsonl` has a line for each record, a plain dict with at least "id" and "image". A line that
a kill or a full disk cut off was not acknowledged, and is dropped. {"saved": image, "count": n}
says that the first n records of an image since its last such line are in its saved masks.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paxray_lib.utils import inside, lock, open_file, parse_json

JOURNAL = "journal.jsonl"
_LONGEST = 1 << 24  # bytes of a line
_MOST = 1 << 30  # bytes of a journal


class Journal:
    """The journal of a folder, which several images and several processes share.

    Parameters
    ----------
    folder : made if missing

    Raises
    ------
    ValueError
        If the journal was damaged other than by a line that was cut off, naming the line.

    Examples
    --------
    >>> import tempfile
    >>> journal = Journal(tempfile.mkdtemp())
    >>> journal.append({"id": "a-1", "image": "case1", "points": [[8, 8]]})
    True
    >>> [record["id"] for record in journal.records("case1")]
    ['a-1']
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.path = inside(self.folder, JOURNAL)
        self._forget()
        with self._held():
            pass

    def _forget(self) -> None:
        self._end = 0  # of what was read, in bytes
        self._lines = 0
        self._ids: set[str] = set()
        self._pending: dict[str, list[dict[str, Any]]] = {}
        self._seen: dict[str, list[str]] = {}  # ids of pending ones that this object knows

    def append(self, record: dict[str, Any]) -> bool:
        """Write a record; when this returns, it is on the disk. One that is there already is kept.

        Returns whether it is among `records`: one that is there already may have been saved.

        Raises
        ------
        ValueError
            If it is no record, or someone else added records of this image that this object has not
            read: `records` reads them.
        OSError
            If it cannot be written: it is not in the journal.
        """
        name, image = record.get("id"), record.get("image")
        if not isinstance(name, str) or not isinstance(image, str):
            raise ValueError(
                f"a record with the id {name!s:.80} and the image {image!s:.80}: no texts"
            )
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        if len(line) > _LONGEST:
            raise ValueError(
                f"a record of {len(line)} bytes, of {_LONGEST} at most; send it in parts"
            )
        with self._held():
            seen, pending = self._seen.get(image, []), self._pending_ids(image)
            # this record may follow them already: it was written, but not acknowledged
            if pending not in (seen, [*seen, name]):
                raise ValueError(self._conflict(image))
            self._write(b"" if name in self._ids else line)
            self._catch_up()
            self._seen[image] = self._pending_ids(image)
            return name in self._seen[image]

    def records(self, image: str) -> list[dict[str, Any]]:
        """Return the records of an image since it was last saved, in order, whoever wrote them."""
        with self._held():
            self._seen[image] = self._pending_ids(image)
            return list(self._pending.get(image, ()))

    def saved(self, image: str, last: str | None = None) -> None:
        """Say that the masks of an image were saved with all records of it that are known here.

        With `last`, those up to the one of that id. Those that someone else added since stay.
        ValueError if someone else saved it meanwhile.
        """
        with self._held():
            seen = self._seen.get(image, [])
            if self._pending_ids(image)[: len(seen)] != seen:
                raise ValueError(self._conflict(image))
            if count := len(seen) if last is None else seen.index(last) + 1:
                self._write(json.dumps({"saved": image, "count": count}).encode() + b"\n")
                self._catch_up()
                self._seen[image] = seen[count:]

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """While inside, no other process writes, and all that others wrote is known."""
        with lock(self.folder, ".journal.lock"):
            if not os.path.lexists(self.path):
                self._forget()
                self.path.touch()
                _sync_folder(self.folder)
            self._catch_up()
            yield

    def _pending_ids(self, image: str) -> list[str]:
        return [record["id"] for record in self._pending.get(image, ())]

    def _conflict(self, image: str) -> str:
        return (
            f"{self.path}: someone else changed {image[:200]!r} meanwhile; load the image again, "
            "to go on from there"
        )

    def _catch_up(self) -> None:
        """Read what was added since the last time; only whole lines count."""
        with open_file(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MOST:
                raise ValueError(f"{self.path}: more than {_MOST >> 20} MiB; move it away")
            if size < self._end:  # another file
                self._forget()
            file.seek(self._end)
            content = file.read()
        *lines, _ = content.split(b"\n")
        for line in lines:
            self._lines += 1
            where = f"{self.path}: line {self._lines}"
            self._take(parse_json(line, f"{where}, which was damaged; move the file away"), where)
            self._end += len(line) + 1

    def _take(self, record: Any, where: str) -> None:
        record = record if isinstance(record, dict) else {}
        name, image = record.get("id"), record.get("image")
        saved, count = record.get("saved"), record.get("count")
        if isinstance(name, str) and isinstance(image, str):
            if name not in self._ids:
                self._ids.add(name)
                self._pending.setdefault(image, []).append(record)
        elif isinstance(saved, str) and type(count) is int and count > 0:
            del self._pending.get(saved, [])[:count]
        else:
            raise ValueError(
                f"{where}, which was damaged; move the file away: no record of a stroke"
            )

    def _write(self, line: bytes) -> None:
        with open(self.path, "ab", buffering=0) as file:
            try:
                os.ftruncate(file.fileno(), self._end)  # a line that was cut off
                rest = line
                while rest:  # a disk that is almost full takes a part
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError as error:
                error.filename = str(self.path)
                raise


def _sync_folder(folder: Path) -> None:
    """See to it that a new file's name is on the disk, too, where the system can say so."""
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
