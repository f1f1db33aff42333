"""Images as bytes, byte by byte: valid ones, and what makes them hostile."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword

PNG = b"\x89PNG\r\n\x1a\n"
GRAY = np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8)
SMOOTH = (np.add.outer(np.arange(200), np.arange(240)) * 3 % 251).astype(np.uint8)


def encoded(array, format, **options):
    """Return an array as a file of a format of Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------- PNG


def chunk(name, body):
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(size=GRAY.shape, depth=8, kind=0, rows=None, extra=b"", interlace=0, idat=None):
    """Return a PNG with right checksums, of rows with their filter bytes, whatever they are."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, interlace)
    rows = b"".join(b"\0" + row.tobytes() for row in GRAY) if rows is None else rows
    body = zlib.compress(rows) if idat is None else idat
    return PNG + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bomb(megabytes, wbits):
    """Return a stream of zlib of so many million zeros, without making them."""
    stream = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = stream.compress(bytes(10**6)) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(bytes(10**6)) + stream.flush(zlib.Z_FULL_FLUSH)
    return start + block * (megabytes - 1) + stream.flush()


# ---------------------------------------------------------------- JPEG


def jpeg_sized(data, height, width):
    """Return a JPEG whose header claims another size."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def scans(data):
    """Return where the scans of a JPEG begin, with the tables before them, and where it ends."""
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    tables = [data.rfind(b"\xff\xc4", 0, at) for at in starts]
    return [*tables, len(data) - 2]


def zeroed(data, start=1 / 3, stop=2 / 3):
    """Return data with a part made zero."""
    first, last = int(len(data) * start), int(len(data) * stop)
    return data[:first] + bytes(last - first) + data[last:]


# ---------------------------------------------------------------- DICOM

_LONG = ("OB", "OW", "OF", "OD", "SQ", "UN", "UT", "OV")
_VALUES = {
    "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
    "Modality": "DX",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": GRAY.shape[0],
    "Columns": GRAY.shape[1],
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
    "PixelData": GRAY.tobytes(),
}


def element(name, value, vr=None, length=None):
    """Return one element, explicit and little endian, whatever its value and its length claims."""
    tag = tag_for_keyword(name) if isinstance(name, str) else name
    vr = vr or {"OB or OW": "OB", "US or SS": "US"}.get(kind := dictionary_VR(tag), kind)
    if not isinstance(value, bytes):
        value = struct.pack("<H", value) if vr == "US" else str(value).encode()
    value += b" " * (len(value) % 2)
    length = len(value) if length is None else length
    size = struct.pack("<HI", 0, length) if vr in _LONG else struct.pack("<H", length)
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + size + value


def dicom(syntax=uid.ExplicitVRLittleEndian, body=None, extra=b"", **values):
    """Return a DICOM X-ray of `GRAY` with values in addition or instead; `extra` before them."""
    values = {name: value for name, value in {**_VALUES, **values}.items() if value is not None}
    elements = b"".join(
        element(name, values[name])
        for name in sorted(values, key=lambda name: tag_for_keyword(name))
    )
    head = element("TransferSyntaxUID", syntax)
    return bytes(128) + b"DICM" + head + (extra + elements if body is None else body)


def items(count, inner=b""):
    """Return a sequence of undefined length of items."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return element(0x00081140, item * count + end, "SQ", 0xFFFFFFFF)


def nested(depth):
    """Return sequences in sequences, all of undefined length."""
    start = element(0x00081140, b"", "SQ", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    return start * depth
