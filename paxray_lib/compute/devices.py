"""Devices and precisions by name."""

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Number types of inference: the names that torch has for them.
PRECISIONS = ("float32", "bfloat16")


def find_device(device: "str | torch.device" = "auto") -> "torch.device":
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU.

    Raises ValueError if the name is unknown, or this machine has no such device.
    """
    import torch  # the core predicts without it

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device).item()  # "meta" has no numbers
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} is not available here; use 'cpu' or 'auto'"
        ) from error


def has_gpu() -> bool:
    """Tell whether there is a GPU of NVIDIA's that programs may use, as its driver says.

    To ask torch would take seconds.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        ready = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        return ready and count.value > 0
    except (OSError, AttributeError):  # no driver
        return False


def share_cores() -> tuple[int, int]:
    """Return on how many cores a network runs, and how many threads decide beside it.

    Of OMP_NUM_THREADS, else of the cores that this process is bound to, a quarter decides.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    bound = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    cores = int(asked) if asked.isdecimal() else len(bound(0)) if bound else os.cpu_count() or 1
    threads = max(2, cores // 4)
    return max(1, cores - threads), threads


def peak_bytes(device: "torch.device") -> int:
    """Return the most memory in use so far: of a GPU's tensors, else of this process (0: unknown).

    A process's is all of its resident memory, libraries included.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
