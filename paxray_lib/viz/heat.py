"""The heat map of one label: how probable it is at each pixel, by integer rules.

The rules go on from those of `overlay`; the viewer's heat.js repeats them exactly.

1. Enlargement. Probabilities of 0..255, (h, w), become (H, W) numbers of 0..255 * 2 ** 16,
   bilinearly, with half-pixel centres. Along an axis of n values and N pixels, pixel i lies at
   t = (2 i + 1) n - N, held to 0..2 N (n - 1), in parts of 2 N: after value k = t // 2 N comes
   value k + 1 with the weight (t % 2 N) * 256 // 2 N, and value k has what is missing to 256.
2. Colour. A number v counts as p = (v + 2 ** 15) // 2 ** 16. Its colour lies between those of
   `STOPS` on both sides, rounded: five of matplotlib's `plasma`. Where p is below
   `LEAST`, about 1 %, the base stays; elsewhere the colour is filled in by rule 3 of the overlays.
3. Threshold t in hundredths. The label is where v * 100 > t * 255 * 2 ** 16. The outline of the
   target, and over it that of the label, follow rule 4 of the overlays, at least a pixel wide, in
   `TARGET` and `THRESHOLD`.
"""

import numpy as np

from paxray_lib.viz.blending import Planes, draw_outlines, paint, word_of

STOPS = ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33))
THRESHOLD, TARGET = (255, 255, 255), (0, 255, 255)
ONE, LEAST = 255 << 16, 3


def color_table() -> np.ndarray:
    """Return the (256, 3) uint8 colours of rule 2.

    >>> color_table()[[0, 1, 128, 255]].tolist()
    [[13, 8, 135], [15, 8, 136], [204, 72, 120], [240, 249, 33]]
    """
    stops, place = np.array(STOPS), np.arange(256) * (len(STOPS) - 1)
    below = np.minimum(place // 255, len(STOPS) - 2)
    part = (place - 255 * below)[:, None]
    colors = (stops[below] * (255 - part) + stops[below + 1] * part + 127) // 255
    return colors.astype(np.uint8)


def scale() -> dict[str, tuple[int, int, int]]:
    """Return what a legend says: the colours of some probabilities."""
    places = {part: color_table()[part * 255 // 100].tolist() for part in (1, 25, 50, 75, 100)}
    return {f"{part / 100:.2f}": (red, green, blue) for part, (red, green, blue) in places.items()}


def enlarge(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a (h, w) uint8 plane as (H, W) int32 of 0..`ONE`: rule 1."""
    values = plane.astype(np.int32)
    for axis in (0, 1):
        length, count = size[axis], plane.shape[axis]
        place = (2 * np.arange(length) + 1) * count - length
        place = place.clip(0, 2 * length * (count - 1))
        low, part = np.divmod(place, 2 * length)
        weight = (part * 256 // (2 * length)).astype(np.int32)
        weight = weight if axis else weight[:, None]
        high = np.minimum(low + 1, count - 1)
        values = values.take(low, axis) * (256 - weight) + values.take(high, axis) * weight
    return values


def draw_heat(
    canvas: np.ndarray,
    plane: np.ndarray,
    threshold: float,
    target: np.ndarray | None,
    *,
    alpha: int,
    outline: int,
    dashed: bool,
) -> None:
    """Draw a label's probabilities on the (H, W, 3) uint8 canvas.

    Parameters
    ----------
    plane : (h, w) uint8
    threshold : 0..1, in whole hundredths
    target : (H, W) bool, its true mask, or None
    alpha, outline, dashed : as for `overlay.render`
    """
    values = enlarge(plane, (canvas.shape[0], canvas.shape[1]))
    words = word_of(color_table())
    words[:LEAST] = 0
    paint(canvas, words[(values + 2**15) >> 16], alpha)
    found = values.astype(np.int64) * 100 > round(100 * threshold) * ONE
    for mask, color in ((target, TARGET), (found, THRESHOLD)):
        if mask is not None:
            table = np.zeros((1, 256), np.uint64)
            table[0, 1] = word_of(np.array(color))
            planes = Planes(mask[None].astype(np.uint8), table)
            draw_outlines(canvas, planes, max(1, outline), dashed)
