"""Augmentation: draw parameters from a random generator, then apply them, which is deterministic.

    params = draw(np.random.default_rng([seed, epoch, position]), config, sample.view)
    pixels, masks = apply(params, sample.image, sample.masks)

`augment` does the same to tensors on any device: worker processes and the training set in memory
share it. Masks stay packed. Resize, crop and flip are composed into one list of source rows and one
of source columns, so that each pixel of 21 bytes is moved once. Rotation and zoom use a map of
source positions, the same for image and masks.

The defaults are the published recipe (Seibold et al., BMVC 2022): image and masks 512 x 512; with
probability 0.6 both are resized, nearest, to a height and a width drawn independently from the
integers 480..613; a random crop of 480 x 480; nothing else.

A new augmentation is written here alone: its largest amount in `AugmentConfig`, which makes it a
setting of every training; what is drawn in `Params` and at the end of `draw`, so that other draws
stay the same; and its effect in `change_intensity` or `_affine`."""

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import swap_sides
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.settings import check_fields

Pixels = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=0.99, allow_inf_nan=False)]


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
        Probability of a random resize. Both sides are drawn from crop_size to below
        int(image_size * resize_scale).
    resize_scale : float, at least 1
    flip_prob : float in 0..1
        Probability of a left-right flip, where the view is known.
    rotate_degrees : float in 0..180
        Largest rotation to either side.
    zoom : float, 0 to below 1
        Largest change of size; 0.1 draws a factor between 1 / 1.1 and 1.1.
    brightness : float, 0 to below 1
        Largest shift, in units of the full range.
    contrast : float, 0 to below 1
        Largest relative change of contrast around mid-gray.
    gamma : float, 0 to below 1
        Largest relative change of the exponent.
    noise : float, 0 to below 1
        Largest standard deviation of Gaussian noise, in units of the full range.

    Raises
    ------
    ValueError
        If a value is out of range or the crop is larger than the image.
    """

    image_size: Pixels = 512
    crop_size: Pixels = 480
    resize_prob: Probability = 0.6
    resize_scale: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.2
    flip_prob: Probability = 0.0
    rotate_degrees: Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)] = 0.0
    zoom: Amount = 0.0
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    gamma: Amount = 0.0
    noise: Amount = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.crop_size > self.image_size:
            raise ValueError(
                f"crop_size must be at most image_size, {self.image_size}, not {self.crop_size}"
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


def apply(params: Params, pixels: np.ndarray, masks: PackedMasks) -> tuple[np.ndarray, PackedMasks]:
    """Apply drawn parameters to an image and its masks.

    Parameters
    ----------
    params : Params
    pixels : (H, W) float32 array in 0..1
    masks : PackedMasks of the same height and width

    Returns
    -------
    pixels : (crop, crop) float32 array in 0..1
    masks : PackedMasks of (crop, crop)
        What a rotation or zoom brings in from outside the image is black and has no label.

    Raises
    ------
    ValueError
        If image and masks differ in size, or a flip needs a label whose counterpart is missing.
    """
    if pixels.ndim != 2 or masks.shape[1:] != pixels.shape:
        raise ValueError(
            f"image must be (H, W) like its masks, got {pixels.shape} and {masks.shape[1:]}"
        )
    square = (params.size, params.size)
    if pixels.shape != square:
        pixels = cv2.resize(pixels, square, interpolation=cv2.INTER_LINEAR)
    tensors = torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(masks.data)
    moved, bits = augment(params, *tensors, masks.labels)
    return moved.numpy(), PackedMasks(bits.numpy(), masks.labels)


def augment(
    params: Params, pixels: Tensor, bits: Tensor, labels: LabelSet
) -> tuple[Tensor, Tensor]:
    """Apply drawn parameters on the device of an image and its packed masks, as new tensors.

    Parameters
    ----------
    params : Params
    pixels : (size, size) float32 tensor in 0..1
    bits : (H, W, B) uint8 tensor, packed
    labels : LabelSet of the masks

    Returns
    -------
    pixels : (crop, crop) float32 tensor in 0..1
    bits : (crop, crop, B) uint8 tensor
        The same to the bit on every device.
    """
    move = _move_rigid if params.is_rigid else _move_affine
    pixels, bits = move(params, pixels, bits)
    if params.flip == "frontal":
        bits = _swap_sides(bits, labels)
    return change_intensity(params, pixels), bits


def source_indices(
    params: Params, height: int, width: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return the source rows and columns (crop,) of resize, crop and flip in (height, width).

    Nearest neighbour in exact integers: first to `size`, then to the drawn size.
    """
    crop = torch.arange(params.crop, device=device)
    rows = (crop + params.top) * params.size // params.height
    columns = (crop + params.left) * params.size // params.width
    if params.flip:
        columns = columns.flip(0)
    return rows * height // params.size, columns * width // params.size


