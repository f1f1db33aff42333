"""Downloads, from Google Drive or any address, that go on where they stopped."""

import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from paxray_lib.utils.errors import first_line, is_disk_full, naming_errors
from paxray_lib.utils.files import open_file
from paxray_lib.utils.locks import lock

TIMEOUT_S = 60.0  # without a byte
_ZIP = b"PK\x03\x04"  # as PyTorch's checkpoints begin, too
_KINDS = (_ZIP, b"\x80\x02")  # the second is a checkpoint from before 2020


def drive_url(folder: str) -> str:
    """Return the address of a Google Drive folder."""
    return f"https://drive.google.com/drive/folders/{folder}"


def drive_file_url(file: str) -> str:
    """Return the address of a Google Drive file."""
    return f"https://drive.google.com/uc?id={file}"


def download(url: str, path: str | os.PathLike, retries: int = 3) -> Path:
    """Download a zip file or checkpoint, going on where an earlier try stopped.

    It comes into a hidden folder beside `path`, and appears there when it is whole; a file that is
    there is taken as it is. OSError if the server cannot be reached, refuses, ends early, or sends
    something else, such as a page that says why not; a part is kept for the next try.
    """
    path = Path(path)
    if path.exists():
        return path
    folder = path.with_name(f".{path.name[:40]}.download")
    with lock(folder):
        try:
            incoming = _fetch(url, folder, retries)
        except OSError as error:
            if is_disk_full(error):
                error.filename = str(path)
                raise
            raise OSError(
                f"{path}: not downloaded ({_short(error)}); try again to go on where it stopped, "
                f"or delete {folder} to begin anew"
            ) from error
        os.replace(incoming, path)
        (folder / ".lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the next one may be at work
        folder.rmdir()
    return path


def _fetch(url: str, folder: Path, retries: int) -> Path:
    """Return the file in `folder` when it is whole; OSError if it is not."""
    import gdown

    file = folder / "file"
    for part in folder.glob("file????????.part"):  # as gdown names them
        if not _head(part).startswith(_KINDS):
            part.unlink()
        elif _has_end(part):  # a kill came before it got its name
            os.replace(part, file)
    try:
        if not file.exists():
            gdown.download(
                url, str(file), resume=True, retries=retries, timeout=TIMEOUT_S, use_cookies=False
            )
    except OSError:
        raise
    except Exception as error:  # of gdown, and what a page that it does not know causes in it
        raise OSError(_short(error)) from error
    if not (head := _head(file)).startswith(_KINDS):
        page = _title(file)
        file.unlink()
        raise OSError(f"what came is neither a zip file nor a checkpoint{page}")
    if head.startswith(_ZIP) and not _has_end(file):
        os.replace(file, folder / "file00000000.part")
        raise OSError("the server ended early, without having said how long the file is")
    return file


def _head(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(4)


def _has_end(path: Path) -> bool:
    """Tell whether a zip file is whole; of an old checkpoint nobody can tell before loading it."""
    with contextlib.suppress(ValueError), naming_errors(path, ""), zipfile.ZipFile(path) as file:
        # else it is the end of another archive that is stored in it
        return min((entry.header_offset for entry in file.infolist()), default=0) == 0
    return False


def _title(path: Path) -> str:
    with open_file(path) as file:
        match = re.search(rb"<title>(.*?)</title>", file.read(1 << 16), re.DOTALL | re.IGNORECASE)
    return f", but a page: {_short(match[1].decode('utf-8', 'replace'))!r}" if match else ""


def _short(error: object) -> str:
    """Return the text of an error, which may have many lines, in one of at most 300 characters."""
    return " ".join((str(error) or repr(error)).split())[:300]


def download_from_drive(folder: str, choose: Callable[[list[str]], list[str]], path: Path) -> Path:
    """Download one file of a Google Drive folder, the one that `choose` takes from all names.

    A file that is there is taken as it is. OSError as for `download`, or if `choose` takes none or
    several.
    """
    import gdown

    if path.exists():
        return path
    with _advice(drive_url(folder)):
        files = gdown.download_folder(
            id=folder, skip_download=True, quiet=True, use_cookies=False, timeout=TIMEOUT_S
        )
        ids = {file.path: file.id for file in files if not isinstance(file, str)}
        matches = choose(list(ids))
        if len(matches) != 1:
            there = ", ".join(ids) or "no files"
            raise ValueError(f"cannot tell which file is {path.name} among {there}")
        return download(drive_file_url(ids[matches[0]]), path)


def download_drive_file(file: str, path: Path) -> Path:
    """Download a file of Google Drive by its id; as `download_from_drive`."""
    url = drive_file_url(file)
    with _advice(url):
        return download(url, path)


@contextlib.contextmanager
def _advice(url: str) -> Iterator[None]:
    """Say what to do where Google Drive refuses, or gives what cannot be used."""
    try:
        yield
    except Exception as error:  # of gdown, and what a page that it does not know causes in it
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        reason = first_line(str(error) or repr(error))[:300]
        raise OSError(
            f"use --archive FILE with a copy, fetched by hand in a browser from {url}, or from "
            f"somebody who has one: Google Drive refused or cannot be reached ({reason})"
        ) from error
