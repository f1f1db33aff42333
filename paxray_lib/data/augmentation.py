"""Augmentation in two steps: draw parameters from a random generator, then apply them, which is
deterministic.

    params = draw(np.random.default_rng([seed, epoch, position]), config, sample.view)
    pixels, masks = apply(params, sample.image, sample.masks)

Masks stay packed. Resize, crop and flip are composed into one list of source rows and one of source
columns, so that each pixel of 21 bytes is moved once. Rotation and zoom use a map of source pixels,
the same for image and masks.

The defaults are the published recipe (Seibold et al., BMVC 2022): image and masks 512 x 512; with
probability 0.6 both are resized, nearest, to a height and a width drawn independently from the
integers 480..613; a random crop of 480 x 480; nothing else."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from paxray_lib.masks.bits import nearest_indices, swap_sides
from paxray_lib.masks.packed import PackedMasks


@dataclass(frozen=True)
class AugmentConfig:
    """What may be drawn. Every amount is a maximum; 0 turns it off.

    Parameters
    ----------
    image_size : int
        Images and masks are first brought to this many pixels square (bilinear and nearest).
    crop_size : int
        Side of the square that is cut out.
    resize_prob : float in 0..1
        Probability of a random resize, both sides drawn from crop_size to below int(image_size *
        resize_scale).
    resize_scale : float, at least 1
    flip_prob : float in 0..1
        Probability of a left-right flip, where the view is known.
    rotate_degrees : float in 0..180
        Largest rotation to either side.
    zoom : float, 0 to below 1
        Largest change of size; 0.1 draws a factor between 1 / 1.1 and 1.1.
    brightness, contrast, gamma : float, 0 to below 1
        Largest shift, in units of the full range; largest relative change of contrast around
        mid-gray; largest relative change of the exponent.
    noise : float
        Largest standard deviation of Gaussian noise, in units of the full range.

    Raises
    ------
    ValueError
        If a value is out of range or the crop is larger than the image.
    """

    image_size: int = 512
    crop_size: int = 480
    resize_prob: float = 0.6
    resize_scale: float = 1.2
    flip_prob: float = 0.0
    rotate_degrees: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0

    def __post_init__(self):
        if not 1 <= self.crop_size <= self.image_size:
            raise ValueError(
                f"crop_size {self.crop_size}: must lie between 1 and image_size, which is {self.image_size}"
            )
        if not (math.isfinite(self.resize_scale) and self.resize_scale >= 1):
            raise ValueError(f"resize_scale {self.resize_scale}: must be at least 1")
        for name, top in _LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= top:
                raise ValueError(f"{name} {value}: must lie between 0 and {top:g}")


_LIMITS = {"resize_prob": 1, "flip_prob": 1, "rotate_degrees": 180} | dict.fromkeys(
    ("zoom", "brightness", "contrast", "gamma", "noise"), 0.99
)


@dataclass(frozen=True)
class Params:
    """One drawn augmentation: everything that `apply` needs.

    Attributes
    ----------
    size : int
        Side of the square that image and masks are first brought to, in pixels.
    height, width : int
        After the random resize.
    top, left, crop : int
        The crop out of (height, width).
    flip : "frontal", "lateral" or None
        The view to flip left-right as; None for no flip.
    degrees, zoom : float
        Counterclockwise rotation around the centre of the crop, and factor of size.
    brightness, contrast, gamma, noise : float
        Added, multiplied around 0.5, exponent, standard deviation; on pixels in 0..1.
    noise_seed : int
    """

    size: int
    height: int
    width: int
    top: int
    left: int
    crop: int
    flip: str | None = None
    degrees: float = 0.0
    zoom: float = 1.0
    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0

    @property
    def is_rigid(self) -> bool:
        """Whether rows and columns stay rows and columns: no rotation, no zoom."""
        return self.degrees == 0 and self.zoom == 1

    @property
    def shift(self) -> float:
        """What is added after the contrast, which turns around 0.5: the brightness included."""
        return 0.5 - 0.5 * self.contrast + self.brightness

    @property
    def changes_intensity(self) -> bool:
        """Whether pixels change in value."""
        return self.gamma != 1 or self.contrast != 1 or self.brightness != 0 or self.noise > 0


def draw(rng: np.random.Generator, config: AugmentConfig, view: str | None = None) -> Params:
    """Draw the parameters for one sample.

    Always draws the same amount of randomness, so that one setting does not shift the draws of
    another.

    Parameters
    ----------
    rng : numpy Generator
        For exact resuming, seed it with (seed, epoch, position).
    config : AugmentConfig
    view : "frontal", "lateral" or None
        A sample of unknown view is never flipped.
    """
    chance, high, wide, down, right, flip, turn, zoom, bright, contrast, gamma, noise = rng.random(
        12
    ).tolist()
    height, width = config.image_size, config.image_size
    if chance < config.resize_prob:
        above = max(int(config.image_size * config.resize_scale), config.crop_size + 1)
        height, width = (_integer(u, config.crop_size, above) for u in (high, wide))
    return Params(
        size=config.image_size,
        height=height,
        width=width,
        top=_integer(down, 0, height - config.crop_size + 1),
        left=_integer(right, 0, width - config.crop_size + 1),
        crop=config.crop_size,
        flip=view if view in ("frontal", "lateral") and flip < config.flip_prob else None,
        degrees=(2 * turn - 1) * config.rotate_degrees,
        zoom=(1 + config.zoom) ** (2 * zoom - 1),
        brightness=(2 * bright - 1) * config.brightness,
        contrast=1 + (2 * contrast - 1) * config.contrast,
        gamma=(1 + config.gamma) ** (2 * gamma - 1),
        noise=noise * config.noise,
        noise_seed=int(rng.integers(2**63)),
    )


def _integer(uniform: float, low: int, above: int) -> int:
    return low + int(uniform * (above - low))


def apply(
    params: Params, pixels: np.ndarray, masks: PackedMasks | None
) -> tuple[np.ndarray, PackedMasks | None]:
    """Apply drawn parameters to an image and its masks.

    Parameters
    ----------
    params : Params
    pixels : (H, W) float32 array in 0..1
    masks : PackedMasks of the same height and width, or None

    Returns
    -------
    pixels : (crop, crop) float32 array in 0..1
    masks : PackedMasks of (crop, crop), or None
        What a rotation or zoom brings in from outside the image is black and has no label.

    Raises
    ------
    ValueError
        If image and masks differ in size, or a flip needs a label whose counterpart is not among
        the labels.
    """
    if pixels.ndim != 2 or (masks is not None and masks.shape[1:] != pixels.shape):
        found = masks.shape[1:] if masks is not None else "no masks"
        raise ValueError(f"image must be (H, W) like its masks, got {pixels.shape} and {found}")
    move = _move_rigid if params.is_rigid else _move_affine
    moved, masks = move(params, pixels, masks)
    if masks is not None and params.flip == "frontal":
        masks = PackedMasks(swap_sides(masks.data, masks.labels), masks.labels)
    return change_intensity(params, moved), masks


def source_indices(params: Params, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the source rows and columns (crop,) of resize, crop and flip, for an array of (height,
    width).

    Nearest neighbour in exact integers: first to `size`, then to the drawn size.
    """
    rows = nearest_indices(params.size, params.height)[params.top : params.top + params.crop]
    columns = nearest_indices(params.size, params.width)[params.left : params.left + params.crop]
    if params.flip:
        columns = columns[::-1]
    return rows * height // params.size, columns * width // params.size


