"""The sample data set: random thorax phantoms, projected to X-ray-like images with masks of all
labels.

A phantom is a function of (seed, case) alone; its size in pixels changes the resolution and not the
anatomy. The volumes pass through `projection.py`, as a real CT does."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.phantom import _EXTRA, render
from paxray_lib.utils.files import atomic_write
from paxray_lib.utils.progress import progress

MIN_SIZE, MAX_SIZE = 32, 2048
_SETTINGS = "sample.json"
_VERSION = 2  # raise it when the same seed gives other phantoms
_SUFFIX = {"packed": ".pxm", "npy": ".npy"}
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def generate_sample(
    out: str | os.PathLike,
    cases: int = 96,
    size: int = 256,
    seed: int = 0,
    format: str = "packed",
    varied: bool = False,
    workers: int | None = None,
    show_progress: bool = True,
) -> Path:
    """Write a sample data set in the PAXRay layout; a second call goes on where the first was
    stopped.

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
        False: patients who stand and have breathed in, in clean pictures. True: as varied as on the
        wards, with patients in bed, high domes, haze, faint pictures, tight fields and wires:
        harder to learn from, and what carries over to real X-rays.
    workers : int, optional
        Processes; by default one a processor, at most four.
    show_progress : bool

    Returns
    -------
    Path
        `out/paxray.json`, written last: where it exists, the set is complete.

    Raises
    ------
    ValueError
        If an argument is out of range, or the folder holds something else than a part of this very
        sample.
    """
    out = Path(out)
    _check_arguments(cases, size, seed, format)
    settings = {
        "version": _VERSION,
        "cases": cases,
        "size": size,
        "seed": seed,
        "format": format,
        "varied": varied,
    }
    _claim(out, settings)
    todo = [
        case
        for case in range(cases)
        if not all(path.is_file() for path in _case_files(out, case, format))
    ]
    workers = workers or max(1, min(4, os.cpu_count() or 1, len(todo)))
    write = functools.partial(_write_case, out, size=size, seed=seed, format=format, varied=varied)
    finished = _write_all(write, todo, workers)
    for _ in (
        progress(finished, f"phantoms {size} x {size}", len(todo)) if show_progress else finished
    ):
        pass
    return _write_datafiles(out, cases, seed, format)


def _check_arguments(cases: int, size: int, seed: int, format: str) -> None:
    if cases < 1:
        raise ValueError(f"cases must be at least 1, got {cases}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {size}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if format not in _SUFFIX:
        raise ValueError(f"format must be one of {', '.join(_SUFFIX)}, got {format!r}")


def _claim(out: Path, settings: dict) -> None:
    path = out / _SETTINGS
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path}: not readable ({error}); choose another folder or remove this one"
            ) from error
        if found != settings:
            raise ValueError(
                f"{out} holds a sample of other settings ({_words(found)}) than asked for ({_words(settings)}); "
                "choose another folder or remove this one"
            )
    elif any((out / name).exists() for name in ("paxray.json", "images", "labels")):
        raise ValueError(
            f"{out} already holds a data set that is not a sample; choose another folder"
        )
    else:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(settings), encoding="utf-8")


def _words(settings) -> str:
    return (
        ", ".join(f"{k} {v}" for k, v in settings.items())
        if isinstance(settings, dict)
        else str(settings)[:80]
    )


def _entry(case: int, view: str, format: str) -> Entry:
    stem = f"case{case:04d}{view}"
    return Entry(f"images/{stem}.png", f"labels/{stem}{_SUFFIX[format]}", f"case{case:04d}", view)


def _case_files(out: Path, case: int, format: str) -> Iterator[Path]:
    for view in VIEWS:
        entry = _entry(case, view, format)
        yield out / entry.image
        yield out / entry.target


def _write_all(write: Callable[[int], int], todo: list[int], workers: int) -> Iterator[int]:
    if workers == 1 or len(todo) < 2:
        yield from map(write, todo)
        return
    # spawn: a fork of a process with threads (a notebook, torch) can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        with _single_threaded_children():
            jobs = [pool.submit(write, case) for case in todo]
        try:
            yield from (job.result() for job in as_completed(jobs))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextlib.contextmanager
def _single_threaded_children() -> Iterator[None]:
    # each process would start a BLAS thread for every processor, and they would wait for each other
    saved = dict(os.environ)
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name in _THREADS:
            os.environ.pop(name)
            if name in saved:
                os.environ[name] = saved[name]


def _write_case(out: Path, case: int, size: int, seed: int, format: str, varied: bool) -> int:
    for view, (image, masks) in render(seed, case, size, varied).items():
        entry = _entry(case, view, format)
        with atomic_write(out / entry.image) as temporary:
            Image.fromarray(image).save(temporary)
        masks.write(out / entry.target)
    return case


def split_cases(cases: int, seed: int) -> dict[str, list[int]]:
    """Return {"train", "val", "test": case numbers}: about 70, 10 and 20 %, at least one each from
    three cases on.

    >>> {name: len(numbers) for name, numbers in split_cases(96, seed=0).items()}
    {'train': 67, 'val': 10, 'test': 19}
    """
    order = np.random.default_rng([seed, cases]).permutation(cases).tolist()
    test, val = max(cases > 1, round(0.2 * cases)), max(cases > 2, round(0.1 * cases))
    return {"train": order[test + val :], "val": order[test : test + val], "test": order[:test]}


def _write_datafiles(out: Path, cases: int, seed: int, format: str) -> Path:
    split = split_cases(cases, seed)
    for name, share in (("paxray_quarter.json", 4), ("paxray_half.json", 2), ("paxray.json", 1)):
        # nested: a shorter head of the same list
        kept = {**split, "train": split["train"][: -(-len(split["train"]) // share)]}
        entries = {
            part: [_entry(case, view, format) for case in sorted(kept[part]) for view in VIEWS]
            for part in kept
        }
        write_datafile(out / name, LABELS, entries, _EXTRA)
    return out / "paxray.json"
