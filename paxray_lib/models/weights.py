"""Files of weights: read without running code from them, compared key by key.

Every error names the file.
"""

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

# what torch.load and its restricted unpickler raise for damaged data, found by damaging files
_BROKEN = (
    *(pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, EOFError),
    *(ValueError, LookupError, TypeError, AttributeError),
)


def read_weights(path: str | os.PathLike, mapped: bool = True) -> Any:
    """Return the content of a PyTorch or safetensors file.

    Only tensors, plain values and `argparse.Namespace`, which the published checkpoints contain,
    are unpickled. `mapped` leaves tensors on the disk until they are used, so that what nobody
    touches, such as optimizer state, takes no memory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, damaged, or holds any other object.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file of weights; check the path, or train or fetch weights first"
        )
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty; copy or fetch it again")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        mapped = mapped and zipfile.is_zipfile(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # it loads, or is refused below
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _BROKEN as error:
        raise ValueError(
            f"{path}: cannot be read as weights; it is damaged or cut short, or it holds objects "
            f"that could run code, which is refused ({_reason(error)}); copy or fetch it again"
        ) from error


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without torch's advice to read it unprotected."""
    if refused := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {refused[1]}"
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    line = re.split(r"\n|\. ", text)[0][:160]  # advice comes in later sentences
    return line if " " in line else f"{type(error).__name__} {line}".strip()


def state_of(content: object, path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights in `content`, or in its "model" or "state_dict", without `module.`.

    Raises ValueError if that is no mapping of names to dense tensors of real numbers.
    """
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = content if isinstance(content, Mapping) else {}
    dense = [
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_complex() or value.is_meta)
        for value in state.values()
    ]
    if not dense or not all(dense):
        raise ValueError(
            f"{path}: holds no weights (a mapping of names to dense, real tensors, alone or as "
            "'model')"
        )
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike, name: str
) -> None:
    """Give `module`, on "meta" too, copies of the weights in `state`; every key and shape must fit.

    `path` and `name`, the network's, are for errors.

    Raises
    ------
    ValueError
        If a key is missing or left over, or a shape differs.
    """
    expected = module.state_dict()
    # files from before torch 0.4.1 lack it, and it is only a counter
    counters = [key for key in expected if key.endswith("num_batches_tracked")]
    state = {key: torch.zeros((), dtype=torch.int64) for key in counters} | dict(state)
    differences = {
        "missing": [key for key in expected if key not in state],
        "not known": [key for key in state if key not in expected],
        "shapes": [
            f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
    }
    problems = [
        f"{len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for kind, keys in differences.items()
        if keys
    ]
    if problems:
        raise ValueError(
            f"{path}: does not fit {name}: {'; '.join(problems)}; "
            "another architecture, encoder or file?"
        )
    # copies: parameters must not stay tied to a file that may be replaced
    copies = {
        key: state[key].detach().to(value.dtype, copy=True) for key, value in expected.items()
    }
    module.load_state_dict(copies, assign=True)
