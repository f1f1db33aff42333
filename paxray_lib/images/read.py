"""Read PNG, JPEG and DICOM as one grayscale float image; resize and normalise it for a network.

The one place for intensity handling. Content decides the format, never the suffix.

- 8 bit is divided by 255, 16 bit by 65535; nothing is clipped or stretched. Converters from DICOM
  often write values of 8, 10, 12 or 14 bits into a 16-bit PNG as they are, which would be almost
  black: a 16-bit image is divided by the largest value of the smallest of these depths that holds
  its maximum (255, 1023, 4095, 16383).
- An image of one value shows nothing and is refused.
- Color becomes gray by Pillow's "L" weights (ITU-R 601-2); a transparency channel is ignored.
- The EXIF orientation is applied. DICOM: see `paxray_lib.dicom`.
- The spacing of pixels comes from DICOM, or from a PNG of `write_png` that still has its size;
  never from a resolution in dots per inch, which says nothing about the patient.
- View and case come from the file stem, `<case>frontal` or `<case>lateral` in any case of letters.
"""

import contextlib
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import JpegImagePlugin, PngImagePlugin

from paxray_lib.images.views import view_of
from paxray_lib.utils.files import atomic_write

# Pillow's own limit, against decompression bombs; an X-ray film has about 10 million
MAX_PIXELS = 89_478_485
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112
_SPACING_KEY = "paxray:pixel_mm"
_SPACING = re.compile(r"(\d+\.\d+) at (\d+) x (\d+)")
_FORMATS = "PNG, JPEG or DICOM"
_DEPTHS = (8, 10, 12, 14)  # bits of detectors and of the DICOM files that they write
# What Pillow raises for broken data, by reading its decoders.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Image:
    """A grayscale image as it should be looked at: upright, high values bright.

    Attributes
    ----------
    pixels : (H, W) float32 array in 0..1
    spacing_mm : (row, column) distance of pixel centers in millimeters, or None
    view : "frontal", "lateral" or None if unknown
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None = None
    view: str | None = None


def read_image(path: str | os.PathLike) -> Image:
    """Read a PNG, JPEG or DICOM file as one grayscale image.

    Parameters
    ----------
    path : path of the file; its suffix does not matter

    Returns
    -------
    Image
        `pixels` (H, W) float32 in 0..1, at the file's own size; `spacing_mm` from DICOM or
        `write_png`; `view` from DICOM, else from the stem.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, cut short, damaged, of another format, has more than `MAX_PIXELS` or
        one value alone, or is no X-ray by its DICOM header; the file is named.
    """
    path = Path(path)
    image = _decode(path, _read_bytes(path))
    if image.pixels.min() == image.pixels.max():
        raise ValueError(
            f"{path}: every pixel has one value; fetch or export it again, or leave it out"
        )
    return image


def _decode(path: Path, data: bytes) -> Image:
    if data.startswith((_PNG, _JPEG)):
        return Image(*_read_raster(path, data), view=view_of(path))

    from paxray_lib.images import dicom

    if not dicom.looks_like_dicom(data):
        raise ValueError(
            f"{path}: not a {_FORMATS} image by its content; convert it to one of these, or remove it"
        )
    pixels, spacing_mm, view = dicom.decode(data, path, MAX_PIXELS)
    return Image(_to_unit(pixels), spacing_mm, view or view_of(path))


def read_view(path: str | os.PathLike) -> str | None:
    """Return the view of an image file as `read_image` finds it, without decoding pixels; errors
    name the file.
    """
    path = Path(path)
    data = _read_bytes(path)
    if data.startswith((_PNG, _JPEG)):
        return view_of(path)

    from paxray_lib.images import dicom

    return dicom.view_in_header(data, path) or view_of(path)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path}: a folder, but one image file is needed")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; check the path") from None
    if not data:
        raise ValueError(f"{path}: the file is empty; fetch or export it again")
    return data


def write_png(path: str | os.PathLike, pixels: np.ndarray, pixel_mm: float) -> None:
    """Write (H, W) uint8 pixels with the distance of their centers in mm, which `read_image` finds
    again.
    """
    info = PngImagePlugin.PngInfo()
    # with the size: tools that resize an image keep such texts
    info.add_text(_SPACING_KEY, f"{pixel_mm:.6f} at {pixels.shape[0]} x {pixels.shape[1]}")
    with atomic_write(path) as temporary:
        PillowImage.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)


def _spacing_of(image: PillowImage.Image) -> tuple[float, float] | None:
    match = _SPACING.fullmatch(str(image.info.get(_SPACING_KEY, "")))
    if (
        not match
        or (int(match[2]), int(match[3])) != (image.height, image.width)
        or not float(match[1])
    ):
        return None
    return float(match[1]), float(match[1])


def _read_raster(path: Path, data: bytes) -> tuple[np.ndarray, tuple[float, float] | None]:
    kind = "PNG" if data.startswith(_PNG) else "JPEG"
    # The plugins, not Image.open: that one tries other formats and prints a warning for a large
    # header.
    plugin = PngImagePlugin.PngImageFile if kind == "PNG" else JpegImagePlugin.JpegImageFile
    with _naming(path, kind):
        image = plugin(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:  # before memory is spent on it
        size = f"{image.height} x {image.width} pixels"
        raise ValueError(
            f"{path}: {size}, more than the limit of {MAX_PIXELS}; make the image smaller"
        )
    with _naming(path, kind):
        image.load()
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        wide = kind == "PNG" and data[24] == 16
        pixels = wide_to_unit(_wide_array(data)) if wide else _to_unit(_byte_array(image))
    return _orient(pixels, orientation), _spacing_of(image)


@contextlib.contextmanager
def _naming(path: Path, kind: str) -> Iterator[None]:
    """Turn any decoding error into one that names the file."""
    try:
        yield
    except _BROKEN as error:
        raise ValueError(
            f"{path}: damaged or cut short {kind} ({error}); fetch or export it again"
        ) from error


def _byte_array(image: PillowImage.Image) -> np.ndarray:
    if image.mode in ("1", "L", "LA"):  # 2 and 4 bit arrive as L, stretched to 0..255
        return np.asarray(image.convert("L") if image.mode == "1" else image.getchannel("L"))
    image.info.pop("transparency", None)  # ignored, like an alpha channel; Pillow would warn
    return np.asarray(image.convert("RGB").convert("L"))


def _wide_array(data: bytes) -> np.ndarray:
    # OpenCV, because Pillow reads all 16-bit kinds but plain gray as 8 bit.
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("16-bit data cannot be decoded")
    return array if array.ndim == 2 else array[..., 2::-1]  # B, G, R(, A) -> R, G, B


def _to_gray(array: np.ndarray) -> np.ndarray:
    """Return (H, W) of the same unsigned type from (H, W) or R, G, B (H, W, 3), as Pillow's "L"
    does, to the digit.
    """
    if array.ndim == 2:
        return array
    red, green, blue = np.moveaxis(array.astype(np.uint32), -1, 0)
    # The weights sum to 65536: 16-bit values stay below 2**32.
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(array.dtype)


def _to_unit(array: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from unsigned integers of their full range, gray or RGB; float
    passes.
    """
    gray = _to_gray(array)
    if gray.dtype.kind == "f":
        return np.ascontiguousarray(gray, dtype=np.float32)
    return gray.astype(np.float32) / np.float32(np.iinfo(gray.dtype).max)


def wide_to_unit(array: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from uint16, gray or RGB, whose values may have fewer bits.

    The divisor is 255, 1023, 4095 or 16383 if that holds the maximum, else 65535.
    """
    gray = _to_gray(array)
    bits = next((depth for depth in _DEPTHS if array.max() < 2**depth), 16)
    return gray.astype(np.float32) / np.float32(2**bits - 1)


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply the EXIF orientation, 1 to 8; any other value means 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
