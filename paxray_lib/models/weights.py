"""Files of weights: read without running code from them, compared key by key.

Every error names the file.
"""

import argparse
import math
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import open_file, parse_json


def read_weights(path: str | os.PathLike) -> Any:
    """Return the content of a PyTorch or safetensors file.

    Only tensors, plain values and `argparse.Namespace`, which the published checkpoints contain,
    are unpickled. Tensors of a zip, which is what torch writes since version 1.6, stay on the disk
    until they are used, so that what nobody touches, such as optimizer state, takes no memory. Each
    of its members has a checksum, which is tested. Older files of torch and safetensors have none:
    of those, only sizes are.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no regular file, empty, damaged, or holds any other object.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file of weights; check the path, or train or fetch weights first"
        )
    with open_file(path) as file:
        start = file.read(4)
    if not start:
        raise ValueError(f"{path}: the file is empty; copy or fetch it again")
    sizes: list[int] | None = None
    if start == b"PK\3\4":
        with naming_errors(path, "damaged or cut short"):
            sizes = _check_members(path)
    try:
        if path.suffix == ".safetensors":
            return _load_safetensors(path)
        return _load(path, sizes)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as weights; it is damaged or cut short, or it holds objects "
            f"that could run code, which is refused ({_reason(error)}); copy or fetch it again"
        ) from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    weights = safetensors.torch.load_file(path)
    with open_file(path) as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    parse_json(header, "header")  # of two of one name the other reader takes the last
    return weights


def _load(path: Path, sizes: list[int] | None) -> Any:
    """Unpickle a file of torch, whose tensors must have those `sizes`, in order, if it is a zip."""
    storages: list[torch.UntypedStorage] = []

    def keep(storage: Any, _: str) -> Any:
        storages.append(storage)
        return storage

    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        # it loads, or is refused
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        if mapped := sizes is not None:
            content = torch.load(path, map_location=keep, weights_only=True, mmap=True)
        else:  # of a map no read takes memory for more than there is
            with open_file(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as view:
                content = torch.load(view, map_location=keep, weights_only=True)  # type: ignore[arg-type]
    # mapped, a tensor that claims more than its member has goes on in the next one
    in_order = sorted(storages, key=torch.UntypedStorage.data_ptr)
    if mapped and sizes != [size for storage in in_order if (size := storage.nbytes())]:
        raise ValueError("its tensors claim other sizes than it has")
    return content


def _check_members(path: Path) -> list[int]:
    """Raise an error unless the members of a zip are whole, and stored as torch stores them.

    Returns the bytes of each tensor that has some, in the file's order. torch itself reads members
    where they lie, compressed or not, and tests no checksum.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(f"packed again: {member.filename} is compressed or encrypted")
        # of two archives in one file zipfile reads the last, and torch what lies at the same places
        # of the first
        if all(member.header_offset for member in members):
            raise ValueError("something stands before its first member")
        # torch looks for names without regard to case
        if len({member.filename.casefold() for member in members}) < len(members):
            raise ValueError("two of its members have one name")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its members claim more bytes than it has")
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} is wrong")
    members.sort(key=lambda member: member.header_offset)
    tensors = [member for member in members if re.search(r"/data/\d+$", member.filename)]
    return [member.file_size for member in tensors if member.file_size]


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without torch's advice to read it unprotected."""
    if refused := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {refused[1][:80]}"
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
    named = {str(key).removeprefix("module."): value for key, value in state.items()}
    if len(named) < len(state):
        raise ValueError(f"{path}: weights with and without 'module.' of one name; export it again")
    return named


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike, name: str
) -> None:
    """Give `module`, on "meta" too, copies of the weights in `state`; every key and shape must fit.

    `path` and `name`, the network's, are for errors.

    Raises
    ------
    ValueError
        If a key is missing or left over, a shape differs, or a weight cannot be.
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
    for key, value in copies.items():
        _check_values(value, key, path)
    module.load_state_dict(copies, assign=True)


def _check_values(weights: Tensor, key: str, path: str | os.PathLike) -> None:
    """Raise ValueError if a weight is not finite, or a variance negative, which gives NaN."""
    if not weights.is_floating_point() or not weights.numel():
        return
    low, high = (float(end) for end in weights.aminmax())  # NaN if one is; no copy is made
    if not (math.isfinite(low) and math.isfinite(high)):
        problem = "values that are not finite (NaN or infinite)"
    elif key.endswith("running_var") and low < 0:
        problem = f"a negative variance ({low:g})"
    else:
        return
    raise ValueError(
        f"{path}: {key} has {problem}; the file is damaged or its training went wrong: use another"
    )
