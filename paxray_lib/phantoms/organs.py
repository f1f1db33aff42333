"""Paint the organs of one body on a canvas, from the outside in; each function paints one kind.

Label values are positions in REGIONS and ORGANS, counted from 1.
"""

import numpy as np

from paxray_lib.phantoms.body import Frame, dome_top
from paxray_lib.phantoms.voxels import Canvas, smooth_curve

REGIONS = (
    "lung_right_lobeupper", "lung_right_lobemiddle", "lung_right_lobelower", "lung_left_lobeupper",
    "lung_left_lobelower", "mediastinum_upper", "mediastinum_anterior", "mediastinum_middle", "mediastinum_posterior",
    "hemidiaphragm_right", "hemidiaphragm_left",
)  # fmt: skip
_SIDES, _PARTS = ("left", "right"), ("anterior", "posterior")
ORGANS = (
    "heart", "aorta_ascending", "aorta_arch", "aorta_descending", "airways", "esophagus",
    "lung_right_vessel", "lung_left_vessel",
    *(f"c{i}" for i in range(2, 8)), *(f"t{i}" for i in range(1, 14)), *(f"l{i}" for i in range(1, 7)), "sacrum",
    *(f"rib_{side}_{part}_{i}" for i in range(1, 13) for side in _SIDES for part in _PARTS),
)  # fmt: skip
_R = {name: np.uint8(i + 1) for i, name in enumerate(REGIONS)}
_O = {name: np.uint8(i + 1) for i, name in enumerate(ORGANS)}
REGION_LABELS = {
    int(i): (name, "mediastinum_lower") if name in REGIONS[6:9] else (name,) for name, i in _R.items()
}
ORGAN_VALUES = _O
ORGAN_LABELS = {int(i): (name,) for name, i in _O.items()}
FAT, MUSCLE, SOFT, BLOOD, AIRWAY = -95, 45, 10, 45, -970


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
    axis = frame.axis(z)
    skin = body.fat * np.interp(t, [-40, 20, 120, 330], [0.35, 0.6, 0.8, 1.25])
    for extra, hu in ((skin, FAT), (0 * skin, MUSCLE)):
        outline = muscle_wide + extra, middle, muscle_deep + extra
        np.copyto(
            canvas.hu,
            np.int16(hu),
            where=_superellipses(canvas.y, canvas.x, axis, *outline, power=2.4),
        )
    if body.breast:
        _paint_breasts(canvas, frame)


def _superellipses(y, x, axis, wide, middle, deep, power: float) -> np.ndarray:
    """Return the (Z, Y, X) inside of superellipses with centres (middle, axis), half-axes (deep,
    wide), each (Z,).
    """
    along = np.abs((y[0].T - middle[:, None]) / deep[:, None]) ** power  # (Z, Y)
    # half of the width at each (z, y): a single comparison for each voxel
    half = np.where(along < 1, wide[:, None] * np.clip(1 - along, 0, 1) ** (1 / power), -1)
    aside = np.abs(x[0] - axis[:, None]).astype(np.float32)  # (Z, X)
    return aside[:, None, :] < half.astype(np.float32)[:, :, None]


def _paint_breasts(canvas: Canvas, frame: Frame) -> None:
    body = frame.body
    z, aside = (132 + 0.4 * body.breast) * body.tall, 72 * body.wide
    wide, middle, deep = (
        float(v) for v in frame.cage(np.array(z), margin=body.muscle + 0.7 * body.fat)
    )
    surface = middle - deep * (1 - min(aside / wide, 0.95) ** 2.4) ** (1 / 2.4)
    for side in (-1, 1):
        centre = (z, surface + 10, float(frame.axis(z)) + side * aside)
        box, q = canvas.ellipsoid(
            centre, (body.breast * 1.15, body.breast * 0.34 + 8, body.breast * 1.05)
        )
        canvas.paint(box, (q < 1) & (canvas.hu[box] < FAT), hu=-60)


def paint_chest(canvas: Canvas, frame: Frame) -> None:
    """Paint heart, lungs with lobes, mediastinum and what lies below the diaphragm."""
    body, box = frame.body, _cage_box(canvas, frame)
    z, y, x = canvas.axes(box)
    heights = z[:, 0, 0].astype(float)
    axis = frame.axis(heights)
    hu, regions = canvas.hu[box], canvas.regions[box]
    # the lungs end below the first ribs' top; the cage itself does not move
    # (Z, Y, X)
    cavity = _cavity(frame, heights - body.apex * np.clip(1 - heights / 90, 0, 1), y, x)
    below = z >= frame.dome(y[0], x[0]).astype(np.float32)[None]
    left, under, chest = x > axis[:, None, None], cavity & below, cavity & ~below
    np.copyto(
        regions, np.where(left, _R["hemidiaphragm_left"], _R["hemidiaphragm_right"]), where=under
    )
    np.copyto(hu, np.int16(SOFT + 15), where=under)
    heart = _heart(canvas, frame, box) & chest
    central = (_slab(frame, y, x, heights) | heart) & chest
    lung = chest & ~central
    np.copyto(hu, np.int16(SOFT), where=central)
    np.copyto(hu, np.int16(BLOOD + body.contrast * 0.8), where=heart)
    np.copyto(hu, np.int16(body.lung), where=lung)
    np.copyto(canvas.organs[box], _O["heart"], where=heart)
    _paint_lobes(frame, regions, lung, left, z, y, x)
    behind = (frame.spine(heights)[0] + 4).astype(np.float32)[:, None, None]
    _paint_mediastinum(frame, regions, central & (y < behind), heart, z, y)


