"""Model files to give away: safetensors with half the bytes, and a header that says what it is.

The header has one entry of metadata, `paxray_model`, a JSON text with

    format, version    "paxray-model", 1
    config             what rebuilds the network: architecture, encoder, head_stride
    labels             one name per channel of the logits
    preprocessing      how an image becomes the network's input
    threshold          of the probability, by which the scores were measured
    licence            of the weights
    sources            what they were made from: a list of objects
    recipe             how: a list of trainings, each with its settings
    scores             how good they are, and on what
    digest             of all of these and of the weights

Weights are float16, but float32 what is one number per channel (biases, BatchNorm's statistics),
which is little, and may be too large or too small for it. Nothing is unpickled; a size is believed
once the network that `config` describes has it, too.

A folder of `paxray export hub` has the same in two files: the header is its config.json, and
model.safetensors has the weights alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from paxray_lib.models.digest import digest
from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import atomic_write, parse_json, read_bytes

if TYPE_CHECKING:  # to read one, torch is not needed
    from paxray_lib.models.segmenter import AnatomySegmenter

FORMAT, VERSION = "paxray-model", 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_KEY = "paxray_model"
_FIELDS = {
    "config": dict,
    "labels": list,
    "preprocessing": dict,
    "threshold": float,
    "licence": str,
    "sources": list,
    "recipe": list,
    "scores": dict,
    "digest": int,
}
_TYPES = {"F16": np.float16, "F32": np.float32}
_MAX_HEADER = 1 << 20  # bytes; 166 labels and 500 tensors take a tenth of it
_REMEDY = "copy it again, or use another"


def save_portable(
    path: str | os.PathLike,
    model: "AnatomySegmenter",
    *,
    licence: str,
    sources: Sequence[Mapping[str, Any]],
    recipe: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    threshold: float = 0.5,
) -> None:
    """Write a model with its header, see the module, whole or not at all.

    Raises
    ------
    ValueError
        If the header cannot be JSON or is too long, the model comes from `optimize_for_inference`,
        or a weight is beyond float16.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if model.optimized or path.suffix != ".safetensors":
        raise ValueError(
            f"{path}: to this, a model that was not optimized for inference is written, under a "
            "name that ends in .safetensors"
        )
    about = describe(
        model, threshold=threshold, licence=licence, sources=sources, recipe=recipe, scores=scores
    )
    weights = _halved(model.network.state_dict(), path)
    about["digest"] = sign(about, weights)
    data = safetensors.numpy.save(weights, {_KEY: json.dumps(about)})
    _check_header_size(data, path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def describe(model: "AnatomySegmenter", **about: Any) -> dict[str, Any]:
    """Return the header of a model, as it will be read, but for its digest.

    `about`: threshold, licence, sources, recipe, scores. Raises ValueError if that cannot be JSON.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config,
        "labels": list(model.labels.names),
        "preprocessing": model.preprocessing.to_dict(),
        **about,
    }
    return json.loads(json.dumps(header, allow_nan=False))


def _halved(state: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    """Return what is written of a network's state; BatchNorm's counters of batches are not."""
    weights = {}
    for key, value in sorted(state.items()):
        if value.is_floating_point():
            dtype = np.float16 if value.ndim > 1 else np.float32
            exact = value.detach().cpu().float().numpy()
            with np.errstate(over="ignore"):  # said below
                weights[key] = np.ascontiguousarray(exact, dtype)
            if not np.isfinite(weights[key]).all():
                raise ValueError(
                    f"{path}: not written: {key} has values that {dtype.__name__} cannot hold, up "
                    f"to {abs(exact).max():g}; train with weight decay, or from other weights"
                )
    return weights


def sign(about: Mapping[str, Any], weights: Mapping[str, Any]) -> int:
    """Return the digest of a header and its weights, tensors or arrays."""
    header = {key: value for key, value in about.items() if key != "digest"}
    return digest([header, {key: weights[key] for key in sorted(weights)}])


def read_portable(path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the header of a file of `save_portable`, or of a folder, and its weights as "model".

    They are arrays.

    None if the file is none of these: not there, of another format, or safetensors of others.

    Raises
    ------
    FileNotFoundError
        If it is a folder that lacks one of the two files.
    ValueError
        If it is damaged, or its header lacks something, or says what cannot be.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix != ".safetensors" or not path.exists():
        return None
    data = read_bytes(path)
    about = _read_header(data, path)
    if about is None:
        return None
    weights = _load(data, path)
    if about["digest"] != sign(about, weights):
        raise ValueError(f"{path}: its digest says that it was changed; {_REMEDY}")
    return {**about, "model": weights}


def _read_folder(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not os.path.lexists(folder / name):
            raise FileNotFoundError(
                f"{folder / name}: no such file; a folder that is a model (paxray export hub) has "
                f"{CONFIG} and {WEIGHTS}"
            )
    config, path = folder / CONFIG, folder / WEIGHTS
    about = _checked(parse_json(read_bytes(config, _MAX_HEADER), config), config, "the file")
    data = read_bytes(path)
    _check_header_size(data, path)
    weights = _load(data, path)
    if about["digest"] != sign(about, weights):
        raise ValueError(
            f"{folder}: {CONFIG} and {WEIGHTS} do not belong together, or one was changed; "
            "copy both again, or export the model again"
        )
    return {**about, "model": weights}


def _load(data: bytes, path: Path) -> dict[str, np.ndarray]:
    with naming_errors(path, "damaged or cut short", _REMEDY):
        tensors = dict(safetensors.deserialize(data))
    if wrong := [key for key, tensor in tensors.items() if tensor["dtype"] not in _TYPES]:
        kind = tensors[wrong[0]]["dtype"]
        raise ValueError(f"{path}: {wrong[0]!r:.80} is {kind}, not F16 or F32; {_REMEDY}")
    return {
        key: np.frombuffer(tensor["data"], _TYPES[tensor["dtype"]]).reshape(tensor["shape"])
        for key, tensor in tensors.items()
    }


def _read_header(data: bytes, path: Path) -> dict[str, Any] | None:
    """Return the checked header of a file of ours, None of another one."""
    _check_header_size(data, path)
    with naming_errors(path, "damaged", _REMEDY):
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")], "its header")
        metadata = header.get("__metadata__") if isinstance(header, dict) else None
        text = metadata.get(_KEY) if isinstance(metadata, dict) else None
        if text is None:
            return None
        about = parse_json(text, _KEY) if isinstance(text, str) else None
    return _checked(about, path, _KEY)


def _checked(about: Any, path: Path, name: str) -> dict[str, Any]:
    """Return a header, called `name` in errors, that has all fields."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path}: {name} is not the header of a {FORMAT}; {_REMEDY}")
    version = about.get("version")
    if version != VERSION:
        raise ValueError(
            f"{path}: {FORMAT} of version {version!r:.20}, not {VERSION}; update paxray_lib"
        )
    if missing := [key for key in _FIELDS if key not in about]:
        raise ValueError(f"{path}: its header lacks {', '.join(missing)}; {_REMEDY}")
    for key, kind in _FIELDS.items():
        if type(about[key]) is not kind:
            raise ValueError(
                f"{path}: {key} is {about[key]!r:.80}, not a {kind.__name__}; {_REMEDY}"
            )
    if not 0 < about["threshold"] < 1:
        raise ValueError(f"{path}: threshold {about['threshold']}, not between 0 and 1; {_REMEDY}")
    return about


def _check_header_size(data: bytes, path: Path) -> None:
    claimed = int.from_bytes(data[:8], "little")
    if len(data) < 8 or claimed > len(data) - 8:
        raise ValueError(
            f"{path}: its header claims {claimed} bytes, of a file of {len(data)}: damaged or cut "
            f"short; {_REMEDY}"
        )
    if claimed > _MAX_HEADER:
        raise ValueError(f"{path}: a header of {claimed} bytes, more than {_MAX_HEADER}; {_REMEDY}")
