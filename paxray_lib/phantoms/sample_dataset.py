"""The sample data set: random thorax phantoms, projected to X-ray-like images with all masks.

A phantom is a function of (seed, case) alone; its size in pixels changes the resolution and not the
anatomy. The volumes pass through `projection`, as a real CT does.
"""

import functools
import json
import os
import reprlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
from PIL import Image

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.phantom import render
from paxray_lib.utils import (
    atomic_write,
    check_choice,
    check_file,
    inside,
    progress,
    read_json,
    write_text,
)

MIN_SIZE, MAX_SIZE = 32, 2048
MAX_CASES, MAX_SEED = 100_000, 2**63 - 1
_VERSION = 2  # raise it when the same seed gives other phantoms
_SUFFIX = {"packed": ".pxm", "npy": ".npy"}
# the part of the training cases in each; the last says that the set is complete
_DATAFILES = {"paxray_quarter.json": 4, "paxray_half.json": 2, "paxray.json": 1}
_FOLDERS = ("images", "labels")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_EXTRA = {
    "name": "PAXRay workbench sample: generated thorax phantoms",
    "license": "CC0-1.0, generated phantoms",
    "synthetic": True,
}


def generate_sample(
    out: str | os.PathLike,
    cases: int = 96,
    size: int = 256,
    seed: int = 0,
    format: str = "packed",
    varied: bool = False,
    workers: int | None = None,
) -> Path:
    """Write a sample data set in the PAXRay layout.

    A second call goes on where the first was stopped.

    Parameters
    ----------
    out : path
        Folder for `paxray.json`, `paxray_half.json`, `paxray_quarter.json`, `images/` and
        `labels/`.
    cases : int
        Phantoms, each with a frontal and a lateral image; split by case into about 70 % train, 10 %
        val, 20 % test.
    size : int
        Height and width of the images in pixels.
    seed : int
        The same seed gives the same files, whatever the number of workers.
    format : "packed" or "npy"
        Masks as packed files or as (166, size, size) bool stacks, as PAXRay ships them.
    varied : bool
        False: patients who stand and have breathed in, in clean images. True: as varied as on the
        wards, with patients in bed, high domes, haze, faint images, tight fields and wires: harder
        to learn from, and what carries over to real X-rays.
    workers : int, optional
        Processes; by default one per processor, at most four.

    Returns
    -------
    Path
        `out/paxray.json`, written last: where it exists, the set is complete.

    Raises
    ------
    ValueError
        If an argument is out of range, or the folder holds something else than a part of this
        sample, or leads out of it by a link.
    OSError
        If a file cannot be written.
    """
    out = Path(out)
    limits = {
        "cases": (cases, 1, MAX_CASES),
        "size": (size, MIN_SIZE, MAX_SIZE),
        "seed": (seed, 0, MAX_SEED),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise ValueError(f"{name} must be {least} to {most}, got {value}")
    check_choice(format, _SUFFIX, "format")
    settings: dict = {"size": size, "seed": seed, "format": format, "varied": varied}
    _claim(out, {"version": _VERSION, "cases": cases, **settings})
    todo = [
        case
        for case in range(cases)
        if not all(
            (out / name).is_file() for view in VIEWS for name in _outputs(case, view, format)
        )
    ]
    workers = workers or max(1, min(4, os.cpu_count() or 1, len(todo)))
    written = _write_all(functools.partial(_write_case, out, **settings), todo, workers)
    for _ in progress(written, f"phantoms {size} x {size}", len(todo)):
        pass
    return _write_datafiles(out, cases, seed, format)


def _claim(out: Path, settings: dict) -> None:
    path = out / "sample.json"
    if not path.exists():
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out}: is a file, but the sample needs a folder; choose another")
        if taken := [name for name in (*_DATAFILES, *_FOLDERS) if (out / name).exists()]:
            raise ValueError(
                f"{out / taken[0]}: is there already, but not a sample; choose another folder"
            )
        write_text(path, json.dumps(settings))
    for name in _FOLDERS:
        inside(out, name)
    existing = read_json(check_file(path))
    if existing != settings:
        differing = [key for key, value in settings.items() if existing.get(key) != value]
        theirs, ours = ({key: s.get(key) for key in differing} for s in (existing, settings))
        raise ValueError(
            f"{path}: a sample of other settings, {reprlib.repr(theirs)}, than asked for, {ours}; "
            "choose another folder or remove this one"
        )


def _outputs(case: int, view: str, format: str) -> tuple[str, str]:
    """Return the names of image and masks."""
    stem = f"case{case:04d}{view}"
    return f"images/{stem}.png", f"labels/{stem}{_SUFFIX[format]}"


def _write_all(write: Callable[[int], int], todo: list[int], workers: int) -> Iterator[int]:
    if workers == 1 or len(todo) < 2:
        yield from map(write, todo)
        return
    # spawn: a fork of a process with threads (a notebook, torch) can hang
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent) as pool:
        # each process would start a BLAS thread per processor, and they would wait for each other
        saved = {name: os.environ.pop(name) for name in _THREADS if name in os.environ}
        os.environ |= dict.fromkeys(_THREADS, "1")
        try:
            written = pool.map(write, todo)
        finally:
            for name in _THREADS:
                del os.environ[name]
            os.environ |= saved
        yield from written  # cancels the rest if one fails


def _follow_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when it has ended in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _write_case(out: Path, case: int, size: int, seed: int, format: str, varied: bool) -> int:
    for view, (image, masks) in render(seed, case, size, varied).items():
        image_name, mask_name = _outputs(case, view, format)
        with atomic_write(out / image_name) as temporary:
            Image.fromarray(image).save(temporary)
        masks.write(out / mask_name)
    return case


def split_cases(cases: int, seed: int) -> dict[str, list[int]]:
    """Return {"train", "val", "test": case numbers}: about 70, 10 and 20 %.

    From three cases on, each has at least one.

    >>> {name: len(numbers) for name, numbers in split_cases(96, seed=0).items()}
    {'train': 67, 'val': 10, 'test': 19}
    """
    order = np.random.default_rng([seed, cases]).permutation(cases).tolist()
    test, val = max(cases > 1, round(0.2 * cases)), max(cases > 2, round(0.1 * cases))
    return {"train": order[test + val :], "val": order[test : test + val], "test": order[:test]}


def _write_datafiles(out: Path, cases: int, seed: int, format: str) -> Path:
    split = split_cases(cases, seed)
    train = split["train"]
    for name, share in _DATAFILES.items():
        split["train"] = train[: -(-len(train) // share)]  # nested: a shorter head of one list
        entries = {
            part: [
                Entry(*_outputs(case, view, format), f"case{case:04d}", view)
                for case in sorted(numbers)
                for view in VIEWS
            ]
            for part, numbers in split.items()
        }
        write_datafile(out / name, LABELS, entries, _EXTRA)
    return out / "paxray.json"
