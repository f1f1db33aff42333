"""An image as `read_image` returns it, and what its decoders share."""

import contextlib
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FORMATS = "PNG, JPEG or DICOM"
# Pillow's own limit, against decompression bombs; an X-ray film has about 10 million
MAX_PIXELS = 89_478_485
#: Of a file, and of its samples once they are decoded: 134 million pixels of 16 bits.
MAX_BYTES = 1 << 28
# One that inflates to the utmost, 1032 times, is 17 MB.
_PIECE = 1 << 14
_ROWS = 64
# What the pixels of an X-ray film and its sides can be, in mm: a dental sensor has pixels of 0.02,
# a thumbnail of a chest of 7; a film of the whole spine is 1.3 m long.
PIXEL_MM, _MOST_SIDE_MM = (0.01, 10.0), 2000.0

_FILTERING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Image:
    """A grayscale image as it should be looked at: upright, high values bright.

    Attributes
    ----------
    pixels : (H, W) float32 array in 0..1
    spacing_mm : (row, column) distance of pixel centers in millimeters, or None
    view : "frontal", "lateral" or None if unknown
    doubt : what the file says of itself and cannot be, and so is not used; or an empty text
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None = None
    view: str | None = None
    doubt: str = ""


def check_size(path: Path, rows: int, columns: int, pixel_bytes: int) -> None:
    """Raise ValueError for more than `MAX_PIXELS` or `MAX_BYTES`: before memory is spent on it."""
    problem = ""
    if rows * columns > MAX_PIXELS:
        problem = f"pixels, more than the limit of {MAX_PIXELS}"
    elif rows * columns * pixel_bytes > MAX_BYTES:
        problem = f"pixels of {pixel_bytes} bytes, more than the limit of {MAX_BYTES >> 20} MiB"
    if problem:
        raise ValueError(f"{path}: {rows} x {columns} {problem}; make the image smaller")


def possible_spacing(
    spacing_mm: tuple[float, float], shape: tuple[int, ...]
) -> tuple[tuple[float, float] | None, str]:
    """Return a spacing and no doubt, or None and a doubt if no film (H, W) of it can be.

    >>> possible_spacing((0.14, 0.14), (3000, 2500))
    ((0.14, 0.14), '')
    >>> possible_spacing((1e300, 0.2), (3000, 2500))[1]
    'pixels of 1e+300 x 0.2 mm in 3000 x 2500: not an X-ray film; its lengths are unknown'
    """
    low, high = PIXEL_MM
    sides = [count * mm for count, mm in zip(shape, spacing_mm, strict=True)]
    if all(low <= mm <= high for mm in spacing_mm) and max(sides) <= _MOST_SIDE_MM:
        return spacing_mm, ""
    return None, (
        f"pixels of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm in {shape[0]} x {shape[1]}: "
        "not an X-ray film; its lengths are unknown"
    )


def inflated(parts: Iterable[bytes | memoryview], limit: int, wbits: int) -> Iterator[bytes]:
    """Yield what a stream of zlib holds, in pieces; ValueError if it is cut or exceeds `limit`."""
    stream, size = zlib.decompressobj(wbits), 0
    slices = (part[at : at + _PIECE] for part in parts for at in range(0, len(part), _PIECE))
    for packed in slices:
        piece = stream.decompress(packed)
        size += len(piece)
        if size > limit:
            raise ValueError(f"its compressed data hold more than the {limit} bytes they may")
        yield piece
        if stream.eof:
            return
    raise ValueError("its compressed data end early")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what pydicom and Pillow warn of: what matters becomes an error.

    One thread at a time, because `catch_warnings` changes the state of the process.
    """
    with _FILTERING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_unit(array: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from unsigned integers, gray (H, W) or R, G, B (H, W, 3).

    They have `bits`, or all of their type. Color becomes gray to the digit as by Pillow's "L"."""
    full = 2 ** (bits or 8 * array.itemsize) - 1
    gray = array if array.ndim == 2 else _to_gray(array)
    unit = gray.astype(np.float32, order="C")
    unit /= np.float32(full)
    return unit


def row_blocks(array: np.ndarray) -> list[slice]:
    """Return slices of rows, so that what is calculated between stays small."""
    return [slice(row, row + _ROWS) for row in range(0, len(array), _ROWS)]


def _to_gray(color: np.ndarray) -> np.ndarray:
    gray = np.empty(color.shape[:2], color.dtype)
    for rows in row_blocks(color):
        red, green, blue = np.moveaxis(color[rows].astype(np.uint32), -1, 0)
        # The weights sum to 65536: 16-bit values stay below 2**32.
        gray[rows] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return gray
