"""Small things that every layer needs: atomic writes, near matches for errors, progress."""

import contextlib
import difflib
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    The folder is made if missing. A reader sees the old file or the new one, never a part of it.
    The temporary name keeps the suffix, since many writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the tail of an error message that lists near matches, or an empty string.

    >>> did_you_mean("hart", ["heart", "aorta"])
    "; did you mean 'heart'?"
    """
    near = difflib.get_close_matches(word, sorted(set(candidates)), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def progress(items: Iterable, description: str, total: int | None = None, every_s: float = 15.0) -> Iterator:
    """Yield from `items`, showing a bar in a terminal and one line every `every_s` seconds elsewhere (on stderr)."""
    total = len(items) if total is None and hasattr(items, "__len__") else total
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= every_s and done != total:
            _report(description, done, total, now - start)
            last = now


def _report(description: str, done: int, total: int | None, seconds: float) -> None:
    left = f", {seconds / done * (total - done):.0f} s left" if total else ""
    sys.stderr.write(f"{description}: {done}{f'/{total}' if total else ''} in {seconds:.0f} s{left}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Show a line of progress at once: in a terminal, in a notebook, and in the log of a headless run."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def map_ahead(function: Callable[[_T], _R], items: Iterable[_T], threads: int = 2, ahead: int = 8) -> Iterator[_R]:
    """Yield `function(item)` in order, computed in threads, at most `ahead` items before they are asked for.

    Memory stays bounded however many items there are; an exception is raised where its item would be yielded.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