def _move_rigid(params: Params, pixels: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    height, width = pixels.shape
    rows, columns = source_indices(params, height, width, pixels.device)
    moved = pixels.index_select(0, rows).index_select(1, columns)  # (crop, crop)
    height, width, _ = bits.shape
    rows, columns = source_indices(params, height, width, pixels.device)
    return moved, _take(bits, rows[:, None] * width + columns)


def _move_affine(params: Params, pixels: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    height, width = pixels.shape
    x, y = source_positions(params, height, width, pixels.device)
    # -1 and 1 are the edges of the image
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1).float()  # (crop, crop, 2)
    moved = functional.grid_sample(pixels[None, None], grid[None], align_corners=False)[0, 0]

    height, width, _ = bits.shape
    x, y = (n.floor().long() for n in source_positions(params, height, width, pixels.device))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return moved, _take(bits, torch.where(inside, y * width + x, 0)).mul_(inside[..., None])


def _take(bits: Tensor, places: Tensor) -> Tensor:
    """Return the pixels (h, w, B) of (H, W, B) at places (h, w), counted row by row."""
    taken = bits.flatten(0, 1).index_select(0, places.flatten())
    return taken.unflatten(0, places.shape)


def source_positions(
    params: Params, height: int, width: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return where the pixels of the crop come from in (height, width), under rotation and zoom.

    Returns
    -------
    x, y : (crop, crop) float64 tensors
        From the upper left edge, so that the centre of pixel 0 is 0.5. Products and sums of
        float64 one by one, which are the same to the bit on every device.
    """
    crop = torch.arange(params.crop, dtype=torch.float64, device=device) + 0.5
    rows = _affine(params, height, width).tolist()
    x, y = (a * crop[None] + (b * crop[:, None] + c) for a, b, c in rows)
    return x, y


def _affine(params: Params, height: int, width: int) -> np.ndarray:
    """Return the (2, 3) float64 map from (x, y, 1) in the crop to (x, y) in (height, width)."""
    middle = params.crop / 2
    angle = math.radians(params.degrees)
    # inverse of a counterclockwise turn on the screen, where y points down
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mirror = np.diag([-1.0 if params.flip else 1.0, 1.0])
    scale = np.diag([width / params.width, height / params.height])
    linear = scale @ (turn / params.zoom) @ mirror
    centre = scale @ [params.left + middle, params.top + middle]
    return np.column_stack([linear, centre - linear @ [middle, middle]])


def _swap_sides(bits: Tensor, labels: LabelSet) -> Tensor:
    if bits.device.type == "cpu":  # arrays are faster: neighbours mostly have the same labels
        return torch.from_numpy(swap_sides(bits.numpy(), labels))
    return swap_sides(bits, labels)


def change_intensity(params: Params, pixels: Tensor) -> Tensor:
    """Return (h, w) pixels in 0..1 with gamma, contrast, brightness and noise applied in turn."""
    pixels = pixels.clamp(0, 1) ** params.gamma
    # contrast turns around mid-gray
    pixels = pixels * params.contrast + (0.5 - 0.5 * params.contrast + params.brightness)
    if params.noise > 0:
        # drawn on the host, so that it is the same for every device
        rng = np.random.default_rng(params.noise_seed)
        noise = torch.from_numpy(rng.standard_normal(tuple(pixels.shape), np.float32))
        pixels = pixels + params.noise * noise.to(pixels.device)
    return pixels.clamp(0, 1)
