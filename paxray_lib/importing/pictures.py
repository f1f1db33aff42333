"""Masks as pictures: one value per pixel, from PNG, JPEG or GIF."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from paxray_lib.images import jpeg, png
from paxray_lib.images.image import check_size, quiet
from paxray_lib.utils import naming_errors

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif")
_GIF = (b"GIF87a", b"GIF89a")
_PALETTE = 3  # a color type of PNG


def read_values(data: bytes, path: str | os.PathLike) -> np.ndarray:
    """Return the gray values of a picture, (H, W) uint8 or uint16; fewer bits are spread to 8.

    ValueError, naming the file, if it is damaged, of another format, or in color."""
    path = Path(path)
    if not data.startswith((png.SIGNATURE, jpeg.SIGNATURE, *_GIF)):
        raise ValueError(f"{path}: masks are PNG, JPEG or GIF pictures; convert it to PNG")
    with naming_errors(path, "damaged or cut short picture"):
        if data.startswith(_GIF):
            array = _gif(data, path)
        else:
            is_png = data.startswith(png.SIGNATURE)
            check_size(path, *(png.png_size(data) if is_png else jpeg.jpeg_size(data)))
            array, _ = png.decode_png(data) if is_png else jpeg.decode_jpeg(data)
    if array.ndim == 3:
        if (array != array[..., :1]).any():
            raise ValueError(f"{path}: a mask in color; convert it to gray")
        array = array[..., 0]
    return array


def _gif(data: bytes, path: Path) -> np.ndarray:
    with quiet(), PillowImage.open(io.BytesIO(data), formats=["GIF"]) as picture:
        check_size(path, picture.height, picture.width, 3)
        return np.asarray(picture.convert("RGB"))


def read_mask(data: bytes, path: str | os.PathLike, ignore: int | None = None) -> np.ndarray | None:
    """Return the mask of a picture, (H, W) bool, or None if a pixel has the value to ignore.

    A pixel belongs to the structure if it has more than half of the full value, which is 1 if there
    is no larger one, else that of the depth: antialiased edges are cut in the middle. A picture
    whose largest value is more than 1 and no more than half is refused: what it means is not known.
    """
    values = read_values(data, path)
    if ignore is not None and (values == ignore).any():
        return None
    full, largest = np.iinfo(values.dtype).max, int(values.max())
    if 1 < largest <= full / 2:
        raise ValueError(
            f"{path}: its largest value is {largest}; masks hold 0 and 1, or 0 and 255"
        )
    return values > (0 if largest <= 1 else full // 2)


def read_classes(data: bytes, path: str | os.PathLike) -> np.ndarray:
    """Return the class of each pixel of a PNG, (H, W) uint8 or uint16: gray value or palette index.

    ValueError, naming the file, if it is damaged, no PNG, or in color without a palette."""
    path = Path(path)
    if not data.startswith(png.SIGNATURE):
        raise ValueError(f"{path}: not a PNG, as pictures of classes are; export it again")
    values = None
    with naming_errors(path, "damaged or cut short PNG"):
        check_size(path, *png.png_size(data))
        depth, kind = data[24], data[25]  # of the header, which was checked
        if kind == _PALETTE:
            png.decode_png(data)  # whether it is sound, which Pillow does not tell
            with quiet(), PillowImage.open(io.BytesIO(data), formats=["PNG"]) as picture:
                values = np.asarray(picture)
    if values is None:
        values = read_values(data, path)
        if depth < 8:  # spread to 8 bits
            values = values // np.uint8(255 // (2**depth - 1))
    return values
