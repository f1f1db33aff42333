"""Augmentation: draw parameters from a random generator, then apply them, which is deterministic.

    params = draw(np.random.default_rng([seed, epoch, position]), config, sample.view)
    pixels, masks = apply(params, sample.image, sample.masks)

`augment` does the same to tensors on any device. Masks stay packed. Resize, crop and flip are
composed into one list of source rows and one of columns, so that each pixel of 21 bytes is moved
once. Rotation and zoom use a map of source positions, the same for image and masks.

The defaults are the published recipe (Seibold et al., BMVC 2022): image and masks 512 x 512; with
probability 0.6 both are resized, nearest, to a height and a width drawn independently from the
integers 480..613; a random crop of 480 x 480; nothing else.

A new augmentation is written here alone: its largest amount in `AugmentConfig`, which makes it a
setting of every training; what is drawn in `Params` and at the end of `draw`, so that other draws
stay the same; and its effect in `change_intensity` or `_affine`. Effects on the appearance alone
are in film_effects.py."""

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from paxray_lib.data.film_effects import apply_effects
from paxray_lib.images.preprocessing import MAX_SIDE
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, swap_sides
from paxray_lib.utils.settings import check_fields

Pixels = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=0.99, allow_inf_nan=False)]


@dataclass(frozen=True)
class AugmentConfig:
    """What may be drawn. Every amount is a maximum; 0 turns it off.

    Parameters
    ----------
    image_size, crop_size : int
        Images and masks are first brought to a square (bilinear and nearest), in pixels; a smaller
        one is cut out.
    resize_prob, resize_scale : float in 0..1, and in 1..8
        Probability of a random resize. Both sides are drawn from crop_size to below
        int(image_size * resize_scale).
    flip_prob : float in 0..1
        Probability of a left-right flip, where the view is known.
    rotate_degrees : float in 0..180
        Largest rotation to either side.
    zoom : float, 0 to below 1
        Largest change of size; 0.1 draws a factor between 1 / 1.1 and 1.1.
    brightness, contrast, gamma, noise : float, 0 to below 1
        Largest shift, in units of the full range; relative change of contrast around mid-gray, and
        of the exponent; standard deviation of Gaussian noise, in units of the full range.
    film : float in 0..1
        Probability of each of the effects that tell films apart, see `data.film_effects`.

    Raises
    ------
    ValueError
        If a value is out of range or the crop is larger than the image.
    """

    image_size: Pixels = 512
    crop_size: Pixels = 480
    resize_prob: Probability = 0.6
    resize_scale: Annotated[float, Field(ge=1, le=8, allow_inf_nan=False)] = 1.2
    flip_prob: Probability = 0.0
    rotate_degrees: Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)] = 0.0
    zoom: Amount = 0.0
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    gamma: Amount = 0.0
    noise: Amount = 0.0
    film: Probability = 0.0

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
    size, height, width : int
        Side of the square that image and masks are first brought to, and both sides after the
        random resize, in pixels.
    top, left, crop : int
        The crop out of (height, width).
    flip : "frontal", "lateral" or None
        The view to flip left-right as; None for no flip.
    degrees, zoom : float
        Counterclockwise rotation around the centre of the crop, and factor of size.
    brightness, contrast, gamma, noise : float
        Added, multiplied around 0.5, exponent, standard deviation; on pixels in 0..1.
    film : float
        Probability of each effect, which are drawn with `noise_seed`, too.
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
    film: float = 0.0


def draw(rng: np.random.Generator, config: AugmentConfig, view: str | None = None) -> Params:
    """Draw the parameters for one sample, which is never flipped if its view is None.

    Always draws the same amount of randomness, so that one setting does not shift the draws of
    another. For exact resuming, seed `rng` with (seed, epoch, position)."""
    size, crop, drawn = config.image_size, config.crop_size, rng.random(12).tolist()
    chance, high, wide, down, right, flip, turn, zoom, bright, contrast, gamma, noise = drawn
    height, width = size, size
    if chance < config.resize_prob:
        span = max(int(size * config.resize_scale), crop + 1) - crop
        height, width = crop + int(high * span), crop + int(wide * span)
    return Params(
        size=size,
        height=height,
        width=width,
        top=int(down * (height - crop + 1)),
        left=int(right * (width - crop + 1)),
        crop=crop,
        flip=view if view in ("frontal", "lateral") and flip < config.flip_prob else None,
        degrees=(2 * turn - 1) * config.rotate_degrees,
        zoom=(1 + config.zoom) ** (2 * zoom - 1),
        brightness=(2 * bright - 1) * config.brightness,
        contrast=1 + (2 * contrast - 1) * config.contrast,
        gamma=(1 + config.gamma) ** (2 * gamma - 1),
        noise=noise * config.noise,
        noise_seed=int(rng.integers(2**63)),
        film=config.film,
    )


