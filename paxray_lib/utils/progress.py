"""Progress on a terminal, in a notebook or as sparse lines; mapping ahead with threads."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def progress(
    items: Iterable, description: str, total: int | None = None, every_s: float = 15.0
) -> Iterator:
    """Yield from `items`, showing a bar in a terminal and one line every `every_s` seconds
    elsewhere (on stderr).
    """
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
    sys.stderr.write(
        f"{description}: {done}{f'/{total}' if total else ''} in {seconds:.0f} s{left}\n"
    )
    sys.stderr.flush()


def say(text: str) -> None:
    """Show a line of progress at once: in a terminal, in a notebook, and in the log of a headless
    run.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def map_ahead(
    function: Callable[[_T], _R], items: Iterable[_T], threads: int = 2, ahead: int = 8
) -> Iterator[_R]:
    """Yield `function(item)` in order, computed in threads, at most `ahead` items before they are
    asked for.

    Memory stays bounded however many items there are; an exception is raised where its item would
    be yielded."""
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
