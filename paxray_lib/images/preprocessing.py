"""From an image to a network's input: resizing, scaling, normalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from paxray_lib.images.image import Image
from paxray_lib.utils.errors import check_choice

# of red, green and blue in 0..1, as torchvision has them
IMAGENET_MEAN, IMAGENET_STD = np.array([(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)])
_SCALES = {"published": 255.0, "standard": 1.0, "cxas": 1.0, "per_image": 1.0}
# added to an image's standard deviation, so that an empty one stays empty
LEAST_STD = 1e-3
# of a network's input, in pixels: 166 labels of that size are 11 GB of logits
MAX_SIDE = 4096
_DIVIDE = "divide 8 bit by 255, 16 bit by 65535"


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input; it travels with the model's weights.

    Attributes
    ----------
    kind : str
        "published": as the published PAXRay network was trained and evaluated. Values 0..255,
        bilinear without antialiasing, as `torch.nn.functional.interpolate`, then ImageNet's mean
        and standard deviation, which are meant for 0..1: x is *not* divided by 255.
        "standard": values 0..1, an axis that shrinks is averaged over the area of each new pixel,
        so that no detail aliases, then ImageNet's mean and standard deviation.
        "cxas": as CXAS 0.0.20 does. Values 0..1, ImageNet's mean and standard deviation, then the
        nearest pixel: source index = index * in // out.
        "per_image": resized as in "standard", then less the image's own mean, divided by its own
        standard deviation (and 0.001), in all three channels: exposure and contrast go.
    size : (h, w) of the network's input in pixels
    """

    kind: str = "standard"
    size: tuple[int, int] = (512, 512)

    def __post_init__(self) -> None:
        check_choice(self.kind, _SCALES, "preprocessing kind")
        size = tuple(self.size) if isinstance(self.size, Sequence) else ()
        if len(size) != 2 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in size):
            raise ValueError(
                f"preprocessing size {self.size!r}: two positive whole numbers (height, width), "
                f"up to {MAX_SIDE}, are needed"
            )
        object.__setattr__(self, "size", size)

    def __call__(self, image: Image | np.ndarray) -> np.ndarray:
        """Return (3, h, w) float32, the network's input, of an image or (H, W) floats in 0..1."""
        pixels = image.pixels if isinstance(image, Image) else np.asarray(image)
        return self.normalize(self.resize(pixels))

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Return (h, w) float32 in 0..1 from (H, W) floats in 0..1, ignoring the aspect.

        Raises
        ------
        ValueError
            If it is not one image, or the values are integers, NaN or outside 0..1.
        """
        if pixels.dtype.kind != "f":
            raise ValueError(f"pixels: {pixels.dtype}, but floats in 0..1 are needed; {_DIVIDE}")
        if pixels.ndim != 2 or not pixels.size:
            raise ValueError(
                f"pixels: shape {pixels.shape}, but one grayscale image (H, W) is needed"
            )
        height, width = self.size
        pixels = np.ascontiguousarray(pixels, dtype=np.float32)
        if self.kind in ("standard", "per_image"):
            shrunk = (min(pixels.shape[1], width), min(pixels.shape[0], height))
            pixels = cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA)
        if self.kind == "cxas":
            rows, columns = (
                np.arange(m) * n // m for n, m in zip(pixels.shape, self.size, strict=True)
            )
            pixels = pixels[np.ix_(rows, columns)]
        if pixels.shape != self.size:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails too
            raise ValueError(f"pixels: values {low:g}..{high:g}, but 0..1 is needed; {_DIVIDE}")
        return pixels

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Return (..., 3, h, w) float32 from resized (..., h, w) floats in 0..1."""
        if self.kind == "per_image":
            mean = pixels.mean((-2, -1), dtype=np.float64, keepdims=True)
            std = pixels.std((-2, -1), dtype=np.float64, keepdims=True)
            own = ((pixels - mean) / (std + LEAST_STD)).astype(np.float32)
            return np.repeat(own[..., None, :, :], 3, axis=-3)
        scaled = pixels.astype(np.float32)[..., None, :, :] * np.float32(_SCALES[self.kind])
        mean, std = np.array([IMAGENET_MEAN, IMAGENET_STD], np.float32)[..., None, None]
        return (scaled - mean) / std

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (scale, offset), each (3,) float32: `normalize` is x * scale + offset, rounded.

        For the training device, where one fused step is cheaper. For "per_image", x is what is
        left after the mean and the standard deviation."""
        if self.kind == "per_image":  # what is left once that is done
            return np.ones(3, np.float32), np.zeros(3, np.float32)
        scale, offset = _SCALES[self.kind] / IMAGENET_STD, -IMAGENET_MEAN / IMAGENET_STD
        return scale.astype(np.float32), offset.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint or a YAML file."""
        return {"kind": self.kind, "size": list(self.size)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Undo `to_dict`; raise ValueError for other keys: a guess would give wrong masks."""
        if not isinstance(values, Mapping) or set(values) != {"kind", "size"}:
            keys = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise ValueError(f"preprocessing: keys {keys}, but exactly kind and size are needed")
        return cls(values["kind"], values["size"])
