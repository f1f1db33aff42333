"""How the sample's images differ: exposure, sharpness, noise, window, haze, markers and wires.

A phantom is always the same; its looks in the two views are drawn apart from it. All lengths are
shares of the image or mm, so that a look does not depend on the size in pixels. All ranges are
chosen by eye beside real X-rays.
"""

from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from paxray_lib.projection.radiograph import Exposure, radiograph


class Look(SimpleNamespace):
    """What differs between two X-rays of the same patient, as `draw_look` names it."""


def draw_look(rng: np.random.Generator, varied: bool = False) -> Look:
    """Draw how an image is exposed, by several machines; varied: also as met on the wards."""
    cut = rng.uniform(0, 0.08, 4) * (rng.random(4) < 0.6) * (rng.random() < 0.4)
    exposure = Exposure(
        bone=rng.uniform(0.95, 1.6),
        scatter=rng.uniform(0.03, 0.9),
        low=rng.uniform(0.2, 3.0),
        high=rng.uniform(99.0, 100.0),
        gamma=float(np.exp(rng.normal(0.05, 0.28))),
        local=rng.uniform(0.0 if varied else 0.1, 0.6),
        equalize=rng.uniform(0.0, 1.0) if varied else rng.uniform(0.1, 0.9),
        detail=rng.uniform(0.0, 1.8),
    )
    # size of the whole field relative to the window; little: more would cut off apices or ribs
    zoom = rng.uniform(1.0, 1.12) if varied and rng.random() < 0.6 else 1.0
    faint = varied and rng.random() < 0.4
    return Look(
        exposure=exposure,
        zoom=zoom,
        noise=rng.uniform(0.002, 0.012),  # standard deviation of the line integral at full light
        blur=rng.uniform(0.2, 1.0),  # of the detector, in mm
        down=rng.uniform(0.3, 0.7),  # position of the window, 0 (upper left) to 1
        right=rng.uniform(0.3, 0.7),
        collimation=tuple(cut.tolist()),  # share that is cut at top, bottom, left, right
        black=rng.uniform(0, 0.35) * faint,  # gray levels that the image is squeezed between
        white=1 - rng.uniform(0, 0.4) * faint,
        texture=rng.uniform(0, 0.025 if varied else 0.01),  # relative unevenness of soft tissue
        # largest line integral of shadows in the lungs, as of infiltrates or fluid
        haze=rng.uniform(0.1, 0.9) * (varied and rng.random() < 0.3),
        # how much denser the left edge looks than the right one: the tube stands aslant
        fall=rng.normal(0, 0.12 if varied else 0.03),
        marker=bool(rng.random() < 0.35),  # letters in an upper corner
        wires=int(rng.integers(1, 5)) if varied and rng.random() < 0.2 else 0,  # or catheters
    )


def window(look: Look, size: int) -> tuple[int, int, int]:
    """Return the pixels of the whole field, and top and left of the window in it."""
    whole = round(size * look.zoom)
    return whole, round(look.down * (whole - size)), round(look.right * (whole - size))


def opening(look: Look, size: int) -> tuple[slice, slice]:
    """Return rows and columns of an image of `size` pixels that the collimator leaves open."""
    top, bottom, left, right = (round(share * size) for share in look.collimation)
    return slice(top, size - bottom), slice(left, size - right)


def form_image(
    depth: np.ndarray, lung: np.ndarray, look: Look, pixel_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Turn line integrals into an 8-bit image.

    `depth` is (N, N) float, `lung` (N, N) bool: where haze may lie. What is outside the
    collimator's opening is black.
    """
    depth = ndimage.gaussian_filter(depth, look.blur / pixel_mm)
    unevenness = _clouds(rng, depth.shape, 1.0) + _clouds(rng, depth.shape, 2.5)
    depth *= 1 + look.texture * unevenness + look.fall * np.linspace(-1, 1, depth.shape[1])
    spots = np.clip(_clouds(rng, depth.shape, 3.5) + 0.2, 0, 1.5) * (
        1 + 0.4 * _clouds(rng, depth.shape, 0.8)
    )
    if look.haze:
        depth += look.haze * spots * ndimage.gaussian_filter(lung.astype(np.float64), 4 / pixel_mm)
    noise = look.noise * np.exp(0.25 * depth) * rng.standard_normal(depth.shape)
    level = radiograph(np.maximum(depth + noise * (depth > 0.05), 0), look.exposure)
    level = np.maximum(
        look.black + (look.white - look.black) * level, _markers_and_wires(level.shape, look, rng)
    )
    image, lit = np.zeros(level.shape, np.uint8), opening(look, len(level))
    image[lit] = np.rint(level[lit] * 255)
    return image


def _clouds(rng: np.random.Generator, shape: tuple[int, int], coarse: float) -> np.ndarray:
    """Return a smooth random (H, W) field of standard deviation 1.

    `coarse` is its grain in 1/48 of the image.
    """
    field = ndimage.gaussian_filter(rng.standard_normal((48, 48)), coarse, mode="wrap")
    image = Image.fromarray((field / field.std()).astype(np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BICUBIC), np.float64)


def _markers_and_wires(shape: tuple[int, int], look: Look, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W) gray levels of letters and wires on black."""
    height, width = shape
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    for _ in range(look.wires):
        marks = rng.uniform(-0.1, 1.1, (4, 2)) * (width, height)
        u = np.linspace(0, 1, 40)[:, None]
        line = (1 - u) ** 3 * marks[0] + 3 * u * (1 - u) ** 2 * marks[1]
        line += 3 * u**2 * (1 - u) * marks[2] + u**3 * marks[3]
        tone, thick = int(rng.integers(120, 255)), max(1, round(width / 160))
        pen.line([tuple(p) for p in line.tolist()], fill=tone, width=thick)
    letters = str(rng.choice(["L", "R", "Dx", "Sin", "AP"]))
    aside, down = rng.uniform(0.02, 0.3, 2)
    if look.marker:
        left = aside if letters in ("R", "Dx") else 0.92 - aside
        font_size = max(6, round(0.045 * height))
        pen.text((left * width, down * height), letters, fill=255, font_size=font_size)
    return np.asarray(canvas, np.float32) / 255
