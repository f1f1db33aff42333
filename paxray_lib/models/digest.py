"""A digest of what a checkpoint holds, taken when it is saved and compared when it is loaded."""

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch


def digest(value: Any, most_bytes: float = math.inf) -> int:
    """Return the CRC-32 of plain values, tensors, and dicts, lists and tuples of them.

    Of tensors it covers kind, shape and numbers, whatever their order in memory. CRC-32 because
    this is about damage, not malice: who can write a file can write its digest, too. It misses one
    damage in 4 billion, and none within 4 bytes. 340 MB take 0.08 s, 0.19 s by SHA-256, 0.36 s by
    BLAKE2. ValueError if there are more than `most_bytes`: what has a part again and again is small
    in a file.
    """
    checksum = read = 0
    for piece in _pieces(value):
        read += len(piece)
        if read > most_bytes:
            raise ValueError(f"it claims more than {most_bytes:.0f} bytes")
        checksum = zlib.crc32(piece, checksum)
    return checksum


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    elif isinstance(value, Mapping | list | tuple):
        yield f"{len(value)} in a {type(value).__name__}".encode()
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield repr(key).encode()
            yield from _pieces(item)
    else:
        yield repr(value).encode()
