"""Files of weights: read without running any code from them, compared key by key, errors that name
the file.
"""

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# what torch.load and its restricted unpickler raise for damaged data, found by damaging files
_BROKEN = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, LookupError)
_BROKEN += (TypeError, AttributeError)
_NAMED = re.compile(r"GLOBAL (\S+)")
# layers after the last convolution, which a file of encoder weights may carry and a segmentation
# network drops
_CLASSIFIERS = (
    "fc.",
    "classifier.",
    "head.",
    "last_linear.",
    "_fc.",
    "_conv_head.",
    "_bn1.",
    "last_layer.",
)


def read_weights(path: str | os.PathLike, mapped: bool = True) -> object:
    """Return the content of a PyTorch or safetensors file.

    Nothing but tensors, plain values and `argparse.Namespace` (which the published checkpoints
    hold) is unpickled. If `mapped`, tensors stay on the disk until used: what nobody touches, such
    as optimizer state, costs no memory.

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
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # it loads, or is refused below
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                mmap=mapped and zipfile.is_zipfile(path),
            )
    except _BROKEN as error:
        raise ValueError(
            f"{path}: cannot be read as weights; it is damaged or cut short, or it holds objects that could run code, "
            f"which is refused ({_reason(error)}); copy or fetch it again"
        ) from error


def _reason(error: Exception) -> str:
    text = str(error)
    if found := _NAMED.search(text):
        return f"it asks for {found[1]}"
    if "weights_only" in text:  # torch advises to load the file without this protection
        text = text.partition("WeightsUnpickler error:")[2]
    line = (text.strip().splitlines() or [""])[0][:160]
    return line if " " in line else f"{type(error).__name__} {line}".strip()


def state_of(content: object, path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights in `content`: itself, or its "model" or "state_dict"; without `module.`
    before the keys.

    Raises
    ------
    ValueError
        If that is no mapping of names to dense tensors of real numbers.
    """
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(map(_is_plain, content.values())):
        raise ValueError(
            f"{path}: holds no weights (a mapping of names to dense, real tensors, alone or as 'model')"
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_quantized or value.is_complex():
        return False
    return value.layout == torch.strided and not value.is_meta


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike, what: str
) -> None:
    """Give `module` copies of the weights in `state`; every key and shape must fit.

    Parameters
    ----------
    module : module, on the "meta" device too
    state : names to tensors
    path, what : the file and the network's name, for errors

    Raises
    ------
    ValueError
        If a key is missing or left over, or a shape differs.
    """
    expected = module.state_dict()
    # written before torch 0.4.1, and only a counter
    state = {
        k: torch.zeros((), dtype=torch.int64) for k in expected if k.endswith("num_batches_tracked")
    } | dict(state)
    problems = _differences(expected, state)
    if problems:
        raise ValueError(
            f"{path}: does not fit {what}: {'; '.join(problems)}; another architecture, encoder or file?"
        )
    # clones: parameters must not stay tied to a file that may be replaced
    copies = {
        key: state[key].detach().to(value.dtype, copy=True) for key, value in expected.items()
    }
    module.load_state_dict(copies, assign=True)


def _differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    found = {"missing": missing, "not known": extra, "shapes": shapes}
    return [f"{len(keys)} {name}: {_some(keys)}" for name, keys in found.items() if keys]


def _some(words: Iterable[str], count: int = 3) -> str:
    words = list(words)
    return ", ".join(words[:count]) + (", ..." if len(words) > count else "")


def fill_encoder(
    encoder: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike, what: str
) -> None:
    """Like `fill`, for an encoder and the weights of a whole classification network: its last
    layers are dropped.
    """
    own = encoder.state_dict()
    kept = {
        key: value for key, value in state.items() if key in own or not key.startswith(_CLASSIFIERS)
    }
    fill(encoder, kept, path, what)
