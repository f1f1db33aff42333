"""Unpack the images of a tar file, and nothing outside of its folder."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paxray_lib.data.unpack import MAX_FILES, leads_below
from paxray_lib.images.files import IMAGE_SUFFIXES
from paxray_lib.utils import atomic_write, naming_errors, open_file, progress

_MAX_READ = 1 << 24  # bytes at a time; an extended header may claim any size
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


def unpack_images(archive: str | os.PathLike, to: str | os.PathLike) -> None:
    """Unpack the images of an uncompressed tar file below a folder.

    What is there under their names is replaced. Raises ValueError if the archive is damaged, cut
    short, or hostile (paths outside of itself, links, devices, sparse files), or has too many
    files.
    """
    archive, to = Path(archive), Path(to)
    with open_file(archive) as file:
        for member, content in progress(_images(archive, file), f"unpacking {archive.name}"):
            with atomic_write(to / member.name) as temporary, open(temporary, "wb") as target:
                for block in _blocks(archive, content):
                    target.write(block)


class _Bounded:
    """A file, of which only so much is read at a time."""

    def __init__(self, file: io.BufferedReader):
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)


def _images(archive: Path, file: io.BufferedReader) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """Yield the images of an open archive, in order, each with its content to read."""
    count = 0
    with _naming_damage(archive):
        tar = tarfile.TarFile(fileobj=_Bounded(file))  # type: ignore[arg-type]  # all that it asks
    while True:
        with _naming_damage(archive):
            member = tar.next()
            tar.members = []  # type: ignore[attr-defined]  # they would stay in memory
        if member is None:
            break
        count += 1
        if count > MAX_FILES:
            raise ValueError(f"{archive}: more than {MAX_FILES} files; is it the right archive?")
        if member.isdir():
            continue
        is_plain = member.type in _PLAIN and not member.issparse() and member.size >= 0
        if not is_plain or not leads_below(member.name):
            raise ValueError(
                f"{archive}: {member.name[:80]!r} leads outside or is no plain file; "
                "do not use this archive"
            )
        if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
            yield member, tar.extractfile(member)
    # a damaged header in the middle looks like the end
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ValueError(f"{archive}: damaged or cut short; fetch it again")


def _blocks(archive: Path, content: Any) -> Iterator[bytes]:
    with _naming_damage(archive):
        while block := content.read(1 << 20):
            yield block


def _naming_damage(archive: Path) -> Any:
    return naming_errors(archive, "no tar file, damaged, or cut short")
