"""Decode JPEG so that whatever its decoder finds wrong is an error, and look at JPEG's headers.

libjpeg goes on with gray where the data of a picture are damaged, and only warns. Pillow and OpenCV
keep that to themselves; simplejpeg says it. What it cannot notice is told in docs/applying.md.
"""

import io
import re
import struct
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image as PillowImage
from PIL import JpegImagePlugin

from paxray_lib.images.image import quiet

SIGNATURE = b"\xff\xd8\xff"
# frame headers, the last of JPEG-LS; neither DHT, JPG nor DAC, which lie between
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
#: The frame headers of cosine transforms: all but lossless ones and JPEG-LS.
BY_FREQUENCIES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
_SCAN, _END = 0xDA, 0xD9
# After FF the data of a scan have 00, a restart (D0..D7), or in JPEG-LS less than 80.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
# A progressive film has about 10; each one costs time for all of its pixels.
_MOST_SCANS = 100


def jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Return rows, columns, and the bytes of a decoded pixel; ValueError if damaged there."""
    rows, columns, color, _ = simplejpeg.decode_jpeg_header(data)
    return rows, columns, 1 if color == "Gray" else 4  # 3, and coefficients of progressive ones


def decode_jpeg(data: bytes) -> tuple[np.ndarray, PillowImage.Image]:
    """Return (H, W), or (H, W, 3) R, G, B, of uint8, and Pillow's look at the texts.

    Raises ValueError or an error of Pillow's if the file is damaged as far as its decoder notices.
    """
    check_scans(data)
    with quiet():  # of its EXIF
        info = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if info.mode == "CMYK":
        # as Pillow takes all of them: stored inverted, by Adobe's convention
        inverted = 255 - simplejpeg.decode_jpeg(data, "CMYK")
        size = inverted.shape[1::-1]
        return np.asarray(PillowImage.frombytes("CMYK", size, inverted).convert("RGB")), info
    is_gray = info.mode == "L"
    array = simplejpeg.decode_jpeg(data, "GRAY" if is_gray else "RGB")
    return array[..., 0] if is_gray else array, info


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment of JPEG or JPEG-LS data, up to the end of the image.

    The data of a scan, which follow its segment, are passed over.
    """
    place = 2
    while (found := _MARKER.search(data, place)) and found[1][0] != _END:
        start = found.end()
        length = int.from_bytes(data[start : start + 2], "big")
        yield found[1][0], data[start + 2 : start + length]
        place = start + max(length, 2)


def frame_header(data: bytes) -> tuple[int, int, int, int, int]:
    """Return marker, bits, rows, columns and components of a JPEG or JPEG-LS header."""
    for marker, body in segments(data):
        if marker in _FRAMES:
            return marker, *struct.unpack_from(">BHHB", body)
    raise ValueError("JPEG without a header of its image")


def check_scans(data: bytes) -> None:
    """Raise ValueError for too many scans, or if the image ends before its last."""
    missing, scans, is_progressive = {}, 0, False
    for marker, body in segments(data):
        if marker in _FRAMES:  # of each component 64 frequencies, none of their bits known yet
            missing = {name: np.full(64, 16) for name in body[6 : 6 + 3 * body[5] : 3]}
            is_progressive = marker in _PROGRESSIVE
        elif marker == _SCAN:
            scans += 1
            end = 1 + 2 * body[0]
            first, last, bits = body[end : end + 3] if is_progressive else (0, 63, 0)
            for name in body[1:end:2]:
                missing[name][first : last + 1] = bits & 15  # those that this scan leaves open
        if scans > _MOST_SCANS:
            raise ValueError(f"more than {_MOST_SCANS} scans")
    if any(bits.any() for bits in missing.values()) or not scans:
        raise ValueError("it ends before its last scan")
