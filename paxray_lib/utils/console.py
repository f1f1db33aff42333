"""Progress on a terminal, in a notebook or as sparse lines; mapping ahead with threads."""

import contextlib
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, wait
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TextIO, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
# control characters but tabs and line ends, marks that reverse the direction of text, and what
# stands for the bytes of names that are not UTF-8
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def progress(
    items: Iterable[_T], description: str, total: int | None = None, every_s: float = 15.0
) -> Iterator[_T]:
    """Yield from `items`; on stderr a bar in a terminal, else a line every `every_s` seconds."""
    total = len(items) if total is None and isinstance(items, Sized) else total
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= every_s and done != total:
            last, seconds = now, now - start
            left = f", {duration(seconds / done * (total - done))} left" if total else ""
            number = f"{done}/{total}" if total else done
            log(f"{description}: {number} in {duration(seconds)}{left}")


class Pace:
    """When a file that grows with the work is to be written again.

    That is some seconds after the last time, and so seldom that writing takes at most a twentieth
    of all time, however long the file has become.
    """

    def __init__(self, wait_s: float = 0.0):
        self._due = time.monotonic() + wait_s

    def call(self, write: Callable[[], object], every_s: float = 5.0) -> None:
        """Call `write` if it is due."""
        start = time.monotonic()
        if start >= self._due:
            write()
            end = time.monotonic()
            self._due = end + max(every_s, 19 * (end - start))


def duration(seconds: float) -> str:
    """Say a time span in words.

    >>> duration(4.25), duration(93), duration(7325)
    ('4.2 s', '1 min 33 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def say(text: str) -> None:
    """Show a line at once: in a terminal, in a notebook, and in the log of a headless run."""
    _write(sys.stdout, text)


def log(text: str) -> None:
    """Write a line to stderr at once: how the work goes, and what failed."""
    with contextlib.suppress(OSError):  # there is no other place to say it
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    """Write a line; one that nobody reads, as after `head`, is dropped, and the work goes on."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = printable(text).encode(encoding, "backslashreplace").decode(encoding) + "\n"
    try:
        stream.write(line)
        stream.flush()
    except OSError as error:
        # what is left in the buffer would fail again at the end of the process
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            error.filename = error.filename or stream.name
            raise


def printable(text: str) -> str:
    r"""Return a text with escapes for what would steer a terminal or turn the direction of writing.

    >>> print(printable("a name with \x1b[2J and \u202egnp.x"))
    a name with \x1b[2J and \u202egnp.x
    """
    return _STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def map_ahead(
    function: Callable[[_T], _R],
    items: Iterable[_T],
    threads: int = 2,
    ahead: int = 8,
    patience_s: float | None = 0.5,
) -> Generator[_R, None, None]:
    """Yield `function(item)` in order, computed by threads at most `ahead` items in advance.

    So memory stays bounded. An exception is raised where its item would be yielded. If the work
    ends early, calls that have begun are waited for: `patience_s` at most, since a read may hang,
    or with None to their end, as is needed where they write.
    """
    calls: SimpleQueue[tuple[Future[_R], _T] | None] = SimpleQueue()
    # no ThreadPoolExecutor: the interpreter cannot end before all of its threads do
    for _ in range(threads):
        threading.Thread(target=_call_all, args=(function, calls), daemon=True).start()
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(Future())
            calls.put((waiting[-1], item))
            if len(waiting) > ahead:
                wait([waiting[0]])
                yield waiting.popleft().result()
        while waiting:
            wait([waiting[0]])
            yield waiting.popleft().result()
    finally:
        begun = [future for future in waiting if not future.cancel()]
        for _ in range(threads):
            calls.put(None)
        wait(begun, patience_s)


def _call_all(
    function: Callable[[_T], _R], calls: "SimpleQueue[tuple[Future[_R], _T] | None]"
) -> None:
    while call := calls.get():
        if call[0].set_running_or_notify_cancel():
            _settle(call[0], function, call[1])
        del call  # nothing is kept while there is nothing to do


def _settle(future: "Future[_R]", function: Callable[[_T], _R], item: _T) -> None:
    def hand_on(_: object, error: BaseException | None, __: object) -> bool:
        if error is not None:
            future.set_exception(error)
        return True

    with ExitStack() as stack:  # whatever is raised, to whoever waits for the result
        stack.push(hand_on)
        future.set_result(function(item))
