"""Locks that keep two processes out of one folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def lock(run_dir: Path, name: str = ".lock") -> Iterator[None]:
    """Hold the run's folder, which is made if missing, for this process.

    Parameters
    ----------
    run_dir : Path
    name : of the file that is locked; it holds the number of the process

    Raises
    ------
    ValueError
        Another process works in the folder.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / name, "a+") as file:
        if not _take(file):
            file.seek(0)
            raise ValueError(
                f"{run_dir}: process {file.read().strip()} is working in this folder; wait for it or choose another"
            )
        # a worker that outlives this process must not hold the lock
        os.register_at_fork(after_in_child=file.close)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: IO) -> bool:
    # who reads the status may hold it for a moment, see `is_locked`
    for wait in (0, 0.02, 0.1, 0.3):
        time.sleep(wait)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def is_locked(run_dir: Path) -> bool:
    """Say whether some process, this one included, works in the folder."""
    try:
        with open(run_dir / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
