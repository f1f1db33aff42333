"""Faults that tests cannot cause from outside, such as a full disk."""

import contextlib
import itertools
from unittest import mock

from paxray_lib.masks.packed import PackedMasks


@contextlib.contextmanager
def writing_stops_after(count: int, error: BaseException):
    """Let the writing of masks raise an error once that many files are written."""
    write, calls = PackedMasks.write, itertools.count()

    def limited(masks, path, size=None):
        if next(calls) >= count:
            raise error
        write(masks, path, size)

    with mock.patch.object(PackedMasks, "write", limited):
        yield
