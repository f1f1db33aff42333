"""Paint chest and abdomen of one body on a canvas, from the outside in.

Sizes, in mm, are chosen by eye, as in `body`.
"""

import numpy as np

from paxray_lib.phantoms.body import Frame, dome_top
from paxray_lib.phantoms.voxels import BLOOD, FAT, MUSCLE, SOFT, VALUES, Canvas
from paxray_lib.projection.rays import Box


def paint_body(canvas: Canvas, frame: Frame) -> None:
    """Paint fat, muscle and neck: superellipses around the cage, growing into the shoulders."""
    body, z = frame.body, canvas.z[:, 0, 0].astype(float)
    wide, middle, deep = frame.cage(z)
    t = z / body.tall
    shoulder = (
        np.interp(t, [-45, -20, 5, 25, 60, 100, 140, 190, 240], [0, 25, 75, 96, 72, 42, 24, 8, 0])
        * body.wide
    )
    neck = np.clip((t + 45) / 45, 0, 1)  # 0 in the neck, 1 in the chest
    muscle_wide = (
        np.where(t < 0, 48 + neck * (wide - 48 + body.muscle), wide + body.muscle) + shoulder * 0.8
    )
    thicker = np.interp(t, [-25, 5, 60, 120], [0, 20, 12, 2])  # shoulder blades and their muscles
    muscle_deep = 50 + neck * (deep + body.muscle - 50) + thicker
    thicker = thicker + body.back / 2
    middle = middle + (1 - neck) * -4 + np.interp(t, [40, 140, 260], [4, 6, 8]) + 0.8 * thicker
    skin = body.fat * np.interp(t, [-40, 20, 120, 330], [0.35, 0.6, 0.8, 1.25])
    for extra, hu in ((skin, FAT), (0 * skin, MUSCLE)):
        outline = muscle_wide + extra, middle, muscle_deep + extra
        inside = _superellipses(canvas.y, canvas.x, frame.axis(z), outline, power=2.4)
        np.copyto(canvas.hu, np.int16(hu), where=inside)
    if body.breast:
        height, aside = (132 + 0.4 * body.breast) * body.tall, 72 * body.wide
        width, centre, depth = frame.cage_at(height, margin=body.muscle + 0.7 * body.fat)
        surface = centre - depth * (1 - min(aside / width, 0.95) ** 2.4) ** (1 / 2.4)
        semi = (body.breast * 1.15, body.breast * 0.34 + 8, body.breast * 1.05)
        for side in (-1, 1):
            x = float(frame.axis(height)) + side * aside
            box, q = canvas.ellipsoid((height, surface + 10, x), semi)
            np.copyto(canvas.hu[box], np.int16(-60), where=(q < 1) & (canvas.hu[box] < FAT))


def _superellipses(
    y: np.ndarray,
    x: np.ndarray,
    axis: np.ndarray,
    cage: tuple[np.ndarray, np.ndarray, np.ndarray],
    power: float,
) -> np.ndarray:
    """Return the (Z, Y, X) inside of superellipses.

    Each (Z,), the centres are (middle, axis) and the half-axes (deep, wide).
    """
    wide, middle, deep = cage
    along = np.abs((y[0].T - middle[:, None]) / deep[:, None]) ** power  # (Z, Y)
    # half of the width at each (z, y): a single comparison per voxel
    half = np.where(along < 1, wide[:, None] * np.clip(1 - along, 0, 1) ** (1 / power), -1)
    aside = np.abs(x[0] - axis[:, None]).astype(np.float32)  # (Z, X)
    return aside[:, None, :] < half.astype(np.float32)[:, :, None]