def _move_rigid(params: Params, pixels: np.ndarray, masks: PackedMasks | None):
    if masks is not None:
        masks = masks.gather(*source_indices(params, *pixels.shape))
    pixels = _to_square(pixels, params.size)
    rows, columns = source_indices(params, params.size, params.size)
    return pixels.take(rows, axis=0).take(columns, axis=1), masks


def _to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    if pixels.shape == (size, size):
        return pixels
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)


def _move_affine(params: Params, pixels: np.ndarray, masks: PackedMasks | None):
    if masks is not None:
        masks = _gather_affine(masks, source_lines(params, *masks.shape[1:]), params.crop)
    pixels = np.ascontiguousarray(_to_square(pixels, params.size), np.float32)
    lines = source_lines(params, params.size, params.size, centres=True)
    x, y = (np.float32(lines[i] + lines[i + 1][:, None]) for i in (0, 2))
    # remap, not warpAffine: the positions are ours, so that another device can repeat them
    return cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), masks


def source_lines(params: Params, height: int, width: int, centres: bool = False) -> np.ndarray:
    """Return where the crop comes from in an array of (height, width), as four lines of (crop,)
    float64.

    Row r and column c of the crop come from x = lines[0, c] + lines[1, r], y = lines[2, c] +
    lines[3, r]: a sum of two float64, which is the same to the bit on every device.

    Parameters
    ----------
    params : Params
    height, width : int
    centres : bool
        If False, the source pixel is (floor(y), floor(x)), empty where that lies outside.
        If True, positions are those to interpolate at, with pixel centres at whole numbers.

    Returns
    -------
    (4, crop) float64 array
    """
    lines = np.zeros((4, params.crop))
    if params.is_rigid:
        lines[3], lines[0] = source_indices(params, height, width)
        return lines
    matrix = _affine(params, height, width)
    places = np.arange(params.crop) + 0.5
    lines[0::2] = matrix[:, :1] * places
    lines[1::2] = matrix[:, 1:2] * places + matrix[:, 2:]
    if centres:
        # positions from the edge of the image -> from the centre of its first pixel
        lines[1::2] -= 0.5
    return lines


