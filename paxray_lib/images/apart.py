"""Decode compressed pixels of DICOM in a process of its own, which damaged ones may end.

GDCM, the only decoder here of lossless JPEG with more than 8 bits, ends its process for one damaged
frame of fifty: by a C++ exception that nobody catches, or by memory that is not its own. So it has
processes of its own, as many as there are threads that read. An idle one is used again; one that
dies is an error of its file. They also tell what decoders only print, have bounds of memory and
time, and do not hear Ctrl-C: they end with their input.

This file is also their program, and then imports nothing of this package.
"""

import atexit
import contextlib
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_MOST_SECONDS = 120.0
_MOST_BYTES = 3 << 30  # of addresses; the program itself takes less than one of these
_idle: list[subprocess.Popen] = []
os.register_at_fork(after_in_child=lambda: _idle.clear())  # those are the parent's


def decode_apart(dataset: Any) -> tuple[np.ndarray, list[str]]:
    """Return `dataset.pixel_array` of a pydicom Dataset, and the lines that its decoder printed.

    Raises ValueError with the decoder's reason, or if it dies, takes too long or too much memory.
    """
    try:
        process = _idle.pop()
    except IndexError:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    timer = threading.Timer(_MOST_SECONDS, process.kill)
    timer.start()
    try:
        _send(process.stdin, pickle.dumps(dataset))
        answer, pixels = json.loads(_receive(process.stdout)), _receive(process.stdout)
    except (OSError, EOFError) as error:
        _end(process)
        raise ValueError(f"its decoder was ended by {_name_of(process.returncode)}") from error
    except BaseException:
        _end(process)
        raise
    finally:
        timer.cancel()
    _idle.append(process)
    if "error" in answer:  # what GDCM printed says more than the exceptions that follow from it
        raise ValueError("; ".join(answer["printed"][:1]) or answer["error"])
    return np.frombuffer(pixels, answer["type"]).reshape(answer["shape"]), answer["printed"]


@atexit.register
def _end_idle() -> None:
    for process in _idle:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    process.kill()
    process.wait()


def _name_of(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def _send(pipe: Any, *parts: bytes | memoryview) -> None:
    for part in parts:
        pipe.write(_LENGTH.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: Any) -> bytearray:
    """Return what `_send` wrote, in memory that can be written to; EOFError if it ends before."""
    head = pipe.read(_LENGTH.size)
    data = bytearray(_LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 1)
    if pipe.readinto(data) != len(data):
        raise EOFError
    return data


def _pixels(request: bytearray) -> np.ndarray:
    try:
        return np.ascontiguousarray(pickle.loads(request).pixel_array)  # of `decode_apart` only
    except Exception as error:
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error


def _answer(request: bytearray) -> tuple[dict[str, Any], bytes | memoryview]:
    try:
        array = _pixels(request)
    except ValueError as error:
        return {"error": str(error)}, b""
    return {"type": array.dtype.str, "shape": array.shape}, array.data.cast("B")


def _work() -> None:
    """Answer requests on stdin until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    printed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open to the end
    for descriptor in (1, 2):
        os.dup2(printed.fileno(), descriptor)
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):  # of Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    with contextlib.suppress(EOFError):
        while True:
            request = _receive(sys.stdin.buffer)
            printed.seek(0)
            printed.truncate()
            about, pixels = _answer(request)
            printed.seek(0)
            lines = printed.read(10_000).decode("utf-8", "replace").splitlines()
            _send(answers, json.dumps({**about, "printed": lines}).encode(), pixels)


if __name__ == "__main__":
    _work()