def paint_chest(canvas: Canvas, frame: Frame) -> None:
    """Paint heart, lungs with lobes, mediastinum and what lies below the diaphragm."""
    body, box = frame.body, _cage_box(canvas, frame)
    z, y, x = canvas.axes(box)
    heights = z[:, 0, 0].astype(float)
    axis = frame.axis(heights)
    hu, regions = canvas.hu[box], canvas.regions[box]
    # the lungs end below the first ribs' top; the cage itself does not move
    lowered = heights - body.apex * np.clip(1 - heights / 90, 0, 1)
    inner = frame.cage(lowered, margin=-3.0)
    cavity = _superellipses(y, x, frame.axis(lowered), inner, frame.EXPONENT)  # (Z, Y, X)
    below = z >= frame.dome(y[0], x[0]).astype(np.float32)[None]
    left, under, chest = x > axis[:, None, None], cavity & below, cavity & ~below
    np.copyto(
        regions,
        np.where(left, VALUES["hemidiaphragm_left"], VALUES["hemidiaphragm_right"]),
        where=under,
    )
    np.copyto(hu, np.int16(SOFT + 15), where=under)
    heart = _heart(canvas, frame, box) & chest
    central = (_slab(frame, y, x, heights) | heart) & chest
    lung = chest & ~central
    np.copyto(hu, np.int16(SOFT), where=central)
    np.copyto(hu, np.int16(BLOOD + body.contrast * 0.8), where=heart)
    np.copyto(hu, np.int16(body.lung), where=lung)
    np.copyto(canvas.organs[box], VALUES["heart"], where=heart)
    _paint_lobes(frame, regions, lung, left, (z, y, x))
    behind = (frame.spine(heights)[0] + 4).astype(np.float32)[:, None, None]
    _paint_mediastinum(frame, regions, central & (y < behind), heart, z, y)


def _cage_box(canvas: Canvas, frame: Frame) -> Box:
    z = np.linspace(-4, 600, 42) * frame.body.tall
    wide, middle, deep = frame.cage(z)
    axis = frame.axis(z)
    return canvas.box(
        (z[0], (middle - deep).min(), (axis - wide).min()),
        (1e4, (middle + deep).max(), (axis + wide).max()),
    )


def _heart(canvas: Canvas, frame: Frame, inside: Box) -> np.ndarray:
    """Return the heart, cut to the box `inside`: four ellipsoids."""
    body, s = frame.body, frame.body.heart_size * frame.body.tall**0.3
    top = heart_top(frame)
    _, middle, deep = frame.cage_at(top + 60)
    y0 = middle - 0.22 * deep + 2
    axis = float(frame.axis(top)) + body.heart_shift
    tilt = 0.86 + body.heart_angle - 0.1 * body.breath
    long = np.array([np.cos(tilt), -0.4, np.sin(tilt)])
    long /= np.linalg.norm(long)
    short = np.cross(long, (0.0, 1.0, 0.0))
    short /= np.linalg.norm(short)
    axes = np.stack([long, short, np.cross(long, short)])
    parts = [
        ((top + 56, y0 - 2, axis + 30), np.array((68, 45, 48)) * s, axes),  # ventricles
        ((top + 56, y0 + 6, axis - 11), np.array((46, 38, 31)) * s, np.eye(3)),  # right atrium
        ((top + 25, y0 - 4, axis + 12), np.array((37, 39, 32)) * s, np.eye(3)),  # outflow
        ((top + 34, y0 + 26, axis + 8), np.array((31, 31, 38)) * s, np.eye(3)),  # left atrium
    ]
    out = np.zeros(canvas.shape, bool)
    for centre, semi, rotation in parts:
        box, q = canvas.ellipsoid(centre, semi, rotation)
        out[box] |= q < 1
    return out[inside]


def heart_top(frame: Frame) -> float:
    """Return z of the upper end of the heart; it stands between the domes."""
    body = frame.body
    return dome_top(body) + 0.25 * body.dome_left - (88 + 3 * body.breath) * body.heart_size