def _cage_box(canvas: Canvas, frame: Frame) -> tuple[slice, slice, slice]:
    z = np.linspace(-4, 600, 42) * frame.body.tall
    wide, middle, deep = frame.cage(z)
    axis = frame.axis(z)
    return canvas.box(
        (z[0], (middle - deep).min(), (axis - wide).min()),
        (1e4, (middle + deep).max(), (axis + wide).max()),
    )


def _cavity(frame: Frame, heights: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the (Z, Y, X) inside of the rib cage and of the belly below it."""
    return _superellipses(
        y, x, frame.axis(heights), *frame.cage(heights, margin=-3.0), power=frame.EXPONENT
    )


def _heart(canvas: Canvas, frame: Frame, inside: tuple[slice, slice, slice]) -> np.ndarray:
    """Return the heart, cut to the box `inside`: four ellipsoids; the dome cuts off what is below
    it.
    """
    body, s = frame.body, frame.body.heart_size * frame.body.tall**0.3
    top = heart_top(frame)
    _, middle, deep = (float(v) for v in frame.cage(np.array(top + 60)))
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
    dome = dome_top(body) + 0.25 * body.dome_left
    return dome - (88 + 3 * body.breath) * body.heart_size


def _slab(frame: Frame, y: np.ndarray, x: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return what separates the lungs: wide at the hila, thin behind the sternum, as wide as the
    spine at the back.
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


def _paint_lobes(frame: Frame, regions, lung, left, z, y, x) -> None:
    body = frame.body
    _, middle, deep = (float(v) for v in frame.cage(np.array(130.0)))
    share = (middle + deep - y) / (2 * deep)  # 0 at the back, 1 in front
    bow = 12 * np.sin(np.clip(share, 0, 1) * np.pi)
    outward = np.abs(x - np.float32(frame.axis(130.0))) / 110
    start = (52 + 10 * body.breath) * body.tall
    end = (205 + 14 * body.breath) * body.tall
    oblique = (start + (end - start) * share - bow + 9 * outward).astype(np.float32)
    lower = z > oblique
    middle_lobe = z > np.float32((122 + 8 * body.breath) * body.tall) + 10 * share - 6 * outward
    right_front = np.where(middle_lobe, _R["lung_right_lobemiddle"], _R["lung_right_lobeupper"])
    right = np.where(lower, _R["lung_right_lobelower"], right_front)
    value = np.where(
        left, np.where(lower, _R["lung_left_lobelower"], _R["lung_left_lobeupper"]), right
    )
    np.copyto(regions, value, where=lung)


def _paint_mediastinum(frame: Frame, regions, inside, heart, z, y) -> None:
    """Divide the mediastinum at the disc T4/T5, and below it in front of, around and behind the
    heart.
    """
    split = next(zc + h / 2 for name, zc, h in frame.vertebrae if name == "t4")
    _, middle, deep = (float(v) for v in frame.cage(np.array(heart_top(frame) + 60)))
    back = np.where(y > middle + 0.2 * deep, _R["mediastinum_posterior"], _R["mediastinum_middle"])
    part = np.where(y < middle - 0.62 * deep, _R["mediastinum_anterior"], back)
    part = np.where(heart, _R["mediastinum_middle"], part)
    np.copyto(regions, np.where(z < split, _R["mediastinum_upper"], part), where=inside)


def paint_abdomen(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint liver and the gas of stomach and colon under the domes."""
    body = frame.body
    top = dome_top(body)
    wide, middle, deep = (float(v) for v in frame.cage(np.array(top + 60)))
    box, q = canvas.ellipsoid((top + 62, middle, -0.42 * wide), (75, 1.0 * deep, 0.62 * wide))
    canvas.paint(
        box,
        (q < 1) & (canvas.regions[box] >= _R["hemidiaphragm_right"]),
        hu=60 + 0.3 * body.contrast,
    )
    for centre, semi in _bubbles(frame, rng, top, middle, wide):
        box, q = canvas.ellipsoid(centre, semi)
        q = np.where(canvas.axes(box)[0] > centre[0] + 0.3 * semi[0], 9, q)  # gas stands on fluid
        canvas.paint(box, (q < 1) & (canvas.regions[box] >= _R["hemidiaphragm_right"]), hu=-900)


def _bubbles(
    frame: Frame, rng: np.random.Generator, top: float, middle: float, wide: float
) -> list:
    """Return (centre, semi-axes) of gas: mostly one under the left dome, and some in the bowel."""
    body, found = frame.body, []
    if rng.random() < 0.8:
        semi = np.array((rng.uniform(8, 24), rng.uniform(20, 40), rng.uniform(14, 46)))
        place = top + body.dome_left + rng.uniform(4, 22) + semi[0]
        found.append(((place, middle + rng.uniform(-20, 15), wide * rng.uniform(0.28, 0.55)), semi))
    for _ in range(int(9 * body.gas**2)):
        place = (
            top + rng.uniform(50, 210),
            middle - rng.uniform(10, 60),
            wide * rng.uniform(-0.7, 0.75),
        )
        found.append((place, np.array((12, 12, 20)) * rng.uniform(0.4, 1.5, 3)))
    return found


def paint_tubes(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint vena cava, pulmonary trunk, aorta, esophagus, trachea and bronchi."""
    wobble = rng.normal(0, 3, 4)
    _paint_great_vessels(canvas, frame)
    _paint_aorta(canvas, frame)
    t, w = frame.body.tall, wobble
    esophagus = [
        (-60 * t, 12, -1),
        (20 * t, 14, 3),
        (100 * t, 18, 3 + w[0]),
        (170 * t, 22, 3 + w[1]),
        (255 * t - 20, 34, 14),
    ]
    _draw(canvas, _before_spine(frame, esophagus), (5.5, 6.5, 7.5), 15, _O["esophagus"])
    _paint_airways(canvas, frame, wobble[2:])


def _before_spine(frame: Frame, places) -> np.ndarray:
    """Return (N, 3) points in mm from (z, mm in front of the vertebral bodies' centres, mm left of
    the midline).
    """
    z, forward, aside = np.asarray(places, float).T
    return np.stack([z, frame.spine(z)[0] - forward, frame.axis(z) + aside], 1)


def _draw(
    canvas: Canvas,
    control: np.ndarray,
    radii: tuple[float, ...],
    hu: float,
    organ: int | None = None,
) -> None:
    points = smooth_curve(control, 0.7 * canvas.voxel)
    radius = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(radii)), radii)
    canvas.paint_flat(canvas.tube(points, radius)[0], hu, organ)


def _paint_great_vessels(canvas: Canvas, frame: Frame) -> None:
    body, t, top = frame.body, frame.body.tall, heart_top(frame)
    blood = BLOOD + body.contrast
    cava = [(20 * t, 30, -24), (60 * t, 34, -25), (max(top + 20, 100 * t), 42, -24)]
    trunk = [(top + 30, 52, 14), (108 * t, 44, 24), (104 * t, 30, 34)]
    right_artery = [(110 * t, 32, 12), (116 * t, 28, -20), (120 * t, 24, -36)]
    for places, radii in ((cava, (8, 10)), (trunk, (14, 11)), (right_artery, (10, 9))):
        _draw(canvas, _before_spine(frame, places), radii, blood)


def _paint_aorta(canvas: Canvas, frame: Frame) -> None:
    body, t, r, bulge = frame.body, frame.body.tall, frame.body.aorta, frame.body.unfold
    root, arch = heart_top(frame) + 26, 63 * t
    up = [(root, 50, 3), ((root + arch) / 2 + 8, 54, -11), (arch + 22, 52, -12)]
    over = [
        up[-1], (arch + 4, 42, -5), (arch, 26, 9 + 0.5 * bulge), (arch + 8, 12, 21 + bulge), (arch + 24, 6, 23 + bulge)
    ]  # fmt: skip
    down = [
        over[-1],
        (130 * t, 12, 20 + 0.9 * bulge),
        (190 * t, 20, 16 + 0.6 * bulge),
        (250 * t, 26, 8),
    ]
    down += [(320 * t, 28, 4), (420 * t, 28, 2)]
    for places, radii, part in (
        (up, (1.12 * r, 1.05 * r), "ascending"),
        (over, (1.05 * r, 0.92 * r), "arch"),
        (down, (0.92 * r, 0.8 * r, 0.68 * r), "descending"),
    ):
        _draw(
            canvas, _before_spine(frame, places), radii, BLOOD + body.contrast, _O[f"aorta_{part}"]
        )


def _paint_airways(canvas: Canvas, frame: Frame, wobble: np.ndarray) -> None:
    t, carina = frame.body.tall, 88 * frame.body.tall
    trachea = [(-75 * t, 30, 0), (20 * t, 29, 0.7 * wobble[0]), (carina, 32, 2 + 0.4 * wobble[1])]
    right = [(carina - 2, 32, 1), (carina + 16 * t, 30, -18), (carina + 34 * t, 26, -37)]
    left = [(carina - 2, 32, 3), (carina + 18 * t, 28, 24), (carina + 32 * t, 24, 46)]
    for places, radii in ((trachea, (8.5, 8.2)), (right, (7.2, 5.6)), (left, (7.2, 5.6))):
        _draw(canvas, _before_spine(frame, places), radii, AIRWAY, _O["airways"])
    for start, side in ((right[-1], -1), (left[-1], 1)):
        hilum = _before_spine(frame, [start])[0]
        for branch in ((38, 14, 14), (-28, -4, 16), (24, -34, 22), (20, 30, 12)):
            end = hilum + branch * np.array((1, 1, side))
            _draw(
                canvas,
                np.stack([hilum, (hilum + end) / 2 + (0, 0, 1.5 * side), end]),
                (4.2, 2.2),
                AIRWAY,
                _O["airways"],
            )


def paint_vessels(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint branching vessels in both lungs, each clipped to its own."""
    t, lung = frame.body.tall, frame.body.lung
    contrast = BLOOD + frame.body.contrast - lung
    for side, word in ((-1, "right"), (1, "left")):
        organ, lobes = (
            _O[f"lung_{word}_vessel"],
            [_R[f"lung_{word}_lobe{part}"] for part in ("upper", "lower")],
        )
        hilum = _before_spine(frame, [(112 * t - 4 * side, 26, side * 33)])[0]
        points, radius = vessel_tree(frame, rng, hilum, side, 0.7 * canvas.voxel)
        flat, share = canvas.beads(points, radius)
        regions = canvas.regions.reshape(-1)[flat]
        inside = (regions >= lobes[0]) & (regions <= lobes[1])
        canvas.paint_flat(flat[inside], (lung + contrast * share[inside]).astype(np.int16), organ)


# where the first branches of a lung lead: z, share of the half-depth, share of the half-width
_VESSEL_GOALS = (
    (10, 0.1, 0.5), (45, 0.5, 0.75), (60, -0.5, 0.8), (110, -0.75, 0.75), (115, 0.6, 0.85), (150, -0.6, 0.6),
    (165, 0.1, 0.85), (200, 0.75, 0.6), (215, 0.4, 0.75), (190, 0.6, 0.35), (165, -0.2, 0.35),
)  # fmt: skip


def vessel_tree(
    frame: Frame, rng: np.random.Generator, hilum: np.ndarray, side: int, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) points and (N,) radii in mm of a random tree of vessels that fills one lung.

    `step` is how far apart the points are; the tree itself does not depend on it.
    """
    points, radii, stack = [], [], []
    wide, middle, deep = (float(v) for v in frame.cage(np.array(140.0)))
    for z, back, out in _VESSEL_GOALS:
        goal = np.array(
            (
                z * frame.body.tall + 6,
                middle + back * deep,
                float(frame.axis(z)) + side * out * wide,
            )
        )
        stack.append((hilum + rng.normal(0, 3, 3), goal - hilum, rng.uniform(2.8, 4.6), 0))
    while stack:
        start, direction, radius, level = stack.pop()
        length = np.linalg.norm(direction) * (1.0 if level else 0.5) * rng.uniform(0.8, 1.15)
        end = start + direction / np.linalg.norm(direction) * length
        middle_point = (start + end) / 2 + rng.normal(0, 0.07, 3) * length
        u = np.linspace(0, 1, max(3, int(length / max(step, 0.35 * radius))))[:, None]
        points.append((1 - u) ** 2 * start + 2 * u * (1 - u) * middle_point + u**2 * end)
        radii.append(radius * (1 - 0.3 * u[:, 0]))
        if level < 5 and radius > 0.45:
            stack += _branches(rng, middle_point, end, direction, length, radius, level)
    return np.concatenate(points), np.concatenate(radii)


def _branches(
    rng: np.random.Generator, middle_point, end, direction, length: float, radius: float, level: int
) -> list:
    found, reach = [], np.linalg.norm(direction)
    shares = [rng.uniform(0.62, 0.85), rng.uniform(0.5, 0.75), rng.uniform(0.4, 0.6)]
    for share in shares if level < 3 else shares[:2]:
        turned = direction / reach + rng.normal(0, 0.42, 3)
        size = length * rng.uniform(0.62, 0.95) if level else reach * rng.uniform(0.35, 0.55)
        start = end if share > 0.6 else (middle_point + end) / 2
        found.append(
            (start, turned / np.linalg.norm(turned) * size, radius * 0.66 * share**0.4, level + 1)
        )
    return found
