"""Device and precision of a training: a Fabric that is checked before anything is loaded."""

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric

from paxray_lib.model import find_device

PRECISIONS = {"auto": None, "float32": "32-true", "bfloat16": "bf16-mixed"}

# Fabric would announce the precision on stderr, before errors too; training says it in its own first line
logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)


def make_fabric(device: str, precision: str) -> Fabric:
    """Return a launched Fabric of one process.

    Parameters
    ----------
    device : "auto" for the GPU if there is one, "cpu", "cuda", "cuda:1", "mps"
    precision : a key of `PRECISIONS`

    Raises
    ------
    ValueError
        If there is no such device.
    """
    found = find_device(device)
    devices = [found.index] if found.index is not None and found.type != "cpu" else 1  # the CPU is one device
    fabric = Fabric(accelerator=found.type, devices=devices, precision=choose_precision(precision, found))
    fabric.launch()
    return fabric


def choose_precision(name: str, device: torch.device) -> str:
    """Return Fabric's name of a precision; "auto" is bfloat16 where the hardware multiplies it."""
    if name != "auto":
        return PRECISIONS[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _cpu_has_bfloat16()
    return PRECISIONS["bfloat16" if fast else "float32"]


def _cpu_has_bfloat16() -> bool:
    # AVX512 without these instructions emulates bfloat16 and is slower than float32
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
