"""What callers may pass as an image and as masks: paths, arrays, PIL images, PackedMasks."""

import os

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image as PilImage

from paxray_lib.images.read import Image, read_image, wide_to_unit
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

ImageLike = str | os.PathLike | Image | PilImage.Image | ArrayLike
MasksLike = str | os.PathLike | PackedMasks | ArrayLike


def as_pixels(image: ImageLike) -> np.ndarray:
    """Return an image as (H, W) or (H, W, 3) uint8.

    Arrays are (H, W) gray or (H, W, 3) RGB, uint8 or float in 0..1; a float f becomes
    floor(255 f + 0.5). Another shape, type or range is a ValueError.
    """
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    if isinstance(image, Image):
        image = image.pixels
    if isinstance(image, PilImage.Image):
        image = _decoded(image)
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or 0 in pixels.shape:
        raise ValueError(f"image must be (H, W) gray or (H, W, 3) RGB, got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"image array is {pixels.dtype} from {pixels.min()} to {pixels.max()}; "
            "uint8, or float from 0 to 1, is needed"
        )
    return (pixels * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _decoded(image: PilImage.Image) -> np.ndarray:
    """Return the uint8 values of a PIL image, or float in 0..1 for one of 16 bits."""
    if image.mode.startswith("I;16"):
        return wide_to_unit(np.asarray(image))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"a PIL image of mode {image.mode!r} has no fixed range; "
            "pass an array of floats from 0 to 1"
        )
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def as_masks(masks: MasksLike, labels: LabelSet | None = None) -> PackedMasks:
    """Return PackedMasks, a path (.npy, .pxm, .json) or an (L, H, W) array as PackedMasks.

    Arrays are bool or 0/1. `labels` are those of an array or a file, by default the published
    table of 166; another number is a ValueError.
    """
    if isinstance(masks, (str, os.PathLike)):
        return PackedMasks.read(masks, labels)
    if isinstance(masks, PackedMasks):
        return masks
    stack = np.asarray(masks)
    if labels is None and (stack.ndim != 3 or len(stack) != len(LABELS)):
        raise ValueError(
            f"masks of shape {stack.shape}: a ({len(LABELS)}, H, W) stack of the published labels "
            "is expected; for other labels pass labels=LabelSet([...])"
        )
    return PackedMasks.pack(stack, LABELS if labels is None else labels)


def check_size(image: np.ndarray, masks: PackedMasks, name: str = "masks") -> None:
    """Raise a ValueError that names both sizes if image and masks differ in height or width."""
    if image.shape[:2] != masks.shape[1:]:
        (rows, columns), (_, height, width) = image.shape[:2], masks.shape
        raise ValueError(
            f"the image has {rows} rows and {columns} columns, but the {name} {height} and "
            f"{width}; resize them first, for instance with PackedMasks.resize({rows}, {columns})"
        )


def check_pair(target: PackedMasks, prediction: PackedMasks) -> None:
    """Raise a ValueError if target and prediction differ in labels or size."""
    if target.labels != prediction.labels:
        raise ValueError(
            f"target and prediction have different labels: {target.labels} and {prediction.labels}"
        )
    if target.shape != prediction.shape:
        raise ValueError(
            f"target and prediction differ in size: {target.shape[1:]} and {prediction.shape[1:]}"
        )
