"""Pack a data set: a packed file beside each `.npy` target, verified; then the `.npy` may go.

What is done is seen from the files, so that a run that was killed goes on where it was.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from paxray_lib.data.datafile import Datafile
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import inside, is_disk_full, map_ahead, open_file

MAX_WORKERS = 64


@dataclass(frozen=True)
class Packed:
    """What became of one target.

    Attributes
    ----------
    path : the `.npy` target
    status : "packed", "skipped" if it was packed before, or "failed"
    removed : whether the `.npy` was there and is deleted now
    reason : what went wrong, naming the file, or empty
    """

    path: Path
    status: str
    removed: bool = False
    reason: str = ""


def npy_targets(datafile: Datafile) -> list[Path]:
    """Return the `.npy` targets of all splits, each once, in order."""
    return [datafile.root / name for name in _npy_names(datafile)]


def _npy_names(datafile: Datafile) -> list[str]:
    entries = [entry for split in datafile.splits.values() for entry in split]
    names = dict.fromkeys(entry.target for entry in entries if entry.target)
    return [name for name in names if PurePath(name).suffix.lower() == ".npy"]


def pack_dataset(datafile: Datafile, workers: int, remove_npy: bool = False) -> Iterator[Packed]:
    """Pack the `.npy` targets of all splits, several at a time, and yield a result for each.

    Results come in order. A target that cannot be packed, or lies outside of the data root, is left
    as it is and yielded as "failed"; the others go on.

    Parameters
    ----------
    datafile : Datafile
    workers : threads; two are half again as fast as one, then reading takes the time
    remove_npy : delete each `.npy` once its packed file has been read back and equals it

    Raises
    ------
    ValueError
        If `workers` is not 1 to `MAX_WORKERS`.
    OSError
        If the disk is full; what is done stays.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers {workers}: must be 1 to {MAX_WORKERS}")

    def one(name: str) -> Packed:
        try:
            path = inside(datafile.root, name)
            return pack_target(path, datafile.labels, remove_npy)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            return Packed(datafile.root / name, "failed", reason=str(error))

    names = _npy_names(datafile)
    return map_ahead(one, names, threads=workers, ahead=2 * workers, patience_s=None)


def pack_target(path: Path, labels: LabelSet, remove_npy: bool = False) -> Packed:
    """Write the packed file beside a `.npy` target, read it back and compare.

    A packed file that is there is kept if it can be read with these labels and is not older than
    the `.npy`, which may have been deleted since to save space; otherwise it is written again.

    Raises ValueError or OSError, naming the file, if the target is unreadable or the copy differs;
    then both stay."""
    packed = path.with_suffix(".pxm")
    was_packed = _is_packed(path, packed, labels)
    if was_packed and not (remove_npy and path.is_file()):
        return Packed(path, "skipped")
    masks = PackedMasks.read(path, labels)
    if not was_packed:
        masks.write(packed)
    if PackedMasks.read(packed, labels) != masks:
        hint = "so neither is deleted; delete the wrong one"
        if not was_packed:
            packed.unlink()
            hint = "after writing; is the disk sound?"
        raise ValueError(f"{packed}: differs from {path.name}, {hint}")
    if remove_npy:
        with open_file(packed) as file:
            os.fsync(file.fileno())  # on the disk, not just in memory, before its source goes
        path.unlink()
    return Packed(path, "skipped" if was_packed else "packed", remove_npy)


def _is_packed(path: Path, packed: Path, labels: LabelSet) -> bool:
    if not packed.is_file() or (path.is_file() and packed.stat().st_mtime < path.stat().st_mtime):
        return False
    try:
        PackedMasks.read(packed, labels)
    except ValueError:
        if path.is_file():
            return False
        raise
    return True
