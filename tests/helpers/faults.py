"""Faults that tests cannot cause from outside, such as a full disk."""

import contextlib
import itertools
from collections.abc import Callable
from unittest import mock

from paxray_lib.masks.packed import PackedMasks


@contextlib.contextmanager
def writing_is_met_by(count: int, event: Callable[[], object]):
    """Call `event` in place of the writing of masks once that many files are written."""
    write, calls = PackedMasks.write, itertools.count()

    def limited(masks, path, size=None):
        if next(calls) >= count:
            event()
        write(masks, path, size)

    with mock.patch.object(PackedMasks, "write", limited):
        yield


def writing_stops_after(count: int, error: BaseException):
    """Let the writing of masks raise an error once that many files are written."""

    def stop():
        raise error

    return writing_is_met_by(count, stop)
