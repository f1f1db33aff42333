"""Pack a data set: a packed file beside each `.npy` target, verified; then the `.npy` may go.

What is done is seen from the files, so that a run that was killed goes on where it was.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paxray_lib.data.datafile import Datafile
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.console import map_ahead


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
    entries = [entry for split in datafile.splits.values() for entry in split]
    paths = dict.fromkeys(datafile.root / entry.target for entry in entries if entry.target)
    return [path for path in paths if path.suffix.lower() == ".npy"]


def pack_dataset(datafile: Datafile, workers: int, remove_npy: bool = False) -> Iterator[Packed]:
    """Pack the `.npy` targets of all splits, several at a time, and yield a result for each.

    Results come in order. A target that cannot be packed is left as it is and yielded as "failed";
    the others go on.

    Parameters
    ----------
    datafile : Datafile
    workers : threads; two are half again as fast as one, then reading takes the time
    remove_npy : delete each `.npy` once its packed file has been read back and equals it

    Raises
    ------
    ValueError
        If `workers` is less than 1.
    """
    if workers < 1:
        raise ValueError(f"workers {workers}: must be at least 1")

    def one(path: Path) -> Packed:
        try:
            return pack_target(path, datafile.labels, remove_npy)
        except (ValueError, OSError) as error:
            return Packed(path, "failed", reason=str(error))

    return map_ahead(one, npy_targets(datafile), threads=workers, ahead=2 * workers)


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
        with open(packed, "rb") as file:
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
