"""Read PNG, JPEG and DICOM as one grayscale float image; resize and normalise it for a network.

The one place for intensity handling. Content decides the format, never the suffix.

- 8 bit is divided by 255, 16 bit by 65535; nothing is clipped or stretched. Converters from DICOM
  often write values of 8, 10, 12 or 14 bits into a 16-bit PNG as they are, which would be almost
  black: a 16-bit image is divided by the largest value of the smallest of these depths that holds
  its maximum (255, 1023, 4095, 16383).
- An image of one value shows nothing and is refused.
- Color becomes gray by Pillow's "L" weights (ITU-R 601-2); a transparency channel is ignored.
- The EXIF orientation is applied. DICOM: see `paxray_lib.images.dicom`.
- The spacing of pixels comes from DICOM, or from a PNG of `write_png` that still has its size;
  never from a resolution in dots per inch, which says nothing about the patient.
- View and case come from the file stem, `<case>frontal` or `<case>lateral` in any case of letters.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from paxray_lib.images import jpeg, png
from paxray_lib.images.image import MAX_BYTES, Image, check_size, possible_spacing, quiet, to_unit
from paxray_lib.images.views import view_of
from paxray_lib.utils import atomic_write, naming_errors, read_bytes

_RASTERS = (png.SIGNATURE, jpeg.SIGNATURE)
# by EXIF's number of the orientation
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: np.asarray,
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_SPACING_KEY = "paxray:pixel_mm"


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
        `MAX_BYTES`, only one value or some that are no numbers, or is no X-ray by its DICOM header;
        the file is named.
    """
    return decode_image(read_bytes(path, MAX_BYTES), Path(path))


def decode_image(data: bytes, path: Path) -> Image:
    """Return the image in the bytes of a file, as `read_image` does; `path` says what they are."""
    if data.startswith(_RASTERS):
        image = _read_raster(data, path)
    else:
        from paxray_lib.images.dicom import read_dicom  # only where needed: it takes 0.3 s

        image = read_dicom(data, path)
    low, high = image.pixels.min(), image.pixels.max()
    if not 0 <= low < high <= 1:  # written so that NaN fails too
        values = "every pixel has one value" if low == high else f"pixels of {low:g}..{high:g}"
        raise ValueError(f"{path}: {values}; fetch or export it again, or leave it out")
    return image


def read_view(path: str | os.PathLike) -> str | None:
    """Return the view of an image file as `read_image` finds it, without decoding its pixels."""
    path = Path(path)
    data = read_bytes(path, MAX_BYTES)
    if data.startswith(_RASTERS):
        return view_of(path)

    from paxray_lib.images import dicom

    return dicom.read_view(data, path)


def write_png(path: str | os.PathLike, pixels: np.ndarray, pixel_mm: float) -> None:
    """Write (H, W) uint8 pixels; `read_image` finds their distance `pixel_mm` again."""
    info = PngInfo()
    # with the size: tools that resize an image keep such texts
    info.add_text(_SPACING_KEY, f"{pixel_mm:.6f} at {pixels.shape[0]} x {pixels.shape[1]}")
    with atomic_write(path) as temporary:
        PillowImage.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)


def _read_raster(data: bytes, path: Path) -> Image:
    is_png = data.startswith(png.SIGNATURE)
    problem = f"damaged or cut short {'PNG' if is_png else 'JPEG'}"
    with naming_errors(path, problem):
        rows, columns, pixel_bytes = png.png_size(data) if is_png else jpeg.jpeg_size(data)
    check_size(path, rows, columns, pixel_bytes)
    with naming_errors(path, problem):
        array, info = png.decode_png(data) if is_png else jpeg.decode_jpeg(data)
        with quiet():
            orientation = info.getexif().get(ExifTags.Base.Orientation, 1)
        upright = _UPRIGHT.get(orientation, _UPRIGHT[1])(array)
        pixels = to_unit(upright) if array.dtype == np.uint8 else wide_to_unit(upright)
        spacing, doubt = _spacing_of(info, array.shape[:2])
    return Image(pixels, spacing, view_of(path), doubt)


def wide_to_unit(array: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from uint16, gray or RGB, whose values may have fewer bits.

    The divisor is 255, 1023, 4095 or 16383 if that holds the maximum, else 65535."""
    # bits of detectors and of the DICOM files that they write
    return to_unit(array, next((bits for bits in (8, 10, 12, 14) if array.max() < 2**bits), 16))


def _spacing_of(
    info: PillowImage.Image, shape: tuple[int, ...]
) -> tuple[tuple[float, float] | None, str]:
    text = str(info.info.get(_SPACING_KEY, ""))
    match = re.fullmatch(rf"(\d+\.\d+) at {shape[0]} x {shape[1]}", text)
    if not match:
        return None, ""
    spacing = float(match[1])
    return possible_spacing((spacing, spacing), shape)
