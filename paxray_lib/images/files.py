"""Which files of a folder are images."""

import codecs
import os
from pathlib import Path

from paxray_lib.images.image import FORMATS
from paxray_lib.utils import open_file, read_bytes

#: Of text files that name images.
LIST_SUFFIX = ".txt"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
#: Images of other formats as a rule: found, so that a report can say why they were not read.
OTHER_SUFFIXES = (
    *(".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".jpx", ".j2k", ".jxl", ".heic", ".avif"),
    *(".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".ima", ".img"),
)


def find_images(path: str | os.PathLike) -> list[Path]:
    """Return the image files at `path`: the file itself, or all in a folder tree, sorted.

    Of a list, a text file whose name ends in .txt, they are what it names, a path in each line, in
    its order; relative ones count from the current folder.

    In a folder a file counts by its suffix, in any case of letters: png, jpg, jpeg, dcm, dicom, and
    those of images that `read_image` refuses, `OTHER_SUFFIXES`, so that none is passed over in
    silence. Any other file counts if its content is DICOM, or cannot be looked at: pipes, devices,
    links to nowhere, folders that do not open. Hidden names and DICOMDIR are left out.

    Raises
    ------
    FileNotFoundError
        If `path` is missing, or is a folder without images.
    ValueError
        If a list names no image, or is no text.
    """
    path = Path(path)
    if path.suffix.lower() == LIST_SUFFIX and path.is_file():
        return _read_list(path)
    if not path.is_dir():
        if os.path.lexists(path):
            return [path]
        raise FileNotFoundError(f"{path}: no such file or folder; check the path")
    images: list[Path] = []
    visited = set()  # a link to a folder in it would be walked forever
    closed: list[OSError] = []  # what cannot be walked; to read it tells why
    for root, folders, files in os.walk(path, onerror=closed.append, followlinks=True):
        visited.add(os.path.realpath(root))
        shown = [name for name in folders if name[0] != "."]
        folders[:] = [f for f in shown if os.path.realpath(os.path.join(root, f)) not in visited]
        images += filter(_is_image, (Path(root, name) for name in files if name[0] != "."))
    images += [Path(error.filename) for error in closed]
    if not images:
        raise FileNotFoundError(
            f"{path}: no {FORMATS} image in or below this folder; check the path"
        )
    return sorted(images)


def _read_list(path: Path) -> list[Path]:
    """Return what a list names, each file once, by its first name there."""
    data = read_bytes(path)
    if b"\0" in data:
        raise ValueError(f"{path}: not a list; one has a path in each line, and is UTF-8")
    images: dict[str, Path] = {}
    # some editors write such a mark
    for line in os.fsdecode(data.removeprefix(codecs.BOM_UTF8)).split("\n"):
        if name := line.rstrip("\r"):
            images.setdefault(os.path.abspath(name), Path(name))
    if not images:
        raise ValueError(f"{path}: no image; a list has one path in each line")
    return list(images.values())


def _is_image(path: Path) -> bool:
    if path.name.lower().endswith(IMAGE_SUFFIXES + OTHER_SUFFIXES):
        return True
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except (ValueError, OSError):
        return True
