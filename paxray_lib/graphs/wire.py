"""What ONNX files are made of: messages of protocol buffers, written without a library for them.

A message is a row of fields, each a number, a length and as many bytes, or a number and a whole
number. What is appended to a message is merged into it: lists grow. So a model gets its metadata,
by bytes behind it.
"""

from collections.abc import Mapping

# numbers of fields, of onnx.proto
_METADATA, _KEY, _VALUE = 14, 1, 2


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


def field(key: int, content: bytes) -> bytes:
    """Return a field that is a text, bytes or a message."""
    return number(key << 3 | 2) + number(len(content)) + content


def metadata(texts: Mapping[str, str]) -> bytes:
    """Return what, behind the bytes of a model, is its metadata."""
    entries = (field(_KEY, k.encode()) + field(_VALUE, v.encode()) for k, v in texts.items())
    return b"".join(field(_METADATA, entry) for entry in entries)
