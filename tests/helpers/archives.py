"""Zip files of a data set that nobody should make, by hand where `zipfile` would not write them."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

GOOD = ("paxray.json", b'{"label_dict": {"0": "heart"}, "train": []}')
_LOCAL = struct.Struct("<4s5H3I2H")
_DIRECTORY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")


def archive(*entries: tuple, method: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    """Return what writes `x.zip` into a folder: a data set without images, and more entries.

    An entry is (name or ZipInfo, content).
    """

    def make(here: Path) -> None:
        with zipfile.ZipFile(here / "x.zip", "w", method) as file:
            for name, content in (GOOD, *entries):
                file.writestr(name, content)

    return make


def info(name: str, **fields) -> zipfile.ZipInfo:
    """Return the facts of an entry, with a name and fields that `ZipInfo` would not take."""
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry


def changed(make: Callable[[Path], object], change: Callable[[bytes], bytes]):
    """Return what writes an archive and then changes its bytes."""

    def write(here: Path) -> None:
        make(here)
        path = here / "x.zip"
        path.write_bytes(change(path.read_bytes()))

    return write


def in_directory(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Return what sets bytes of the last entry in the directory at the end of an archive."""

    def change(content: bytes) -> bytes:
        start = content.rindex(b"PK\x01\x02") + offset
        return content[:start] + value + content[start + len(value) :]

    return change


def overlapping(here: Path) -> None:
    """Write an archive in which an entry is also a part of the content of another one."""
    inner = _local(b"inner.bin", b"x") + b"x"
    contents = {b"paxray.json": GOOD[1], b"outer.bin": inner}
    out, directory = b"", b""
    for name, content in contents.items():
        directory += _listed(name, content, len(out))
        out += _local(name, content) + content
    directory += _listed(b"inner.bin", b"x", len(out) - len(inner))
    _write(here, out, directory, 3)


def claiming(count: int, size: int) -> Callable[[Path], None]:
    """Return what writes an archive whose directory alone claims entries of a size, by zip64."""

    def make(here: Path) -> None:
        out = _local(b"paxray.json", GOOD[1]) + GOOD[1]
        listed = [_listed(b"%d.npy" % number, b"", 0, size) for number in range(count)]
        _write(here, out, b"".join([_listed(b"paxray.json", GOOD[1], 0), *listed]), count + 1)

    return make


def _write(here: Path, entries: bytes, directory: bytes, count: int) -> None:
    number = min(count, 0xFFFF)  # readers go by the size of the directory
    end = _END.pack(b"PK\5\6", 0, 0, number, number, len(directory), len(entries), 0)
    (here / "x.zip").write_bytes(entries + directory + end)


def _local(name: bytes, content: bytes) -> bytes:
    sizes = (zlib.crc32(content), len(content), len(content), len(name))
    return _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, *sizes, 0) + name


def _listed(name: bytes, content: bytes, offset: int, size: int | None = None) -> bytes:
    """Return an entry of the directory; with `size` it claims that, in an extra field of zip64."""
    extra = b"" if size is None else struct.pack("<HHQ", 1, 8, size)
    claimed = len(content) if size is None else 0xFFFFFFFF
    sizes = (zlib.crc32(content), len(content), claimed, len(name), len(extra))
    head = _DIRECTORY.pack(b"PK\1\2", 45, 45, 0, 0, 0, 0, *sizes, 0, 0, 0, 0, offset)
    return head + name + extra
