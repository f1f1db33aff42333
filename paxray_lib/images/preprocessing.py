"""From an image to a network's input: resizing, scaling, normalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from paxray_lib.images.read import Image
from paxray_lib.utils.errors import did_you_mean

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize_pixels(pixels: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """Resize ignoring the aspect, with half-pixel centers.

    Parameters
    ----------
    pixels : (H, W) float array
    size : (h, w)
    antialias : if True, an axis that shrinks takes the mean over the area of each new pixel, so
    that no detail aliases;
        if False, both axes are bilinear, as in `torch.nn.functional.interpolate(mode="bilinear",
        align_corners=False)`

    Returns
    -------
    (h, w) float32 array
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"pixels: shape {pixels.shape}, but one grayscale image (H, W) is needed")
    height, width = size
    if antialias:
        shrunk = (min(pixels.shape[1], width), min(pixels.shape[0], height))
        pixels = cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA)
    if pixels.shape == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)


_SCALES = {"published": 255.0, "standard": 1.0}
_DIVIDE = "divide 8 bit by 255, 16 bit by 65535"


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input; it travels with the model's weights.

    Attributes
    ----------
    kind : str
        "published": as the published PAXRay network was trained and evaluated. Values 0..255,
        bilinear without antialiasing, then ImageNet's mean and standard deviation, which are meant
        for 0..1: x is *not* divided by 255. "standard": values 0..1, an axis that shrinks is
        averaged by area, then ImageNet's mean and standard deviation.
    size : (h, w) of the network's input in pixels
    """

    kind: str = "standard"
    size: tuple[int, int] = (512, 512)

    def __post_init__(self) -> None:
        if self.kind not in tuple(_SCALES):  # a tuple: the value from a file may be unhashable
            hint = did_you_mean(str(self.kind), _SCALES)
            raise ValueError(
                f"unknown preprocessing kind {self.kind!r}{hint}; known: {', '.join(_SCALES)}"
            )
        object.__setattr__(self, "size", _checked_size(self.size))

    def __call__(self, image: "Image | np.ndarray") -> np.ndarray:
        """Return (3, h, w) float32, ready for the network, from an Image or a (H, W) float array in
        0..1.
        """
        return self.normalize(
            self.resize(image.pixels if isinstance(image, Image) else np.asarray(image))
        )

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Return (h, w) float32 in 0..1 from (H, W) floats in 0..1.

        Raises
        ------
        ValueError
            If the values are integers, NaN or outside 0..1.
        """
        if pixels.dtype.kind != "f":
            raise ValueError(f"pixels: {pixels.dtype}, but floats in 0..1 are needed; {_DIVIDE}")
        resized = resize_pixels(pixels, self.size, antialias=self.kind == "standard")
        low, high = float(resized.min()), float(resized.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails too
            raise ValueError(f"pixels: values {low:g}..{high:g}, but 0..1 is needed; {_DIVIDE}")
        return resized

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Return (..., 3, h, w) float32 from resized (..., h, w) floats in 0..1."""
        # (..., 1, h, w)
        scaled = pixels.astype(np.float32)[..., None, :, :] * np.float32(_SCALES[self.kind])
        mean = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
        std = np.array(IMAGENET_STD, np.float32)[:, None, None]
        return (scaled - mean) / std

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (scale, offset), each (3,) float32: channel c of `normalize` is x * scale[c] +
        offset[c].

        For the training device, where one fused step is cheaper. It equals `normalize` up to
        rounding."""
        std = np.array(IMAGENET_STD)
        return (_SCALES[self.kind] / std).astype(np.float32), (
            -np.array(IMAGENET_MEAN) / std
        ).astype(np.float32)

    def to_dict(self) -> dict:
        """Return plain values for a checkpoint or a YAML file."""
        return {"kind": self.kind, "size": list(self.size)}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Preprocessing":
        """Undo `to_dict`; a missing or unknown key is a ValueError, since a guess would give wrong
        masks silently.
        """
        if not isinstance(values, Mapping) or set(values) != {"kind", "size"}:
            keys = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise ValueError(f"preprocessing: keys {keys}, but exactly kind and size are needed")
        return cls(values["kind"], values["size"])


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    whole = (
        isinstance(size, Sequence)
        and len(size) == 2
        and all(type(n) is int and n > 0 for n in size)
    )
    if not whole:
        raise ValueError(
            f"preprocessing size {size!r}: two positive whole numbers (height, width) are needed"
        )
    return tuple(size)
