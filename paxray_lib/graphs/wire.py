"""What ONNX files are made of: messages of protocol buffers, read and written without a library.

A message is a row of fields, each a number and what it holds: a whole number, or a length and as
many bytes, which may be a message. What is appended to a message is merged into it: lists grow. So
a graph without weights gets them, and a model its metadata, by bytes behind it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

# numbers of fields, of onnx.proto
GRAPH, OPSETS, METADATA, FUNCTIONS = 7, 8, 14, 25  # of a model
NODES, GRAPH_NAME, INITIALIZERS, INPUTS, OUTPUTS, VALUES = 1, 2, 5, 11, 12, 13  # of a graph
ATTRIBUTES, NODE_DOMAIN = 5, 7  # of a node
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, SPARSE = (5, 10), (6, 11), (22, 23)  # of an attribute
KEY, VALUE = 1, 2  # of an entry of the metadata
DIMS, DATA_TYPE, TENSOR_NAME, RAW_DATA = 1, 2, 8, 9  # of a tensor
EXTERNAL_DATA, DATA_LOCATION = 13, 14
FLOAT = 1  # a data type

Value = int | memoryview


def number(value: int) -> bytes:
    """Return a whole number, not negative, seven bits to a byte, the lowest first.

    >>> number(300)
    b'\\xac\\x02'
    """
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def field(key: int, content: bytes | memoryview) -> bytes:
    """Return a field that is a text, bytes or a message."""
    return b"".join((number(key << 3 | 2), number(len(content)), content))


def count(key: int, value: int) -> bytes:
    """Return a field that is a whole number."""
    return number(key << 3) + number(value)


def metadata(texts: Mapping[str, str]) -> bytes:
    """Return what, behind the bytes of a model, is its metadata."""
    entries = (field(KEY, k.encode()) + field(VALUE, v.encode()) for k, v in texts.items())
    return b"".join(field(METADATA, entry) for entry in entries)


def tensor(name: str, values: np.ndarray) -> bytes:
    """Return a tensor of float32."""
    dims = b"".join(count(DIMS, side) for side in values.shape)
    data = np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8).data
    about = dims + count(DATA_TYPE, FLOAT) + field(TENSOR_NAME, name.encode())
    return about + field(RAW_DATA, data)


def value_info(name: str, dims: Sequence[int | str]) -> bytes:
    """Return an input or output of float32; a side that is a text is of any length."""
    sides = (count(1, d) if isinstance(d, int) else field(2, d.encode()) for d in dims)
    shape = b"".join(field(1, side) for side in sides)
    kind = count(1, FLOAT) + field(2, shape)
    return field(1, name.encode()) + field(2, field(1, kind))


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the content of each field: whole numbers, else bytes.

    Raises ValueError where it ends early, or is no message.
    """
    for key, value, _ in _walk(message):
        yield key, value


def _walk(message: memoryview) -> Iterator[tuple[int, Value, memoryview]]:
    """Yield the number, the content and all bytes of each field."""
    at, end = 0, len(message)
    while at < end:
        start = at
        key, at = _read_number(message, at)
        kind = key & 7
        if kind in (1, 5):
            length = 8 if kind == 1 else 4
        elif kind in (0, 2):
            length, at = _read_number(message, at)
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        value: Value = length
        if kind:
            if length > end - at:
                raise ValueError(f"a field claims {length} bytes, of {end - at}")
            value, at = message[at : at + length], at + length
        yield key >> 3, value, message[start:at]


def messages(message: memoryview, key: int) -> Iterator[memoryview]:
    """Yield the fields of that number, which must be bytes."""
    for number_, value in fields(message):
        if number_ == key:
            yield as_bytes(value)


def as_bytes(value: Value) -> memoryview:
    """Return what a field holds; ValueError if that is a number."""
    if isinstance(value, int):
        raise ValueError("a number where a text or a message is needed")
    return value


def text(value: Value) -> str:
    """Return the text that a field holds."""
    return str(as_bytes(value), "utf-8")


def first_of(message: memoryview, key: int) -> Value | None:
    """Return the content of the first field of that number, or None."""
    return next((value for number_, value in fields(message) if number_ == key), None)


def without(message: memoryview, keys: Iterable[int]) -> bytes:
    """Return a message without the fields of those numbers, in its order."""
    left_out = frozenset(keys)
    return b"".join(whole for key, _, whole in _walk(message) if key not in left_out)


def _read_number(message: memoryview, at: int) -> tuple[int, int]:
    """Return the whole number that begins at a byte, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number that does not end")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
