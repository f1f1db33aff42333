"""What makes one X-ray film look unlike another: exposure, scatter, detail, and what lies on it.

Each effect takes (h, w) pixels in 0..1 and a random generator, and returns new pixels. None moves
anatomy, so that masks stay. All are drawn on the host, so that a sample is the same for every
device. Sizes are relative to the image's."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

_KNOTS = 9
_LETTERS = "LRAPWBSECDNTX0123456789"


def apply_effects(pixels: Tensor, seed: int, probability: float) -> Tensor:
    """Return (h, w) pixels in 0..1 with each effect of `EFFECTS` applied with this probability."""
    rng = np.random.default_rng(seed)
    image = pixels.cpu().numpy()
    chances = rng.random(len(EFFECTS))
    for (effect, share), chance in zip(EFFECTS.items(), chances, strict=True):
        if chance < probability * share:
            image = np.clip(effect(image, rng), 0, 1)
    return torch.from_numpy(image.astype(np.float32, copy=False)).to(pixels.device)


def change_tones(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map grays by a random increasing curve: exposure, and the film's or the maker's own."""
    steps = rng.gamma(1.5, size=_KNOTS - 1)
    curve = np.concatenate([[0], np.cumsum(steps) / steps.sum()])
    low, high = np.sort(rng.uniform(0, 1, 2)) * (0.35, 0.35) + (0, 0.65)
    return np.interp(image, np.linspace(0, 1, _KNOTS), low + (high - low) * curve)


def shade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a smooth field: scatter, an oblique beam, a body that lies off the middle."""
    coarse = rng.standard_normal((int(rng.integers(2, 6)),) * 2)
    field = cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return image + rng.uniform(0.03, 0.15) * field


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lose detail."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2) * max(image.shape) / 256)


def enhance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raise or lower local contrast, as the processing of digital films does."""
    wide = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.01, 0.1) * max(image.shape))
    return image + rng.uniform(-0.4, 1.5) * (image - wide)


def add_grain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise with grains of some pixels, more of it where the film is bright, or dark."""
    noise = cv2.GaussianBlur(rng.standard_normal(image.shape), (0, 0), rng.uniform(0.4, 1.5))
    weight = image if rng.random() < 0.5 else 1 - image
    return image + rng.uniform(0.01, 0.06) * noise / noise.std() * (0.3 + weight)


def add_haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whiten some regions: consolidation, effusion, breasts, soft tissue."""
    height, width = image.shape
    y, x = np.ogrid[:height, :width]
    for _ in range(rng.integers(1, 5)):
        centre = rng.uniform(0.15, 0.85, 2) * image.shape
        radii = rng.uniform(0.05, 0.25, 2) * image.shape
        far = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2
        veil = rng.uniform(0.15, 0.85) * np.exp(-(far ** rng.uniform(0.8, 2.5)))
        image = image + veil * (rng.uniform(0.5, 0.95) - image)
    return image


def add_lines(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay cables, tubes and electrodes on the patient."""
    t = np.linspace(0, 1, 24)[:, None]
    bernstein = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    for _ in range(rng.integers(1, 5)):
        layer = np.zeros(image.shape, np.uint8)  # OpenCV draws smoothly on bytes alone
        ends = rng.uniform(-0.1, 1.1, (4, 2)) * image.shape[::-1]
        curve = (bernstein @ ends).astype(np.int32)
        cv2.polylines(layer, [curve], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
        if rng.random() < 0.5:
            radius = int(rng.uniform(0.008, 0.02) * image.shape[1])
            cv2.circle(layer, curve[-1].tolist(), radius, 255, -1, cv2.LINE_AA)
        image = _laid_over(image, layer, rng.uniform(0.2, 0.9), rng.uniform(0.7, 1))
    return image


def add_text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write letters of lead, or of a program, near the edges."""
    height, width = image.shape
    for _ in range(rng.integers(1, 4)):
        text = "".join(rng.choice(list(_LETTERS), rng.integers(1, 6)))
        down, across = rng.uniform(0.03, 0.2, 2)
        down, across = (one if rng.random() < 0.6 else 1 - one for one in (down, across))
        place = int(across * width) - 5 * len(text), int(down * height)
        size, thickness = rng.uniform(0.25, 0.9) * width / 256, int(rng.integers(1, 3))
        layer = np.zeros(image.shape, np.uint8)
        cv2.putText(layer, text, place, 0, size, 255, thickness, cv2.LINE_AA)
        gray = rng.uniform(0.7, 1) if rng.random() < 0.85 else 0.0
        image = _laid_over(image, layer, rng.uniform(0.6, 1), gray)
    return image


def _laid_over(image: np.ndarray, layer: np.ndarray, density: float, gray: float) -> np.ndarray:
    return image + density / 255 * layer * (gray - image)


def collimate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shade the edges, which the beam did not reach, or which were never part of the film."""
    height, width = image.shape
    top, bottom, left, right = rng.uniform(0, 0.09, 4) * (rng.random(4) < 0.6)
    inside = np.zeros_like(image, np.float32)
    inside[int(top * height) : height - int(bottom * height)] = 1
    inside[:, : int(left * width)] = inside[:, width - int(right * width) :] = 0
    soft = cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.3, 2))
    outside = rng.choice([0.0, rng.uniform(0, 0.2), 1.0], p=[0.6, 0.3, 0.1])
    return outside + soft * (image - outside)


def add_grid(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the lines of an anti-scatter grid."""
    phase = np.arange(image.shape[1]) * 2 * np.pi / rng.uniform(2.2, 9)
    lines = rng.uniform(0.01, 0.05) * np.sin(phase + rng.uniform(0, 6))
    return image + (lines[None] if rng.random() < 0.7 else lines[: image.shape[0], None])


def invert(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn black to white, as a file that was read without its header."""
    return 1 - image


#: The effects in the order in which they are applied, each with its share of the probability.
EFFECTS: dict[Callable[[np.ndarray, np.random.Generator], np.ndarray], float] = {
    add_haze: 0.6,
    add_lines: 0.5,
    shade: 0.8,
    blur: 0.6,
    enhance: 0.8,
    change_tones: 1.0,
    add_grain: 0.6,
    add_grid: 0.15,
    collimate: 0.4,
    add_text: 0.5,
    invert: 0.06,
}
