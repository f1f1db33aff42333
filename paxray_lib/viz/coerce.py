"""What callers may pass as an image and as masks: paths, arrays, PIL images, PackedMasks."""

import os

import numpy as np
from PIL import Image as PilImage

from paxray_lib.images.read import Image, read_image, wide_to_unit
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks


def as_pixels(image) -> np.ndarray:
    """Return an image as (H, W) or (H, W, 3) uint8.

    Parameters
    ----------
    image : path, Image, PIL image, or array
        Arrays are (H, W) gray or (H, W, 3) RGB, uint8 or float in 0..1; a float f becomes floor(255
        f + 0.5).

    Raises
    ------
    ValueError
        If it has another shape, type or range.
    """
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    if isinstance(image, Image):
        image = image.pixels
    if isinstance(image, PilImage.Image):
        return _pil_pixels(image)
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f"image must be (H, W) gray or (H, W, 3) RGB, got shape {image.shape}")
    return image if image.dtype == np.uint8 else _to_bytes(image)


def _pil_pixels(image: PilImage.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return _to_bytes(wide_to_unit(np.asarray(image)))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"a PIL image of mode {image.mode!r} has no fixed range; pass an array of floats from 0 to 1"
        )
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    if image.dtype.kind != "f" or not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"image array is {image.dtype} from {image.min()} to {image.max()}; uint8, or float from 0 to 1, is needed"
        )
    return (image * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def as_masks(masks, labels: LabelSet | None = None) -> PackedMasks:
    """Return masks as PackedMasks.

    Parameters
    ----------
    masks : PackedMasks, path (.npy, .pxm, .json), or (L, H, W) array of bool or 0/1
    labels : LabelSet, optional
        The labels of an array or a file; the published table of 166 without it.

    Raises
    ------
    ValueError
        If number and labels do not fit.
    """
    if isinstance(masks, (str, os.PathLike)):
        return PackedMasks.read(masks, labels)
    if isinstance(masks, PackedMasks):
        return masks
    masks = np.asarray(masks)
    if labels is None and (masks.ndim != 3 or len(masks) != len(LABELS)):
        raise ValueError(
            f"masks of shape {masks.shape}: a ({len(LABELS)}, H, W) stack of the published labels is expected; "
            "for other labels pass labels=LabelSet([...])"
        )
    return PackedMasks.pack(masks, LABELS if labels is None else labels)


def check_size(image: np.ndarray, masks: PackedMasks, what: str = "masks") -> None:
    """Raise a ValueError that names both sizes if image and masks differ in height or width."""
    if image.shape[:2] != masks.shape[1:]:
        (rows, columns), (_, height, width) = image.shape[:2], masks.shape
        raise ValueError(
            f"the image has {rows} rows and {columns} columns, but the {what} {height} and {width}; "
            f"resize them first, for instance with PackedMasks.resize({rows}, {columns})"
        )
