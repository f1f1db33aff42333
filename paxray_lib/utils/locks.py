"""Locks that keep two processes out of one folder; the system releases them with the process."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_S = 0.02


@contextlib.contextmanager
def lock(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Hold a folder, which is made if missing, for this process: lock the file `name` in it.

    A forked child that outlives this process, such as a worker, does not hold the lock. ValueError
    if another process works in the folder, or it is a file.
    """
    if not folder.is_dir() and os.path.lexists(folder):
        raise ValueError(f"{folder}: not a folder; choose another, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    # whoever reads a status may hold the lock for a moment, see `is_locked`
    try:
        held = FileLock(folder / name, timeout=0.5, poll_interval=_POLL_S).acquire()
    except Timeout:
        raise ValueError(
            f"{folder}: another process is working in this folder; wait for it or choose another"
        ) from None
    with held:
        yield


def is_locked(folder: Path, name: str = ".lock") -> bool:
    """Say whether some process, this one included, works in a folder, or whether that is hidden."""
    path = folder / name
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=5 * _POLL_S, poll_interval=_POLL_S):
            return False
    except (Timeout, PermissionError):  # the folder of someone else: as its status says
        return True
