"""Films damaged by script, five strengths of each kind, with the masks that belong to them."""

import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np

Film = tuple[np.ndarray, np.ndarray]
"""Pixels (H, W) float in 0..1, and values of masks (H, W, C) uint8."""


def rotate(film: Film, degrees: float, rng: np.random.Generator) -> Film:
    """Turn it to either side; black, and no mask, comes in."""
    height, width = film[0].shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees * rng.choice([-1, 1]), 1)
    size = (width, height)
    pixels = cv2.warpAffine(np.ascontiguousarray(film[0]), turn, size)
    masks = cv2.warpAffine(np.ascontiguousarray(film[1]), turn, size, flags=cv2.INTER_NEAREST)
    return pixels, masks.reshape(*pixels.shape, -1)


def crop(film: Film, side: float, rng: np.random.Generator) -> Film:
    """Keep a part of height and width, anywhere."""
    rows, columns = (_range(size, side, rng) for size in film[0].shape)
    return film[0][rows, columns], film[1][rows, columns]


def _range(size: int, part: float, rng: np.random.Generator) -> slice:
    kept = max(1, round(size * part))
    start = int(rng.integers(size - kept + 1))
    return slice(start, start + kept)


def blur(film: Film, sigma: float, rng: np.random.Generator) -> Film:
    """Blur it by a Gaussian of a part of the width."""
    return cv2.GaussianBlur(film[0], (0, 0), sigma * film[0].shape[1]), film[1]


def noise(film: Film, sigma: float, rng: np.random.Generator) -> Film:
    """Add Gaussian noise; black and white stay the ends."""
    added = rng.normal(0, sigma, film[0].shape).astype(np.float32)
    return (film[0] + added).clip(0, 1), film[1]


def invert(film: Film, above: float, rng: np.random.Generator) -> Film:
    """Invert what is brighter than a threshold (solarization); at 0 that is all."""
    return np.where(film[0] >= above, 1 - film[0], film[0]), film[1]


DAMAGES: dict[str, tuple[Callable[[Film, float, np.random.Generator], Film], list[float]]] = {
    "rotation": (rotate, [3, 6, 12, 24, 48]),
    "crop": (crop, [0.95, 0.9, 0.8, 0.7, 0.6]),
    "blur": (blur, [0.0025, 0.005, 0.01, 0.015, 0.02]),
    "noise": (noise, [0.025, 0.05, 0.1, 0.2, 0.4]),
    "inversion": (invert, [0.8, 0.6, 0.4, 0.2, 0]),
}


def copies(film: Film, name: str) -> Iterator[tuple[str, int, Film]]:
    """Yield kind, strength (0 to 5) and film: first as it is, then each damage; always the same."""
    yield "none", 0, film
    for kind, (damage, strengths) in DAMAGES.items():
        for number, strength in enumerate(strengths, 1):
            rng = np.random.default_rng(zlib.crc32(f"{name} {kind} {number}".encode()))
            pixels, masks = damage(film, strength, rng)
            # of eight bits, as a file is
            yield kind, number, (np.round(pixels * 255).astype(np.float32) / 255, masks)
