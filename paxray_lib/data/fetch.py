"""Get the published data set and weights: from Google Drive, or from a file fetched by hand.

Downloads go on where they stopped. An archive is unpacked into a hidden folder beside its target,
which is renamed when all is there: no path outside of it, no links, sizes bounded and checked. What
came from where is recorded with its SHA-256 in `fetched.json`."""

import glob
import hashlib
import json
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

from paxray_lib.utils import atomic_write, check_choice, now, progress, say, sha256, write_text
from paxray_lib.utils.drive import download_from_drive, drive_url

DATASET_FOLDER = "1rzlsZ0bfByRMBoywOPWZW08GNgIwCU9P"
WEIGHTS_FOLDER = "1JjWv_Ips_8CKbREk68JY-YMpu_lXu5Sa"
DATASET_ARCHIVE = "paxray_dataset.zip"
WHICH = {"full": ("full", "100"), "half": ("half", "50"), "quarter": ("quarter", "25")}
MAX_BYTES = 200 << 30  # unpacked; the data set with .npy targets takes 37 GB


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
        If the archive is damaged, hostile, or holds no paxray.json.
    """
    to = Path(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise FileExistsError(
            f"{to}: is there already; check it with 'paxray check', or choose another --to"
        )
    file = Path(archive or to.parent / DATASET_ARCHIVE)
    if archive is None:
        download_from_drive(DATASET_FOLDER, _archive_name, file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    unpack(file, to)
    _record(to / "fetched.json", file, archive or drive_url(DATASET_FOLDER))
    return to


def fetch_weights(
    which: str, to: str | os.PathLike, archive: str | os.PathLike | None = None
) -> Path:
    """Download (or take) published weights, and verify that they load.

    Parameters
    ----------
    which : "full", "half" or "quarter": the part of the training images that they were trained with
    to : folder that receives `paxray_<which>.pth`
    archive : a local copy of the file

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If `which` is unknown, or the file is not the published network's.
    """
    from paxray_lib.models.checkpoints import load_model

    check_choice(which, WHICH, "weights")
    target = Path(to) / f"paxray_{which}.pth"
    if archive is None:
        download_from_drive(WEIGHTS_FOLDER, partial(_weights_names, which=which), target)
        model = load_model(target)
    else:
        # before the copy: a file that does not load must not take the name of a good one
        model = load_model(archive)
        with atomic_write(target) as temporary:
            shutil.copyfile(archive, temporary)
    say(f"{target}: {model.name}, {len(model.labels)} labels")
    _record(target.with_suffix(".json"), target, archive or drive_url(WEIGHTS_FOLDER))
    return target


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
    about = {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
        "source": str(source),
        "fetched": now(),
    }
    write_text(path, json.dumps(about, indent=1))


def unpack(archive: str | os.PathLike, to: str | os.PathLike) -> Path:
    """Unpack a zip file with a PAXRay data set so that `to` holds its paxray.json.

    Everything goes to a hidden folder beside `to` first. The next call with the same archive goes
    on where an interrupted one stopped; what another archive left there is removed.

    Raises
    ------
    ValueError
        If the archive is damaged, cut short, encrypted, hostile (paths outside of itself, links,
        size), or holds no paxray.json.
    """
    archive, to = Path(archive), Path(to)
    try:
        with zipfile.ZipFile(archive) as file:
            members = _checked_members(archive, file)
            folder = _partial_folder(to, members)
            # a file that was cut short, or whose checksum is wrong, lacks its last block
            sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
            missing = [m for m in members if sizes.get(folder / m.filename) != m.file_size]
            needed, free = sum(m.file_size for m in missing), shutil.disk_usage(folder).free
            if needed > free:
                raise ValueError(
                    f"{archive}: needs {needed >> 20} MiB, "
                    f"but {folder.parent} has {free >> 20} MiB free"
                )
            for member in progress(missing, f"unpacking {archive.name}"):
                file.extract(member, folder)  # no more than the claimed size; checks the CRC
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise ValueError(
            f"{archive}: damaged or cut short ({error}); remove it and fetch it again"
        ) from error
    roots = [path.parent for path in folder.glob("**/paxray.json")]
    if not roots:
        raise ValueError(f"{archive}: holds no paxray.json; is it {DATASET_ARCHIVE}?")
    if to.is_dir():
        to.rmdir()  # empty, or this fails
    os.replace(min(roots, key=lambda root: len(root.parts)), to)
    shutil.rmtree(folder, ignore_errors=True)
    return to


def _checked_members(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [member for member in file.infolist() if not member.filename.endswith("/")]
    total = sum(member.file_size for member in members)
    if len(members) > 100_000 or total > MAX_BYTES:
        raise ValueError(
            f"{archive}: claims {len(members)} files of {total >> 30} GiB, "
            "more than any PAXRay data set"
        )
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        is_file = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
        is_relative = path.parts and not path.is_absolute() and ":" not in path.parts[0]
        if not is_file or not is_relative or ".." in path.parts:
            raise ValueError(
                f"{archive}: {member.filename!r} leads outside or is no plain file; "
                "do not use this archive"
            )
        if member.flag_bits & 1:
            raise ValueError(
                f"{archive}: {member.filename!r} is encrypted; is it {DATASET_ARCHIVE}?"
            )
    return members


def _partial_folder(to: Path, members: list[zipfile.ZipInfo]) -> Path:
    """Return the hidden folder for these members; remove those that other archives left."""
    content = repr([(member.filename, member.file_size, member.CRC) for member in members])
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    folder = to.with_name(f".{to.name}.{digest}.unpacking")
    for other in to.parent.glob(f".{glob.escape(to.name)}.*.unpacking"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
