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

import io
import os
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, ImageOps, JpegImagePlugin, PngImagePlugin
from PIL import Image as PillowImage

from paxray_lib.images.image import MAX_PIXELS, Image, to_unit
from paxray_lib.images.views import view_of
from paxray_lib.utils import atomic_write, naming_errors, read_bytes

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
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
        only one value, or is no X-ray by its DICOM header; the file is named.
    """
    return decode_image(read_bytes(path), Path(path))


def decode_image(data: bytes, path: Path) -> Image:
    """Return the image in the bytes of a file, as `read_image` does; `path` says what they are."""
    if data.startswith((_PNG, _JPEG)):
        image = _read_raster(data, path)
    else:
        from paxray_lib.images.dicom import read_dicom  # only where needed: it takes 0.3 s

        image = read_dicom(data, path)
    if image.pixels.min() == image.pixels.max():
        raise ValueError(
            f"{path}: every pixel has one value; fetch or export it again, or leave it out"
        )
    return image


def read_view(path: str | os.PathLike) -> str | None:
    """Return the view of an image file as `read_image` finds it, without decoding its pixels."""
    path = Path(path)
    data = read_bytes(path)
    if data.startswith((_PNG, _JPEG)):
        return view_of(path)

    from paxray_lib.images import dicom

    return dicom.read_view(data, path)


def write_png(path: str | os.PathLike, pixels: np.ndarray, pixel_mm: float) -> None:
    """Write (H, W) uint8 pixels; `read_image` finds their distance `pixel_mm` again."""
    info = PngImagePlugin.PngInfo()
    # with the size: tools that resize an image keep such texts
    info.add_text(_SPACING_KEY, f"{pixel_mm:.6f} at {pixels.shape[0]} x {pixels.shape[1]}")
    with atomic_write(path) as temporary:
        PillowImage.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)


def _read_raster(data: bytes, path: Path) -> Image:
    is_png = data.startswith(_PNG)
    # The plugins, not Image.open: it tries other formats and warns of large headers.
    plugin = PngImagePlugin.PngImageFile if is_png else JpegImagePlugin.JpegImageFile
    with naming_errors(path, f"damaged or cut short {plugin.format}"):
        image = plugin(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:  # before memory is spent on it
        raise ValueError(
            f"{path}: {image.height} x {image.width} pixels, more than the limit of {MAX_PIXELS}; "
            "make the image smaller"
        )
    with naming_errors(path, f"damaged or cut short {plugin.format}"):
        image.load()
        if is_png and data[24] == 16:  # the bit depth in the header
            # OpenCV, because Pillow reads all 16-bit kinds but plain gray as 8 bit
            array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if array is None:
                raise ValueError("16-bit data cannot be decoded")
            # B, G, R(, A) -> R, G, B
            pixels = wide_to_unit(array if array.ndim == 2 else array[..., 2::-1])
        else:
            image.info.pop("transparency", None)  # ignored, like an alpha channel
            # by RGB: of a palette Pillow rounds otherwise
            gray = image if image.mode == "L" else image.convert("RGB").convert("L")
            pixels = to_unit(np.asarray(gray))
        frame = PillowImage.fromarray(pixels)  # Pillow has no 16-bit color to turn
        orientation = ExifTags.Base.Orientation
        frame.getexif()[orientation] = image.getexif().get(orientation, 1)
        pixels = np.array(ImageOps.exif_transpose(frame))
        return Image(pixels, _spacing_of(image), view_of(path))


def wide_to_unit(array: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from uint16, gray or RGB, whose values may have fewer bits.

    The divisor is 255, 1023, 4095 or 16383 if that holds the maximum, else 65535."""
    # bits of detectors and of the DICOM files that they write
    return to_unit(array, next((bits for bits in (8, 10, 12, 14) if array.max() < 2**bits), 16))


def _spacing_of(image: PillowImage.Image) -> tuple[float, float] | None:
    text = str(image.info.get(_SPACING_KEY, ""))
    match = re.fullmatch(rf"(\d+\.\d+) at {image.height} x {image.width}", text)
    spacing = float(match[1]) if match else 0.0
    return (spacing, spacing) if spacing else None
