"""Devices and precisions by name."""

import sys

import torch

#: Number types of inference, by name.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU.

    Raises ValueError if the name is unknown, or this machine has no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device).item()  # "meta" has no numbers
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} is not available here; use 'cpu' or 'auto'"
        ) from error


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
