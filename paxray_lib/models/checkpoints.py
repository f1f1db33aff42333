"""Models saved and loaded. Label names and preprocessing travel with the weights.

A checkpoint carries a digest of each of its parts. The checksums that a zip has for its members
cover the file; the digests cover what was saved, also in a file that was taken apart, changed and
put together again, with new checksums.
"""

import copy
import os
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from paxray_lib.compute.devices import find_device
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet
from paxray_lib.models.build import make_network
from paxray_lib.models.config import PUBLISHED, check_config
from paxray_lib.models.digest import digest
from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import FORMAT as PORTABLE
from paxray_lib.models.portable import read_portable
from paxray_lib.models.published import LAST_LAYER
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.models.weights import fill, read_weights, state_of
from paxray_lib.utils.files import atomic_write

FORMAT, VERSION = "paxray-checkpoint", 1
_MODEL_PARTS = ("config", "labels", "preprocessing", "model")
_CONTAINERS = (dict, list, tuple, OrderedDict, Counter)
_PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.Tensor)


def save_model(path: str | os.PathLike, model: AnatomySegmenter, **extra: Any) -> None:
    """Write a checkpoint, whole or not at all: weights, config, label names, preprocessing.

    `extra`: plain values, tensors, and lists, tuples and dicts of them: optimizer state, epoch, ...

    Raises
    ------
    ValueError
        If `extra` holds anything else, or the model comes from `optimize_for_inference`.
    OSError
        If the file cannot be written.
    """
    if model.optimized:
        raise ValueError(
            f"{path}: a model optimized for inference cannot be saved; save the one that it was "
            "made from"
        )
    _check_plain(extra, "extra")
    parts = {
        "config": model.config,
        "labels": list(model.labels.names),
        "preprocessing": model.preprocessing.to_dict(),
        "model": model.network.state_dict(),
        "extra": extra,
    }
    digests = {name: digest(part) for name, part in parts.items()}
    content = {"format": FORMAT, "version": VERSION, "digests": digests, **parts}
    with atomic_write(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer says nothing else of a full disk
            raise OSError(f"{path}: cannot be written ({error}); is the disk full?") from error


def _check_plain(value: Any, name: str) -> None:
    if type(value) in _CONTAINERS:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(item, f"{name}[{key!r}]")
    elif type(value) not in _PLAIN:
        kind = type(value).__name__
        raise ValueError(f"checkpoint: {name} is a {kind}; convert it to plain values or a tensor")


def load_model(
    path: str | os.PathLike,
    device: str | torch.device = "cpu",
    labels: LabelSet | Iterable[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> AnatomySegmenter:
    """Load a network in eval mode: with exactly the weights of the file, or an error.

    The file is one of these:

    - A checkpoint of ours, or a file or folder of `portable`, which need nothing else.
    - A published checkpoint (`.pth` with "opt", "model", "optimizer", "epoch").
    - A plain state dict of the published network, or a file with one as "model", such as CXAS's:
      one with 159 outputs is CXAS, whatever it is called.

    Parameters
    ----------
    path : a file; "open" for the model that ships with the package; "cxas" for weights/cxas.pth,
        which `paxray fetch` brings
    device : "cpu", "cuda", "cuda:1", or "auto" for the GPU if there is one
    labels : names for a file that carries none; by default the published table for 166 labels,
        CXAS's for 159, else "label_0", "label_1", ...
    preprocessing : for a file that does not state it; by default "cxas" for 159 labels,
        "published" for 166 and for other files of the published code

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds other objects, does not fit the network, the labels or the
        preprocessing, or `device` is not there.
    """
    device, path = find_device(device), find_weights(path)
    if path.suffix.lower() == ".onnx":
        raise ValueError(
            f"{path}: an ONNX file, which only predict takes, by its path; here, name the weights "
            "that it was exported from"
        )
    names = labels if labels is None or isinstance(labels, LabelSet) else LabelSet(labels)
    content = _as_tensors(read_portable(path)) or read_weights(path)
    describe = _describe_ours if _is_ours(content) else _describe_published
    config, labels, preprocessing = describe(content, path, names, preprocessing)
    state = state_of(content, path)
    # on "meta" nothing is allocated or initialized before all sizes are compared
    for where in ("meta", "cpu"):
        try:
            with torch.device(where):
                network = make_network(config, len(labels))
        except ValueError as error:
            if where == "meta":
                continue  # some encoders compute while they are built
            raise ValueError(f"{path}: {error}") from error
        model = AnatomySegmenter(network, config, labels, preprocessing)
        fill(network, state, path, f"{model.name} with {len(labels)} labels")
        if not any(buffer.is_meta for buffer in network.buffers()):
            break  # some encoders have buffers outside of the state dict
    return model.to(device).eval()


def _as_tensors(portable: dict[str, Any] | None) -> dict[str, Any] | None:
    if portable is None:
        return None
    # copies: torch warns of arrays that cannot be written to
    weights = {key: torch.from_numpy(value.copy()) for key, value in portable["model"].items()}
    return {**portable, "model": weights}


def read_extra(path: str | os.PathLike) -> dict[str, Any]:
    """Return the `extra` of a checkpoint that `save_model` wrote, in memory of its own."""
    content = read_weights(path)
    if not _is_ours(content):
        raise ValueError(f"{path}: not a checkpoint of a training run here, cannot be resumed")
    _check_parts(content, path, ["extra"])
    return copy.deepcopy(content["extra"])  # not tied to a file that the training replaces


def _is_ours(content: object) -> bool:
    return isinstance(content, Mapping) and content.get("format") in (FORMAT, PORTABLE)


def _check_parts(content: Any, path: str | os.PathLike, names: Sequence[str]) -> None:
    """Raise ValueError if a checkpoint of ours lacks a part, or one differs from its digest."""
    version = content.get("version")
    if type(version) is int and version != VERSION:
        raise ValueError(f"{path}: checkpoint version {version}, not {VERSION}; update paxray_lib")
    try:
        if type(version) is not int:
            raise ValueError(f"version {version}")
        digests = content.get("digests", {})  # those of before had none
        most = 4 * os.stat(path).st_size  # parts may share numbers
        changed = [
            name for name in names if digests and digests[name] != digest(content[name], most)
        ]
        if changed:
            raise ValueError(f"its digest says that {', '.join(changed)} was changed")
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: str | os.PathLike, error: Exception) -> ValueError:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())[:200]
    return ValueError(f"{path}: damaged checkpoint ({reason}); copy it again, or use another")


def _describe_ours(
    file: Any, path: str | os.PathLike, labels: LabelSet | None, preprocessing: Preprocessing | None
) -> tuple[dict[str, Any], LabelSet, Preprocessing]:
    """Return config, labels and preprocessing of a checkpoint of ours; given ones must agree."""
    _check_parts(file, path, _MODEL_PARTS)
    try:
        config = check_config(file["config"])
        own_labels = LabelSet(file["labels"])
        own_preprocessing = Preprocessing.from_dict(file["preprocessing"])
    except Exception as error:
        raise _damaged(path, error) from error
    for name, given, own in (
        ("labels", labels, own_labels),
        ("preprocessing", preprocessing, own_preprocessing),
    ):
        if given is not None and given != own:
            raise ValueError(
                f"{path}: carries its own {name}, {own}, other than the given {given}; "
                f"leave {name} out"
            )
    return config, own_labels, own_preprocessing


def _describe_published(
    file: Any, path: str | os.PathLike, labels: LabelSet | None, preprocessing: Preprocessing | None
) -> tuple[dict[str, Any], LabelSet, Preprocessing]:
    """Return config, labels and preprocessing for weights of the published network."""
    state = state_of(file, path)
    if LAST_LAYER not in state or not state[LAST_LAYER].ndim:
        raise ValueError(
            f"{path}: neither a checkpoint of this library nor weights of the published network "
            f"(no convolution {LAST_LAYER}; first key: {next(iter(state))}); weights of other "
            "networks need a checkpoint written by save_model"
        )
    count = len(state[LAST_LAYER])
    tables = {len(table): table for table in (LABELS, CXAS_LABELS)}
    if labels is None:
        labels = tables.get(count) or LabelSet(f"label_{i}" for i in range(count))
    if len(labels) != count:
        raise ValueError(
            f"{path}: a network for {count} labels, but {len(labels)} names given; "
            "another file or list?"
        )
    if preprocessing is None and count not in tables and "opt" not in file:
        raise ValueError(
            f"{path}: {count} labels, and nothing says how its input was prepared; give load_model "
            "preprocessing=Preprocessing('published') for networks of the published PAXRay code, "
            "'cxas' for those of CXAS, then save_model"
        )
    usual = Preprocessing("cxas" if count == len(CXAS_LABELS) else "published")
    return {"architecture": PUBLISHED, "encoder": "resnet50"}, labels, preprocessing or usual