def _slab(frame: Frame, y: np.ndarray, x: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return what separates the lungs.

    It is wide at the hila, thin behind the sternum, and as wide as the spine at the back.
    """
    t, axis = heights / frame.body.tall, frame.axis(heights)
    right = frame.body.hila * np.interp(t, [-15, 20, 60, 95, 130, 300], [15, 22, 24, 26, 22, 20])
    left = frame.body.hila * np.interp(
        t, [-15, 20, 50, 75, 105, 130, 300], [15, 21, 22, 24, 29, 22, 19]
    )
    spine_y, spine_x = frame.spine(heights)
    _, middle, deep = frame.cage(heights)
    front = (middle - deep).astype(np.float32)[:, None]
    # (Z, Y): 0 at the sternum, 1 at the spine
    share = (y[0].T - front) / (spine_y[:, None] - front)
    marks = [0.0, 0.12, 0.3, 0.5, 0.8, 0.95, 1.3]
    factor = np.interp(share, marks, [0.6, 0.16, 0.4, 0.9, 1.0, 0.9, 1.0])
    # below the hila the right lung reaches behind the heart, in front of the spine
    recess = 1 - 0.55 * np.clip((t - 110) / 30, 0, 1)[:, None] * np.interp(
        share, [0.6, 0.75, 0.9, 1.0], [0, 1, 1, 0]
    )
    # follows the spine at the back
    lean = np.clip(share, 0, 1) * (spine_x - axis)[:, None] + axis[:, None]
    low = (lean - right[:, None] * factor * recess).astype(np.float32)[:, :, None]
    high = (lean + left[:, None] * factor).astype(np.float32)[:, :, None]
    return (x > low) & (x < high)


def _paint_lobes(
    frame: Frame,
    regions: np.ndarray,
    lung: np.ndarray,
    left: np.ndarray,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    body, (z, y, x) = frame.body, axes
    _, middle, deep = frame.cage_at(130.0)
    share = (middle + deep - y) / (2 * deep)  # 0 at the back, 1 in front
    bow = 12 * np.sin(np.clip(share, 0, 1) * np.pi)
    outward = np.abs(x - np.float32(frame.axis(130.0))) / 110
    start = (52 + 10 * body.breath) * body.tall
    end = (205 + 14 * body.breath) * body.tall
    oblique = (start + (end - start) * share - bow + 9 * outward).astype(np.float32)
    lower = z > oblique
    middle_lobe = z > np.float32((122 + 8 * body.breath) * body.tall) + 10 * share - 6 * outward
    names = ("left_lobelower", "left_lobeupper", "right_lobelower", "right_lobemiddle")
    value = np.select(
        [left & lower, left, lower, middle_lobe],
        [VALUES[f"lung_{name}"] for name in names],
        VALUES["lung_right_lobeupper"],
    )
    np.copyto(regions, value, where=lung)


def _paint_mediastinum(
    frame: Frame,
    regions: np.ndarray,
    inside: np.ndarray,
    heart: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
) -> None:
    """Divide the mediastinum at the disc T4/T5, and below it at the heart."""
    split = next(zc + h / 2 for name, zc, h in frame.vertebrae if name == "t4")
    _, middle, deep = frame.cage_at(heart_top(frame) + 60)
    part = np.select(
        [z < split, heart, y < middle - 0.62 * deep, y > middle + 0.2 * deep],
        [VALUES[f"mediastinum_{name}"] for name in ("upper", "middle", "anterior", "posterior")],
        VALUES["mediastinum_middle"],
    )
    np.copyto(regions, part, where=inside)


def paint_abdomen(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint liver and the gas of stomach and colon under the domes."""
    body, top = frame.body, dome_top(frame.body)
    wide, middle, deep = frame.cage_at(top + 60)
    # centre, semi-axes, HU, and how far down it reaches, in semi-axes: gas stands on fluid
    liver = (top + 62, middle, -0.42 * wide), np.array((75, deep, 0.62 * wide))
    organs = [(*liver, 60 + 0.3 * body.contrast, np.inf)]
    if rng.random() < 0.8:  # mostly a bubble under the left dome, and some in the bowel
        semi = np.array((rng.uniform(8, 24), rng.uniform(20, 40), rng.uniform(14, 46)))
        z = top + body.dome_left + rng.uniform(4, 22) + float(semi[0])
        centre = (z, middle + rng.uniform(-20, 15), wide * rng.uniform(0.28, 0.55))
        organs.append((centre, semi, -900, 0.3))
    for _ in range(int(9 * body.gas**2)):
        z, y = top + rng.uniform(50, 210), middle - rng.uniform(10, 60)
        centre = (z, y, wide * rng.uniform(-0.7, 0.75))
        organs.append((centre, np.array((12, 12, 20)) * rng.uniform(0.4, 1.5, 3), -900, 0.3))
    for centre, semi, hu, reach in organs:
        box, q = canvas.ellipsoid(centre, semi)
        inside = (q < 1) & (canvas.axes(box)[0] <= centre[0] + reach * semi[0])
        inside &= canvas.regions[box] >= VALUES["hemidiaphragm_right"]
        np.copyto(canvas.hu[box], np.int16(hu), where=inside)
