"""Unpack an archive with a data set: whole or not at all, and nothing outside of its folder.

Everything goes to a hidden folder beside the target first, which is renamed when all is there. A
marker in it says that it was made here: only such a folder is ever deleted.
"""

import contextlib
import glob
import hashlib
import os
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from paxray_lib.utils import atomic_write, lock, naming_errors, open_file, progress

MAX_FILES = 100_000
MAX_BYTES = 200 << 30  # unpacked; the data set with .npy targets takes 37 GB
_MAX_DEPTH = 32
_MARKER = ".made-by-paxray-fetch"
# the others of the standard expand without a bound on memory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # a bit of the flags
_LOCAL_HEADER = 30  # bytes before the data of an entry, without its name


def check_target(to: str | os.PathLike) -> Path:
    """Return the folder that `unpack` will make, its path without links.

    Raises FileExistsError if something is there that is no empty folder, or ValueError if that
    folder cannot be replaced.
    """
    to = Path(os.path.realpath(to))
    if to.is_dir() and not any(to.iterdir()):
        if to == Path.cwd() or os.path.ismount(to):
            raise ValueError(
                f"{to}: is the working folder or a mounted one, which cannot be replaced; "
                "name a new folder in it with --to"
            )
    elif to.is_dir():
        raise FileExistsError(
            f"{to}: is there already; check it with 'paxray check', or choose another --to"
        )
    elif to.exists():
        raise FileExistsError(f"{to}: is a file; name a new folder with --to")
    return to


def unpack(
    archive: str | os.PathLike,
    to: str | os.PathLike,
    datafile: str = "paxray.json",
    without: Collection[str] = (),
) -> Path:
    """Unpack a zip file with a data set so that `to` holds its data file.

    Files named in `without` are left out. The next call with the same archive goes on where an
    interrupted one stopped; what another archive left of an interrupted call is removed.

    Raises
    ------
    OSError
        If `to` is there already and no empty folder.
    ValueError
        If the archive is damaged, cut short, encrypted, hostile (paths outside of itself or that
        stand for one file, links, sizes), or holds no data file, or several.
    """
    archive, to = Path(archive), check_target(to)
    with contextlib.ExitStack() as stack:
        content = stack.enter_context(open_file(archive))
        with _naming_damage(archive):
            file = stack.enter_context(zipfile.ZipFile(content))
            # a name that zipfile cuts at a NUL may end as one of a folder
            entries = [one for one in file.infolist() if not one.orig_filename.endswith("/")]
        _check_entries(archive, entries)
        targets = _targets(archive, entries)
        root = _find_root(archive, targets, datafile)
        targets = {path: entry for path, entry in targets.items() if path.name not in without}
        folder = stack.enter_context(_hidden_folder(to, entries))
        _extract(archive, file, targets, folder / "content")
        if to.is_dir():
            to.rmdir()  # empty, or this fails
        os.replace(folder / "content" / root, to)
        shutil.rmtree(folder, ignore_errors=True)
    return to


def _naming_damage(archive: Path) -> contextlib.AbstractContextManager[None]:
    return naming_errors(archive, "damaged or cut short, to be removed")


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError for sizes that cannot be, entries that share bytes, or that cannot be read.

    Overlapping entries make a bomb: 10 MB that unpack to 281 TB (Fifield, "A better zip bomb").
    """
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES or total > MAX_BYTES:
        raise ValueError(
            f"{archive}: claims {len(entries)} files of {total >> 30} GiB, "
            "more than any PAXRay data set"
        )
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ValueError(
                f"{archive}: {entry.filename[:80]!r} overlaps another file of it; "
                "do not use this archive"
            )
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(
                f"{archive}: {entry.filename[:80]!r} is encrypted; is it the right archive?"
            )
        if entry.compress_type not in _METHODS:
            raise ValueError(
                f"{archive}: {entry.filename[:80]!r} is compressed by method {entry.compress_type} "
                "of zip; make a plain zip of it, stored or deflated"
            )
    if end > archive.stat().st_size:
        raise ValueError(f"{archive}: damaged or cut short (files beyond its end); remove it")


def _targets(
    archive: Path, entries: Iterable[zipfile.ZipInfo]
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Return the entries by their paths, all of them plain ones below the archive's folder.

    Raises ValueError if not, or if two stand for one file: also where systems tell no cases or no
    forms of Unicode apart, and where one would be a folder of the other.
    """
    targets: dict[PurePosixPath, zipfile.ZipInfo] = {}
    known: dict[PurePosixPath, str] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if not _is_plain(entry):
            raise ValueError(
                f"{archive}: {entry.orig_filename[:80]!r} leads outside or is no plain file; "
                "do not use this archive"
            )
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
        key = PurePosixPath(folded)
        if key in known:
            raise _clash(archive, known[key], entry.filename)
        known[key], targets[path] = entry.filename, entry
    folders = {folder for key in known for folder in key.parents}
    for key in folders & known.keys():
        raise _clash(archive, known[key], f"{known[key]}/...")
    return targets