def apply(params: Params, pixels: np.ndarray, masks: PackedMasks) -> tuple[np.ndarray, PackedMasks]:
    """Apply drawn parameters to an image and its masks.

    Parameters
    ----------
    params : Params
    pixels : (H, W) float32 array in 0..1
    masks : PackedMasks of the same height and width

    Returns
    -------
    (crop, crop) float32 array in 0..1, and PackedMasks of that size
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
    if pixels.shape != (params.size, params.size):
        pixels = cv2.resize(pixels, (params.size, params.size), interpolation=cv2.INTER_LINEAR)
    image = torch.from_numpy(np.ascontiguousarray(pixels))
    moved, bits = augment(params, image, torch.from_numpy(masks.data), masks.labels)
    known = masks.known[moved_labels(params, masks.labels)]
    return moved.numpy(), PackedMasks(bits.numpy(), masks.labels, known)


def moved_labels(params: Params, labels: LabelSet) -> np.ndarray:
    """Return for each label which one it was before, (L,) int64: its mirror after some flips."""
    return labels.mirror if params.flip == "frontal" else np.arange(len(labels))


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
    (crop, crop) float32 tensor in 0..1, and (crop, crop, B) uint8 tensor
        The bits are the same on every device.
    """
    move = _move_rigid if params.degrees == 0 and params.zoom == 1 else _move_affine
    pixels, bits = move(params, pixels, bits)
    if params.flip == "frontal" and bits.device.type == "cpu":
        # arrays are faster: neighbours mostly have the same labels
        bits = torch.from_numpy(swap_sides(bits.numpy(), labels))
    elif params.flip == "frontal":
        bits = swap_sides(bits, labels)
    return change_intensity(params, pixels), bits


def source_indices(
    params: Params, height: int, width: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return the source rows and columns (crop,) of resize, crop and flip in (height, width).

    Nearest neighbour in exact integers: first to `size`, then to the drawn size."""
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
    return bits.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)


def source_positions(
    params: Params, height: int, width: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return where the pixels of the crop come from in (height, width), under rotation and zoom.

    x and y, (crop, crop) float64, are from the upper left edge: the centre of pixel 0 is 0.5.
    Products and sums of float64 one by one, which are the same to the bit on every device."""
    middle = params.crop / 2
    angle = math.radians(params.degrees)
    # inverse of a counterclockwise turn on the screen, where y points down
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mirror = np.diag([-1.0 if params.flip else 1.0, 1.0])
    scale = np.diag([width / params.width, height / params.height])
    linear = scale @ (turn / params.zoom) @ mirror
    centre = scale @ [params.left + middle, params.top + middle]
    # from (x, y, 1) in the crop to (x, y) in (height, width)
    rows = np.column_stack([linear, centre - linear @ [middle, middle]]).tolist()
    crop = torch.arange(params.crop, dtype=torch.float64, device=device) + 0.5
    x, y = (a * crop[None] + (b * crop[:, None] + c) for a, b, c in rows)
    return x, y


def change_intensity(params: Params, pixels: Tensor) -> Tensor:
    """Return (h, w) pixels in 0..1 with film effects, gamma, contrast, brightness and noise."""
    if params.film > 0:
        pixels = apply_effects(pixels, params.noise_seed, params.film)
    pixels = pixels.clamp(0, 1) ** params.gamma
    # contrast turns around mid-gray
    pixels = pixels * params.contrast + (0.5 - 0.5 * params.contrast + params.brightness)
    if params.noise > 0:
        # drawn on the host, so that it is the same for every device
        rng = np.random.default_rng(params.noise_seed)
        noise = torch.from_numpy(rng.standard_normal(tuple(pixels.shape), np.float32))
        pixels = pixels + params.noise * noise.to(pixels.device)
    return pixels.clamp(0, 1)
