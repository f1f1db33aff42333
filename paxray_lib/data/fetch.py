"""Get the published data sets and weights: from Google Drive, or from a file fetched by hand.

Downloads go on where they stopped, and so does unpacking. What came from where is recorded with its
SHA-256 in `fetched.json`."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from paxray_lib.data.unpack import check_target, unpack
from paxray_lib.data.unpack_tar import unpack_images
from paxray_lib.labels.table import CXAS_LABELS
from paxray_lib.utils import (
    atomic_write,
    check_choice,
    check_file,
    lock,
    now,
    say,
    sha256,
    write_text,
)
from paxray_lib.utils.drive import (
    download_drive_file,
    download_from_drive,
    drive_file_url,
    drive_url,
)

DATASET_FOLDER = "1rzlsZ0bfByRMBoywOPWZW08GNgIwCU9P"
WEIGHTS_FOLDER = "1JjWv_Ips_8CKbREk68JY-YMpu_lXu5Sa"
DATASET_ARCHIVE = "paxray_dataset.zip"
CXAS_FILE = "1Y9zubvMzkYHoAqz-NvV6vniH5FKAF2iV"
PAXRAYPP_FILE = "19DFGtzsReEehuccncofGZTkWRdeiaiZF"
PAXRAYPP_DATAFILES = ("paxray_train_val.json", "paxray_test.json")
# all images in one, which is not compressed, and as arrays all masks that the others have
_PAXRAYPP_IMAGES, _PAXRAYPP_ARRAYS = "paxray_images_unfiltered.tar.gz", "labels.zip"
LICENSE = (
    "licence: CC BY-NC-SA 4.0, as the author, Constantin Seibold, states: no commercial use; "
    "name him; what is derived from it keeps this licence"
)
WHICH = {"full": ("full", "100"), "half": ("half", "50"), "quarter": ("quarter", "25")}


def fetch_dataset(to: str | os.PathLike, archive: str | os.PathLike | None = None) -> Path:
    """Download (or take) the data set's archive, verify it, and unpack it.

    Parameters
    ----------
    to : folder that will hold paxray.json, and is returned; must not exist yet, or be empty
    archive : a local copy of paxray_dataset.zip; without it, it is downloaded beside `to`

    Raises
    ------
    OSError
        If the target is not empty, or the download fails.
    ValueError
        If the archive is damaged, hostile, or holds no paxray.json, or the target cannot be made.
    """
    to = check_target(to)  # before an hour of download
    file = to.parent / DATASET_ARCHIVE if archive is None else Path(archive)
    if archive is None:
        download_from_drive(DATASET_FOLDER, _archive_name, file)
    unpack(file, to)
    _record(to / "fetched.json", file, archive or drive_url(DATASET_FOLDER))
    return to


@contextlib.contextmanager
def paxraypp_files(
    to: str | os.PathLike, archive: str | os.PathLike | None = None
) -> Iterator[Path]:
    """Download (or take) the archive of PAX-Ray++, and unpack it for as long as the data set needs.

    Gives the folder, beside `to`, of its two COCO files and its images (somewhere below
    `images_patlas`). It is removed once the work inside is done; else the next call with the same
    archive finds it.

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If the archive is damaged, hostile, or another one, or another process works on it.
    """
    to = Path(os.path.realpath(to))
    file = to.parent / "paxraypp.zip" if archive is None else check_file(archive)
    if archive is None:
        download_drive_file(PAXRAYPP_FILE, file)
    folder = to.with_name(f".{to.name[:40]}.{sha256(file)[:12]}.source")
    if not folder.exists():
        unpack(file, folder, PAXRAYPP_DATAFILES[0], without=[_PAXRAYPP_ARRAYS])
    with lock(folder):
        try:
            if (images := folder / _PAXRAYPP_IMAGES).exists():
                unpack_images(images, folder)
                images.unlink()
            yield folder
            _record(to / "fetched.json", file, archive or drive_file_url(PAXRAYPP_FILE))
        except (ValueError, FileNotFoundError):  # it would be the same the next time
            shutil.rmtree(folder, ignore_errors=True)
            raise
    shutil.rmtree(folder, ignore_errors=True)


def fetch_weights(
    which: str, to: str | os.PathLike, archive: str | os.PathLike | None = None
) -> Path:
    """Download (or take) published weights, and verify that they load.

    Parameters
    ----------
    which : "full", "half" or "quarter": the part of the training images that they were trained
        with; or "cxas"
    to : folder that receives `paxray_<which>.pth` or `cxas.pth`
    archive : a local copy of the file

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If `which` is unknown, or the file is not the network that it names.
    """
    check_choice(which, [*WHICH, "cxas"], "weights")
    is_cxas = which == "cxas"
    target = Path(to) / ("cxas.pth" if is_cxas else f"paxray_{which}.pth")
    if archive is None:
        is_new = not target.exists()
        if is_cxas:
            download_drive_file(CXAS_FILE, target)
        else:
            download_from_drive(WEIGHTS_FOLDER, partial(_weights_names, which=which), target)
        try:
            about = _verify(target, which)
        except ValueError as error:
            if not is_new:
                raise ValueError(f"{error}; it was there before: move it elsewhere") from error
            target.unlink()
            raise
    else:
        # before the copy: a file that does not load must not take the name of a good one
        about = _verify(archive, which)
        with atomic_write(target) as temporary:
            shutil.copyfile(archive, temporary)
    say(f"{target}: {about}")
    if is_cxas:
        say(LICENSE)
    url = drive_file_url(CXAS_FILE) if is_cxas else drive_url(WEIGHTS_FOLDER)
    _record(target.with_suffix(".json"), target, archive or url)
    return target


def _verify(path: str | os.PathLike, which: str) -> str:
    """Load weights, and return what they are; ValueError if CXAS is there and not asked for, ..."""
    from paxray_lib.models.checkpoints import load_model

    model = load_model(path)
    about = f"{model.name}, {len(model.labels)} labels"
    if (model.labels == CXAS_LABELS) != (which == "cxas"):
        raise ValueError(
            f"{path}: is {about}, not the weights {which!r}; another file, or --which?"
        )
    return about


def _archive_name(names: list[str]) -> list[str]:
    return [name for name in names if PurePosixPath(name).name == DATASET_ARCHIVE]


def _weights_names(names: list[str], which: str) -> list[str]:
    """Return the files of weights for a part of the training images, by the words in them."""
    files = [name for name in names if name.lower().endswith((".pth", ".pt", ".ckpt"))]
    matches = [name for name in files if any(word in name.lower() for word in WHICH[which])]
    if not matches and which == "full":
        other = WHICH["half"] + WHICH["quarter"]
        matches = [name for name in files if not any(word in name.lower() for word in other)]
    return matches


def _record(path: Path, file: Path, source: str | os.PathLike) -> None:
    """Write what was fetched, from where and when."""
    about = {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
        "source": str(source),
        "fetched": now(),
    }
    write_text(path, json.dumps(about, indent=1))
