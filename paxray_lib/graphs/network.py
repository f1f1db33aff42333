"""The network within the graph of an ONNX file: what lies between two of its tensors.

The graph takes pixels and resizes them itself. `paxray predict` prepares films by its own code, of
any number of bits, and passes them at a second size; so it takes the part of the graph from
`INPUTS` to `COARSE`, with the weights in it. Graphs of others have no such tensors.

A file is refused that wants other files (external data), or operators beside those of ONNX.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.graphs import wire
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.config import COUNTER, check_config
from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import parse_json

#: Tensors of each graph: (N, 3, h, w) preprocessed and padded, and (N, L, h / s, w / s) logits.
INPUTS, COARSE = "inputs", "coarse"
#: What names of weights begin with; what follows is the key in the network's state dict.
PREFIX = "model.network."
_ABOUT = {"labels": list, "preprocessing": dict, "config": dict, "state": list, "any_size": bool}
_REMEDY = "write it again: paxray export onnx, or use another"


@dataclass(frozen=True)
class Network:
    """A network as an ONNX model of its own, and what the metadata of its file say.

    Attributes
    ----------
    labels, preprocessing, config : those of the model
    data : bytes of the ONNX model
    state : weights by key, in the network's order; None of BatchNorm's counters
    any_size : whether it takes inputs of other sizes than its own, in steps of 32
    """

    labels: LabelSet
    preprocessing: Preprocessing
    config: dict[str, Any]
    data: bytes
    state: dict[str, np.ndarray | None]
    any_size: bool


def read_network(data: bytes, path: Path) -> Network:
    """Return the network within the bytes of an ONNX file; `path` is for errors.

    Raises ValueError if it is none that `export_onnx` writes, or is damaged.
    """
    model = memoryview(data)
    with naming_errors(path, "no ONNX file, damaged or cut short", _REMEDY):
        texts = dict(_metadata(model))
        graph = memoryview(b"".join(wire.messages(model, wire.GRAPH)))
    with naming_errors(path, "refused", _REMEDY):
        _check_self_contained(model)
    if missing := [key for key in _ABOUT if key not in texts]:
        raise ValueError(
            f"{path}: its metadata have no {', '.join(missing)}: not by this version of paxray "
            f"export onnx; {_REMEDY}"
        )
    with naming_errors(path, "damaged", _REMEDY):
        about = {key: _parsed(texts[key], key) for key in _ABOUT}
        weights = dict(_weights(graph))
        return Network(
            LabelSet(about["labels"]),
            Preprocessing.from_dict(about["preprocessing"]),
            check_config(about["config"]),
            wire.without(model, (wire.GRAPH, wire.METADATA)) + wire.field(wire.GRAPH, _cut(graph)),
            {key: _weight(key, weights) for key in about["state"]},
            about["any_size"],
        )


def complete(template: bytes, weights: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    """Return a graph without weights as a file with them, by key, and with more metadata."""
    tensors = (
        wire.field(wire.INITIALIZERS, wire.tensor(PREFIX + key, value))
        for key, value in weights.items()
    )
    return template + wire.field(wire.GRAPH, b"".join(tensors)) + wire.metadata(texts)


def described(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata that a file's weights bring, of the header of a portable file."""
    usual: dict[str, Any] = {"threshold": None, "sources": []}
    texts = {key: json.dumps(about.get(key, value)) for key, value in usual.items()}
    return {
        "labels": json.dumps(list(about["labels"])),
        **texts,
        "licence": about.get("licence", ""),
    }


def template_of(traced: bytes, keys: set[str]) -> bytes:
    """Return a traced graph without weights of those keys, with pixels in and two outputs."""
    model = memoryview(traced)
    (graph,) = wire.messages(model, wire.GRAPH)
    kept = [
        item
        for item in wire.messages(graph, wire.INITIALIZERS)
        if _name(item, wire.TENSOR_NAME).removeprefix(PREFIX) not in keys
    ]
    shown = [
        item
        for item in wire.messages(graph, wire.OUTPUTS)
        if _name(item, 1) not in (INPUTS, COARSE)
    ]
    rest = wire.without(graph, (wire.INITIALIZERS, wire.OUTPUTS, wire.VALUES))
    lists = ((wire.INITIALIZERS, kept), (wire.OUTPUTS, shown))
    rest += b"".join(wire.field(key, item) for key, items in lists for item in items)
    return wire.without(model, [wire.GRAPH]) + wire.field(wire.GRAPH, rest)


def _metadata(model: memoryview) -> Iterator[tuple[str, str]]:
    for entry in wire.messages(model, wire.METADATA):
        yield _name(entry, wire.KEY), _name(entry, wire.VALUE)


def _name(message: memoryview, key: int) -> str:
    found = wire.first_of(message, key)
    return "" if found is None else wire.text(found)