def _affine(params: Params, height: int, width: int) -> np.ndarray:
    """Return the (2, 3) float64 map from (x, y, 1) in the crop to (x, y) in an array of (height,
    width).

    Positions are measured from the upper left edge: the centre of pixel 0 is 0.5.
    """
    middle = params.crop / 2
    angle = math.radians(params.degrees)
    # inverse of a counterclockwise turn on the screen, where y points down
    turn = (
        np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        / params.zoom
    )
    mirror = np.diag([-1.0 if params.flip else 1.0, 1.0])
    scale = np.diag([width / params.width, height / params.height])
    linear = scale @ turn @ mirror
    centre = scale @ [params.left + middle, params.top + middle]
    return np.column_stack([linear, centre - linear @ [middle, middle]])


def _gather_affine(masks: PackedMasks, lines: np.ndarray, crop: int) -> PackedMasks:
    """Take for each pixel of the crop the source pixel in which its centre falls; empty outside."""
    _, height, width = masks.shape
    x, y = (np.floor(lines[i] + lines[i + 1][:, None]).astype(np.int32) for i in (0, 2))
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    source = np.where(outside, 0, y * width + x)
    items = (
        np.ascontiguousarray(masks.data)
        .reshape(height * width, -1)
        .view(f"V{masks.data.shape[2]}")[:, 0]
    )
    data = items[source].view(np.uint8).reshape(crop, crop, -1)
    data[outside] = 0
    return PackedMasks(data, masks.labels)


def change_intensity(params: Params, pixels: np.ndarray) -> np.ndarray:
    """Return (h, w) float32 pixels in 0..1 with gamma, contrast, brightness and noise applied, in
    this order.
    """
    pixels = np.ascontiguousarray(pixels, np.float32)
    if params.gamma != 1:
        pixels = np.clip(pixels, 0, 1) ** np.float32(params.gamma)
    if params.contrast != 1 or params.brightness != 0:
        pixels = pixels * np.float32(params.contrast) + np.float32(params.shift)
    if params.noise > 0:
        pixels = pixels + noise_of(params, pixels.shape)
    return np.clip(pixels, 0, 1) if params.changes_intensity else pixels


def noise_of(params: Params, shape: tuple[int, ...]) -> np.ndarray:
    """Return the drawn noise, a float32 array, in units of the full range."""
    rng = np.random.default_rng(params.noise_seed)
    return np.float32(params.noise) * rng.standard_normal(shape, np.float32)
