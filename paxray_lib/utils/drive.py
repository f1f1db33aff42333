"""Downloads, from Google Drive or any address, that go on where they stopped."""

import os
from collections.abc import Callable
from pathlib import Path

from paxray_lib.utils.errors import first_line


def drive_url(folder: str) -> str:
    """Return the address of a Google Drive folder."""
    return f"https://drive.google.com/drive/folders/{folder}"


def download(url: str, path: str | os.PathLike, retries: int = 3) -> Path:
    """Download a file, going on where an earlier try stopped; `path` appears when it is whole.

    OSError if the server cannot be reached, refuses, or ends early; what came is kept for the next.
    """
    import gdown

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        gdown.download(url, str(path), resume=True, retries=retries, timeout=60, use_cookies=False)
    except (gdown.DownloadError, gdown.FileURLRetrievalError, OSError) as error:
        raise OSError(
            f"{path}: not downloaded ({first_line(str(error) or repr(error))}); "
            "try again to go on where it stopped"
        ) from error
    return path


def download_from_drive(folder: str, choose: Callable[[list[str]], list[str]], path: Path) -> Path:
    """Download one file of a Google Drive folder, the one that `choose` takes from all names.

    OSError as for `download`, or if `choose` takes none or several.
    """
    import gdown

    try:
        files = gdown.download_folder(
            id=folder, skip_download=True, quiet=True, use_cookies=False, timeout=60
        )
        ids = {file.path: file.id for file in files if not isinstance(file, str)}
        matches = choose(list(ids))
        if len(matches) != 1:
            there = ", ".join(ids) or "no files"
            raise ValueError(f"cannot tell which file is {path.name} among {there}")
        return download(f"https://drive.google.com/uc?id={ids[matches[0]]}", path)
    except (gdown.DownloadError, gdown.FileURLRetrievalError, OSError, ValueError) as error:
        raise OSError(
            f"Google Drive refused or cannot be reached ({first_line(str(error) or repr(error))}); "
            f"fetch it by hand in a browser from {drive_url(folder)} "
            "and give it with --archive FILE"
        ) from error