def _parsed(text: str, key: str) -> Any:
    value = parse_json(text, key)
    if type(value) is not _ABOUT[key]:
        raise ValueError(f"{key} is {text:.80}")
    return value


def _check_self_contained(model: memoryview) -> None:
    """Raise ValueError if a model wants functions or operators of its own, or other files."""
    for item in wire.messages(model, wire.OPSETS):
        _check_domains(item, 1)
    if wire.first_of(model, wire.FUNCTIONS) is not None:
        raise ValueError("it has functions")


def _check_domains(message: memoryview, key: int) -> None:
    """Raise ValueError if one names operators that are not ONNX's, which need not be declared."""
    for domain in map(wire.text, wire.messages(message, key)):
        if domain not in ("", "ai.onnx"):
            raise ValueError(f"it wants operators that are not ONNX's: {domain:.80}")


def _weights(graph: memoryview) -> Iterator[tuple[str, memoryview]]:
    for item in wire.messages(graph, wire.INITIALIZERS):
        name = _name(item, wire.TENSOR_NAME)
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX), item


def _weight(key: str, weights: Mapping[str, memoryview]) -> np.ndarray | None:
    """Return a weight; None of BatchNorm's counters."""
    if key.endswith(COUNTER):
        return None
    if key not in weights:
        raise ValueError(f"it has no weights {key:.80}")
    kind, numbers = None, memoryview(b"")
    dims: list[Any] = []
    for number, value in wire.fields(weights[key]):
        if number == wire.DIMS:
            dims.append(value)
        elif number == wire.DATA_TYPE:
            kind = value
        elif number == wire.RAW_DATA:
            numbers = wire.as_bytes(value)
    if kind != wire.FLOAT:
        raise ValueError(f"{key} is not float32")
    return np.frombuffer(numbers, "<f4").reshape(dims)


def _cut(graph: memoryview) -> bytes:
    """Return the graph from `INPUTS` to `COARSE`."""
    _check_nodes(graph)
    nodes = list(wire.messages(graph, wire.NODES))
    needed, chosen = {COARSE}, []
    for node in reversed(nodes):  # each stands behind those that it reads
        written = {wire.text(name) for name in wire.messages(node, 2)}
        if INPUTS not in written and not needed.isdisjoint(written):
            chosen.append(node)
            needed.update(_reads(node))
    if INPUTS not in needed:
        raise ValueError(f"its graph does not lead from {INPUTS} to {COARSE}")
    tensors = [
        item
        for item in wire.messages(graph, wire.INITIALIZERS)
        if _name(item, wire.TENSOR_NAME) in needed
    ]
    ends = (
        wire.field(wire.INPUTS, wire.value_info(INPUTS, ("images", 3, "height", "width"))),
        wire.field(wire.OUTPUTS, wire.value_info(COARSE, ("images", "labels", "down", "across"))),
    )
    lists = ((wire.NODES, reversed(chosen)), (wire.INITIALIZERS, tensors))
    parts = [wire.field(key, item) for key, items in lists for item in items]
    return b"".join((*parts, wire.field(wire.GRAPH_NAME, b"network"), *ends))


def _reads(node: memoryview) -> Iterator[str]:
    """Yield the names of tensors that a node reads, also within its branches."""
    for key, value in wire.fields(node):
        if key == 1:
            yield wire.text(value)
        elif key == wire.ATTRIBUTES:
            for graph in _graphs(wire.as_bytes(value)):
                for inner in wire.messages(graph, wire.NODES):
                    yield from _reads(inner)


def _graphs(attribute: memoryview) -> Iterator[memoryview]:
    for key, value in wire.fields(attribute):
        if key in wire.ATTRIBUTE_GRAPHS:
            yield wire.as_bytes(value)


def _check_nodes(graph: memoryview) -> None:
    """Raise ValueError if a node of a graph is not ONNX's, or a tensor lies in another file."""
    tensors = list(wire.messages(graph, wire.INITIALIZERS))
    for node in wire.messages(graph, wire.NODES):
        _check_domains(node, wire.NODE_DOMAIN)
        for attribute in wire.messages(node, wire.ATTRIBUTES):
            for key, value in wire.fields(attribute):
                if key in wire.ATTRIBUTE_TENSORS:
                    tensors.append(wire.as_bytes(value))
                elif key in wire.ATTRIBUTE_GRAPHS:
                    _check_nodes(wire.as_bytes(value))
                elif key in wire.SPARSE:
                    raise ValueError("it has sparse tensors, which are refused")
    for item in tensors:
        for key, _ in wire.fields(item):
            if key in (wire.EXTERNAL_DATA, wire.DATA_LOCATION):
                raise ValueError("its weights lie in another file, which is refused")
