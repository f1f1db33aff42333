"""Names of images in a source: where they lead, and what is made of them."""

import os
from pathlib import Path, PurePath, PurePosixPath

from paxray_lib.images.files import IMAGE_SUFFIXES


def image_path(folder: str | os.PathLike, name: str) -> Path:
    """Return the path of an image that a source names below a folder.

    It may be a link, as other tools make them, since nothing is written there; but ValueError if
    the name itself leads outside."""
    if not name or "\0" in name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise ValueError(f"{name[:200]!r}: no path below {folder}; correct it in the source")
    return Path(folder) / name


def item_name(name: str) -> str:
    """Return the name of an image without the suffix, if that is one of images.

    >>> item_name("a/p01.PNG"), item_name("1.2.840.7")
    ('a/p01', '1.2.840.7')
    """
    path = PurePosixPath(name)
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    return str(path.with_suffix("") if is_image else path)
