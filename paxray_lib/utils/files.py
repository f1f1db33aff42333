"""Files: only regular ones are read, and what is written appears whole or not at all.

`open_file` is the one place that opens a file of a user's for reading; where another library opens
it by its path, `check_file` looks first. `inside` keeps paths of a data set in its folder.
"""

import contextlib
import datetime
import hashlib
import io
import json
import os
import stat
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

# more than any file that is read in one piece: 89 million pixels of 16-bit color are 537 MB
MAX_BYTES = 1 << 30
# in one JSON text: as Python objects they may take 100 bytes each, from 2 bytes of text
_MAX_VALUES = 1 << 23
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_file(path: str | os.PathLike) -> Path:
    """Return `path` if it is a regular file or a link to one: to open it cannot block or never end.

    Raises FileNotFoundError if there is none, ValueError if it is a folder, pipe, device or socket.
    """
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file; check the path") from None
    except ValueError as error:  # a null byte
        raise ValueError(f"{path!r}: no path of a file ({error})") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise ValueError(f"{path}: {kind}, but a file is needed; check the path, or leave it out")
    return path


def open_file(path: str | os.PathLike) -> io.BufferedReader:
    """Open a regular file for reading bytes; errors as `check_file`."""
    return open(check_file(path), "rb")


def read_bytes(path: str | os.PathLike, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file that is not empty and has at most `limit` bytes.

    Raises FileNotFoundError or ValueError, naming the file.
    """
    with open_file(path) as file:
        size = min(os.fstat(file.fileno()).st_size, limit)
        data = file.read(size + 1)  # not `limit`: as much memory would be asked for
        if len(data) > size:  # it has grown, or lies under /proc, where files claim no size
            data += file.read(limit + 1 - len(data))
    if not data:
        raise ValueError(f"{path}: the file is empty; fetch or export it again")
    if len(data) > limit:
        raise ValueError(f"{path}: more than {limit / 2**20:g} MiB; is it the right file?")
    return data


def inside(root: str | os.PathLike, name: str) -> Path:
    """Return `root / name`.

    Raises ValueError if it leads outside of `root`: absolute, by "..", or over a link.
    """
    path, given = Path(root) / name, PurePath(name)
    real = os.path.realpath(root)
    leads_out = given.is_absolute() or ".." in given.parts
    try:
        leads_out = leads_out or os.path.commonpath([real, os.path.realpath(path)]) != real
    except ValueError as error:  # a null byte
        raise ValueError(f"{path!r}: no path of a file ({error})") from error
    if leads_out:
        raise ValueError(
            f"{path}: leads outside of {root}, where nothing is written or deleted; "
            "name it by a plain path below that folder"
        )
    return path


def parse_json(text: str | bytes, name: object) -> Any:
    """Parse JSON strictly: a key that stands twice in an object is an error, as any bad syntax.

    `name` says in the ValueError what was parsed. More than 8 million values are refused before
    memory goes for them.
    """
    marks = (",", "[", "{") if isinstance(text, str) else (b",", b"[", b"{")
    if sum(map(text.count, marks)) > _MAX_VALUES:  # type: ignore[arg-type]
        raise ValueError(f"{name}: more than {_MAX_VALUES} values in JSON; is it the right file?")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{name}: not a JSON file: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{name}: not a JSON file ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {twice[:80]!r} stands twice in one object")
    return content


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    The folder is made if missing. A reader sees the old file or the new one, never a part of it.
    The temporary name keeps the suffix, since many writers choose a format by it, and is short: a
    name may have 255 bytes. An OSError of writing, as on a full disk, names `path`.

    What is at `path` already and is no file (a folder, a pipe, a device) stays: a ValueError.
    """
    path = Path(path)
    with contextlib.suppress(FileNotFoundError):
        check_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(part_name(path, uuid.uuid4().hex[:12]))
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)) and not error.filename2:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def part_name(path: PurePath, token: str) -> str:
    """Return the name of an unfinished file beside `path`; `token` has 12 hexadecimal digits."""
    return f".{path.stem[:16]}.{token}.part{path.suffix[-32:]}"


def now() -> str:
    """Return the time in UTC to the second, as ISO 8601 text."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one. ValueError if it is anything else."""
    content = parse_json(read_bytes(path), path) if path.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object but a {type(content).__name__}")
    return content


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece, with escapes for what UTF-8 cannot hold in names of files."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
