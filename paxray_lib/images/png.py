"""Decode PNG, of which every byte is under a checksum: a damaged file is an error.

Pillow and OpenCV leave some of them unchecked, and Pillow takes missing rows for black ones. So the
chunks of the file are checked here, and the samples inflated to exactly their size. OpenCV gets
what that leaves: the header, a palette, and samples that are no longer compressed.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from paxray_lib.images.image import inflated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# of each color type: samples a pixel, samples once decoded, and the depths that it can have
_KINDS = {
    0: (1, 1, (1, 2, 4, 8, 16)),
    2: (3, 3, (8, 16)),
    3: (1, 3, (1, 2, 4, 8)),
    4: (2, 4, (8, 16)),
    6: (4, 4, (8, 16)),
}
# of an interlaced image: first row and column, and the steps of both
_PASSES = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
_MOST_CHUNKS = 1 << 16
_Chunk = tuple[bytes, bytes | memoryview]  # name and content
# of an image around the texts, which Pillow looks at with it
_ONE_PIXEL = (b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"), (b"IDAT", zlib.compress(b"\0\0"))


class _Header(NamedTuple):
    columns: int
    rows: int
    depth: int
    kind: int
    compression: int
    filtering: int
    interlace: int

    def stored_size(self) -> int:
        """Return the bytes of all rows as they are compressed, one of each tells its filter."""
        bits = self.depth * _KINDS[self.kind][0]
        passes = _PASSES if self.interlace else ((0, 0, 1, 1),)
        counts = [
            (len(range(row, self.rows, down)), len(range(column, self.columns, right)))
            for row, column, down, right in passes
        ]
        return sum(rows * (1 + (columns * bits + 7) // 8) for rows, columns in counts if columns)


def png_size(data: bytes) -> tuple[int, int, int]:
    """Return rows, columns, and the bytes of a decoded pixel; ValueError if damaged there."""
    header = _header_of(next(_chunks(data)))
    return header.rows, header.columns, _KINDS[header.kind][1] * (header.depth + 7 >> 3)


def decode_png(data: bytes) -> tuple[np.ndarray, PillowImage.Image]:
    """Return (H, W), or (H, W, 3) R, G, B, of uint8 or uint16, and Pillow's look at the texts.

    Raises ValueError or an error of Pillow's if the file is damaged, or has more than one frame.
    """
    first, *chunks = _chunks(data)
    size = _header_of(first).stored_size()
    for name, body in chunks:
        if name == b"acTL" and (frames := int.from_bytes(body[:4], "big")) > 1:
            raise ValueError(f"{frames} frames, but one X-ray image is needed")
    packed = (body for name, body in chunks if name == b"IDAT")
    palette = (chunk for chunk in chunks if chunk[0] == b"PLTE")
    plain = ((b"IDAT", piece) for piece in _stored(packed, size))
    content = np.frombuffer(_joined([first, *palette, *plain]), np.uint8)
    array = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("its samples cannot be decoded")
    texts = (chunk for chunk in chunks if chunk[0] in _TEXTS)
    header, pixel = _ONE_PIXEL
    info = PngImagePlugin.PngImageFile(io.BytesIO(_joined([header, *texts, pixel])))
    # B, G, R(, A) -> R, G, B
    return array if array.ndim == 2 else array[..., 2::-1], info


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to the last, IEND; ValueError if one is damaged, or that is missing."""
    view, place = memoryview(data), len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        length, name = int.from_bytes(view[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(data):
            raise ValueError(f"it ends in the middle of what begins at byte {place}")
        body = view[place + 8 : end]
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"checksum of {name!r} at byte {place}")
        yield name, body
        place = end + 4
        if name == b"IEND":
            return
    raise ValueError(f"more than {_MOST_CHUNKS} chunks")


def _header_of(chunk: _Chunk) -> _Header:
    name, body = chunk
    if name != b"IHDR" or len(body) != 13:
        raise ValueError("it does not begin with a header")
    header = _Header(*struct.unpack(">IIBBBBB", body))
    depths = _KINDS.get(header.kind, (0, 0, ()))[2]
    is_known = header[4:] in ((0, 0, 0), (0, 0, 1))
    if header.depth not in depths or not is_known or not header.rows * header.columns:
        raise ValueError(f"{header}: no PNG is like that")
    return header


def _stored(packed: Iterable[bytes | memoryview], size: int) -> Iterator[bytes]:
    """Yield the stream of samples again, not compressed; ValueError if they are not `size`."""
    plain, count = zlib.compressobj(0), 0
    for piece in inflated(packed, size, zlib.MAX_WBITS):
        count += len(piece)
        yield plain.compress(piece)
    if count < size:
        raise ValueError(f"{count} bytes of samples, but its header claims {size}")
    yield plain.flush()


def _joined(chunks: Iterable[_Chunk]) -> bytes:
    parts: list[bytes | memoryview] = [SIGNATURE]
    for name, body in (*chunks, (b"IEND", b"")):
        checksum = zlib.crc32(body, zlib.crc32(name))
        parts += [len(body).to_bytes(4, "big"), name, body, checksum.to_bytes(4, "big")]
    return b"".join(parts)
