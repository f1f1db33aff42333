"""Devices and precisions by name."""

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Number types for inference, by name."""


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
        found = torch.device(device)
        torch.empty(1, device=found).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {str(device)!r} is not available here; use 'cpu' or 'auto'"
        ) from error
    return found


def check_precision(precision: str) -> None:
    """Raise ValueError if a name is not one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r} (one of {', '.join(PRECISIONS)})")
