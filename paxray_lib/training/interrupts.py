"""Interrupts that wait until a step of a training is whole.

A terminal, torchrun and SLURM send a signal to all processes of a training, those that read its
samples included.
"""

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
    for number, before in handlers.items():
        signal.signal(number, holding(before))
    try:
        yield reasons
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


def outlive_first_signal(_worker: int) -> None:
    """Let a worker process pass over the first signal of each kind: the training ends it."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end_by_the_next)


def _end_by_the_next(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
