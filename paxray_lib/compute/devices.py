"""Devices and precisions by name."""

import sys

import torch

from paxray_lib.utils.errors import check_choice

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Number types of inference, by name."""


def find_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the name is unknown, or this machine has no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        known = torch.device(device)
        torch.empty(1, device=known).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} is not available here; use 'cpu' or 'auto'"
        ) from error
    return known


def check_precision(precision: str) -> None:
    """Raise ValueError if a name is not one of `PRECISIONS`."""
    check_choice(precision, PRECISIONS, "precision")


def peak_bytes(device: torch.device) -> int:
    """Return the most memory in use so far: of a GPU's tensors, else of this process (0: unknown).

    A process's is all of its resident memory, libraries included.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
