"""Downloads, from Google Drive or any address, that go on where they stopped."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from paxray_lib.utils.errors import first_line

BY_HAND = "fetch it by hand in a browser from {url} and give it with --archive FILE"


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


def download_from_drive(folder: str, choose: Callable[[list[str]], str], path: Path) -> Path:
    """Download one file of a Google Drive folder, the one that `choose` takes from all names.

    OSError as for `download`, or if `choose` raised ValueError.
    """
    import gdown

    try:
        files = gdown.download_folder(
            id=folder, skip_download=True, quiet=True, use_cookies=False, timeout=60
        )
        ids = {file.path: file.id for file in files if not isinstance(file, str)}
        return download(f"https://drive.google.com/uc?id={ids[choose(list(ids))]}", path)
    except (gdown.DownloadError, gdown.FileURLRetrievalError, OSError, ValueError) as error:
        raise OSError(
            f"Google Drive refused or cannot be reached ({first_line(str(error) or repr(error))}); "
            + BY_HAND.format(url=drive_url(folder))
        ) from error


def only_file(names: list[str], wanted: str) -> str:
    """Return the one of `names` that ends in the file name `wanted`, or raise ValueError."""
    matches = [name for name in names if PurePosixPath(name).name == wanted]
    if len(matches) != 1:
        found = ", ".join(names) or "nothing"
        raise ValueError(f"expected one {wanted} in the folder, found {found}")
    return matches[0]
