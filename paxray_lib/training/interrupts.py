"""Interrupts that wait until a step of a training is whole."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not known to Windows


@contextlib.contextmanager
def held_interrupts() -> Iterator[list[str]]:
    """While inside, keep the text of the first KeyboardInterrupt of a signal in a list, unraised.

    A second one is raised. Signals that no Python function handles are left alone, as all are in
    other threads than the main one.
    """
    reasons: list[str] = []

    def holding(handle: Callable[[int, FrameType | None], Any]) -> Callable:
        def hold(number: int, frame: FrameType | None) -> None:
            try:
                handle(number, frame)
            except KeyboardInterrupt as interrupt:
                if reasons:
                    raise
                reasons.append(str(interrupt) or "interrupted")

        return hold

    handlers = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        handlers = {n: before for n in numbers if callable(before := signal.getsignal(n))}
    holders = {number: holding(before) for number, before in handlers.items()}
    for number, hold in holders.items():
        signal.signal(number, hold)
    try:
        yield reasons
    finally:
        for number, hold in holders.items():
            if signal.getsignal(number) is hold:  # the command ignores what follows the first
                signal.signal(number, handlers[number])