def _clash(archive: Path, first: str, second: str) -> ValueError:
    return ValueError(
        f"{archive}: {first[:80]!r} and {second[:80]!r} are one file, or one is a folder too; "
        "make the archive again"
    )


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    is_file = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
    return is_file and leads_below(entry.orig_filename)


def leads_below(name: str) -> bool:
    """Tell whether a name in an archive leads to a file below the archive's folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return (
        0 < len(parts) <= _MAX_DEPTH
        and not parts[0].startswith("/")
        and ":" not in parts[0]
        and ".." not in parts
        and "\0" not in name
        and all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in name.split("/"))
    )


def _find_root(archive: Path, paths: Iterable[PurePosixPath], datafile: str) -> PurePosixPath:
    """Return the folder in the archive that holds the data file, the one least deep."""
    roots = sorted((path.parent for path in paths if path.name == datafile), key=_depth)
    if not roots:
        raise ValueError(f"{archive}: holds no {datafile}; is it the right archive?")
    if len(roots) > 1 and _depth(roots[0]) == _depth(roots[1]):
        raise ValueError(
            f"{archive}: holds two data sets, {str(roots[0])!r} and {str(roots[1])!r}; "
            "make an archive of one"
        )
    return roots[0]


def _depth(path: PurePosixPath) -> int:
    return len(path.parts)


@contextlib.contextmanager
def _hidden_folder(to: Path, entries: list[zipfile.ZipInfo]) -> Iterator[Path]:
    """Hold the hidden folder for these entries; remove those that other archives left.

    Raises ValueError if another process works in it, or if one of its name was not made here."""
    content = repr([(entry.filename, entry.file_size, entry.CRC) for entry in entries])
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    stem = f".{to.name[:40]}"  # a name may have 255 bytes
    folder = to.with_name(f"{stem}.{digest}.unpacking")
    if folder.exists() and not _is_ours(folder) and any(folder.iterdir()):
        raise ValueError(
            f"{folder}: needed here, but not made by 'paxray fetch', so it is left as it is; "
            "move it elsewhere"
        )
    for other in to.parent.glob(f"{glob.escape(stem)}.{'[0-9a-f]' * 12}.unpacking"):
        if other != folder and _is_ours(other):
            with lock(other):
                shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARKER).touch()
    with lock(folder):
        yield folder


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / _MARKER).is_file()


def _extract(
    archive: Path,
    file: zipfile.ZipFile,
    targets: dict[PurePosixPath, zipfile.ZipInfo],
    folder: Path,
) -> None:
    """Write each entry that is not there yet whole; CRCs and sizes are checked on the way."""
    folder.mkdir(exist_ok=True)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    for part in sizes.keys() - {folder / path for path in targets}:
        part.unlink()  # a kill came while it was written
    missing = {path: e for path, e in targets.items() if sizes.get(folder / path) != e.file_size}
    needed, free = sum(e.file_size for e in missing.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{archive}: needs {needed >> 20} MiB, but {folder.parent.parent} has {free >> 20} MiB "
            "free; free some space, or choose another --to"
        )
    for path in progress(missing, f"unpacking {archive.name}", len(missing)):
        with atomic_write(folder / path) as temporary, open(temporary, "wb") as target:
            for block in _blocks(archive, file, missing[path]):
                target.write(block)


def _blocks(archive: Path, file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the content of an entry; its CRC and its size are checked at the end."""
    left = entry.file_size  # zipfile never gives more
    with _naming_damage(archive), file.open(entry) as content:
        while block := content.read(1 << 20):
            left -= len(block)
            yield block
        if left:
            raise ValueError(f"{entry.filename[:80]!r} lacks {left} bytes of its size")
