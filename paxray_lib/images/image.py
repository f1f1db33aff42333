"""An image as `read_image` returns it, and what its decoders share."""

from dataclasses import dataclass

import numpy as np

FORMATS = "PNG, JPEG or DICOM"
# Pillow's own limit, against decompression bombs; an X-ray film has about 10 million
MAX_PIXELS = 89_478_485


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


def to_unit(array: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Return (H, W) float32 in 0..1 from unsigned integers, gray (H, W) or R, G, B (H, W, 3).

    They have `bits`, or all of their type. Color becomes gray to the digit as by Pillow's "L"."""
    full = 2 ** (bits or 8 * array.itemsize) - 1
    if array.ndim == 3:
        red, green, blue = np.moveaxis(array.astype(np.uint32), -1, 0)
        # The weights sum to 65536: 16-bit values stay below 2**32.
        array = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return array.astype(np.float32) / np.float32(full)
