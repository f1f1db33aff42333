"""Paint the organs of one body on a canvas, from the outside in; each function paints one kind.

Label values are positions in REGIONS and ORGANS, counted from 1.
"""

import numpy as np

from paxray_lib.anatomy import Body, Frame, dome_top
from paxray_lib.canvas import Canvas, smooth_curve

REGIONS = (
    "lung_right_lobeupper", "lung_right_lobemiddle", "lung_right_lobelower", "lung_left_lobeupper", "lung_left_lobelower",
    "mediastinum_upper", "mediastinum_anterior", "mediastinum_middle", "mediastinum_posterior", "hemidiaphragm_right", "hemidiaphragm_left",
)  # fmt: skip
ORGANS = (
    "heart", "aorta_ascending", "aorta_arch", "aorta_descending", "airways", "esophagus", "lung_right_vessel", "lung_left_vessel",
    *(f"c{i}" for i in range(2, 8)), *(f"t{i}" for i in range(1, 14)), *(f"l{i}" for i in range(1, 7)), "sacrum",
    *(f"rib_{side}_{part}_{i}" for i in range(1, 13) for side in ("left", "right") for part in ("anterior", "posterior")),
)  # fmt: skip
_R = {name: np.uint8(i + 1) for i, name in enumerate(REGIONS)}
_O = {name: np.uint8(i + 1) for i, name in enumerate(ORGANS)}
REGION_LABELS = {int(i): (name, "mediastinum_lower") if name in REGIONS[6:9] else name for name, i in _R.items()}
ORGAN_LABELS = {int(i): name for name, i in _O.items()}
FAT, MUSCLE, SOFT, BLOOD = -95, 45, 10, 45


def paint_body(canvas: Canvas, frame: Frame) -> None:
    """Paint fat, muscle and neck: superellipses around the cage, growing into the shoulders."""
    body, z = frame.body, canvas.z[:, 0, 0].astype(float)
    wide, middle, deep = frame.cage(z)
    t = z / body.tall
    shoulder = np.interp(t, [-45, -20, 5, 25, 60, 100, 130], [0, 25, 75, 92, 62, 18, 0]) * body.wide
    neck = np.clip((t + 45) / 45, 0, 1)  # 0 in the neck, 1 in the chest
    muscle_wide = np.where(t < 0, 48 + neck * (wide - 48 + body.muscle), wide + body.muscle) + shoulder * 0.8
    thicker = np.interp(t, [-25, 5, 60, 120], [0, 20, 12, 2])  # shoulder blades and their muscles
    muscle_deep = 50 + neck * (deep + body.muscle - 50) + thicker
    middle = middle + (1 - neck) * -4 + np.interp(t, [40, 140, 260], [4, 6, 8]) + 0.8 * thicker
    axis = frame.axis(z)
    skin = body.fat * np.interp(t, [-40, 20, 120, 330], [0.35, 0.6, 0.8, 1.25])
    power = np.float32(2.4)
    for extra, hu in ((skin, FAT), (0 * skin, MUSCLE)):
        across = np.abs((canvas.x[0] - axis[:, None]) / (muscle_wide + extra)[:, None]) ** power  # (Z, X)
        along = np.abs((canvas.y[0].T - middle[:, None]) / (muscle_deep + extra)[:, None]) ** power  # (Z, Y)
        inside = across.astype(np.float32)[:, None, :] + along.astype(np.float32)[:, :, None] < 1
        np.copyto(canvas.hu, np.int16(hu), where=inside)
    if body.breast:
        _paint_breasts(canvas, frame)


def _paint_breasts(canvas: Canvas, frame: Frame) -> None:
    body = frame.body
    z, aside = (132 + 0.4 * body.breast) * body.tall, 72 * body.wide
    wide, middle, deep = (float(v) for v in frame.cage(np.array(z), margin=body.muscle + 0.7 * body.fat))
    surface = middle - deep * (1 - min(aside / wide, 0.95) ** 2.4) ** (1 / 2.4)
    for side in (-1, 1):
        centre = (z, surface + 10, float(frame.axis(z)) + side * aside)
        box, q = canvas.ellipsoid(centre, (body.breast * 1.15, body.breast * 0.34 + 8, body.breast * 1.05))
        canvas.paint(box, (q < 1) & (canvas.hu[box] < FAT), hu=-60)


def paint_chest(canvas: Canvas, frame: Frame) -> None:
    """Paint heart, lungs with lobes, mediastinum and what lies below the diaphragm."""
    body = frame.body
    limits = np.linspace(-4, 600, 42) * body.tall
    wide, middle, deep = frame.cage(limits)
    axis = frame.axis(limits)
    box = canvas.box((limits[0], (middle - deep).min(), (axis - wide).min()), (1e4, (middle + deep).max(), (axis + wide).max()))
    z, y, x = canvas.axes(box)
    heights = z[:, 0, 0].astype(float)
    wide, middle, deep = frame.cage(heights, margin=-3.0)
    axis = frame.axis(heights)
    power = np.float32(frame.EXPONENT)
    across = np.abs((x[0] - axis[:, None]) / wide[:, None]).astype(np.float32) ** power  # (Z, X)
    along = np.abs((y[0].T - middle[:, None]) / deep[:, None]).astype(np.float32) ** power  # (Z, Y)
    cavity = across[:, None, :] + along[:, :, None] < 1  # (Z, Y, X)
    below = z >= frame.dome(y[0], x[0]).astype(np.float32)[None]
    hu, regions = canvas.hu[box], canvas.regions[box]
    left = x > axis[:, None, None]
    under = cavity & below
    np.copyto(regions, np.where(left, _R["hemidiaphragm_left"], _R["hemidiaphragm_right"]), where=under)
    np.copyto(hu, np.int16(SOFT + 15), where=under)
    chest = cavity & ~below
    heart = _heart(canvas, frame, box) & chest
    central = _slab(frame, z, y, x, heights, axis) | heart
    np.copyto(hu, np.int16(BLOOD + body.contrast * 0.8), where=heart)
    np.copyto(canvas.organs[box], _O["heart"], where=heart)
    lung = chest & ~central
    np.copyto(hu, np.int16(body.lung), where=lung)
    _lobes(frame, regions, lung, left, z, y, x)
    spine_y = (frame.spine(heights)[0] + 4).astype(np.float32)[:, None, None]
    _mediastinum(frame, regions, chest & central & (y < spine_y), heart, z, y)
    np.copyto(hu, np.int16(SOFT), where=chest & central & ~heart)


def _heart(canvas: Canvas, frame: Frame, inside: tuple[slice, slice, slice]) -> np.ndarray:
    """Return the heart as a bool array of the box `inside`: an oblique left ventricle, an upright right atrium, a base."""
    body, s = frame.body, frame.body.heart_size * frame.body.tall**0.3
    top = heart_top(frame)
    _, middle, deep = (float(v) for v in frame.cage(np.array(top + 60)))
    y0 = middle - 0.22 * deep + 2
    axis = float(frame.axis(top)) + body.heart_shift
    tilt = 0.62 + body.heart_angle - 0.12 * body.breath
    long = np.array([np.sin(tilt), -0.45, np.cos(tilt)])
    long /= np.linalg.norm(long)
    short = np.cross(long, (0.0, 1.0, 0.0))
    short /= np.linalg.norm(short)
    axes = np.stack([long, short, np.cross(long, short)])
    parts = [
        ((top + 56, y0 - 2, axis + 27), np.array((67, 45, 43)) * s, axes),
        ((top + 52, y0 + 6, axis - 11), np.array((48, 38, 31)) * s, np.eye(3)),
        ((top + 24, y0 + 2, axis + 10), np.array((36, 34, 34)) * s, np.eye(3)),
    ]
    out = np.zeros(canvas.shape, bool)
    for centre, semi, rotation in parts:
        box, q = canvas.ellipsoid(centre, semi, rotation)
        out[box] |= q < 1
    return out[inside]


def heart_top(frame: Frame) -> float:
    """Return z of the upper end of the heart; it stands on the left dome."""
    body = frame.body
    dome = dome_top(body) + 0.6 * body.dome_left
    return dome - (83 + 10 * body.breath) * body.heart_size


def _slab(frame: Frame, z, y, x, heights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return what separates the lungs: wide at the hila, thin behind the sternum, as wide as the spine at the back."""
    t = heights / frame.body.tall
    right = np.interp(t, [-15, 20, 60, 95, 130, 300], [15, 22, 24, 26, 22, 20])
    left = np.interp(t, [-15, 20, 50, 75, 105, 130, 300], [15, 21, 22, 24, 29, 22, 19])
    spine_y, spine_x = frame.spine(heights)
    _, middle, deep = frame.cage(heights)
    front = (middle - deep).astype(np.float32)[:, None]
    share = (y[0].T - front) / (spine_y[:, None] - front)  # (Z, Y): 0 at the sternum, 1 at the spine
    marks = [0.0, 0.12, 0.3, 0.5, 0.8, 0.95, 1.3]
    factor = np.interp(share, marks, [0.6, 0.16, 0.4, 0.9, 1.0, 0.9, 1.0])
    # below the hila the right lung reaches behind the heart, in front of the spine
    recess = 1 - 0.55 * np.clip((t - 110) / 30, 0, 1)[:, None] * np.interp(share, [0.6, 0.75, 0.9, 1.0], [0, 1, 1, 0])
    lean = np.clip(share, 0, 1) * (spine_x - axis)[:, None] + axis[:, None]  # follows the spine at the back
    low = (lean - right[:, None] * factor * recess).astype(np.float32)[:, :, None]
    high = (lean + left[:, None] * factor).astype(np.float32)[:, :, None]
    return (x > low) & (x < high)


def _lobes(frame: Frame, regions, lung, left, z, y, x) -> None:
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
    value = np.where(
        left,
        np.where(lower, _R["lung_left_lobelower"], _R["lung_left_lobeupper"]),
        np.where(lower, _R["lung_right_lobelower"], np.where(middle_lobe, _R["lung_right_lobemiddle"], _R["lung_right_lobeupper"])),
    )
    np.copyto(regions, value, where=lung)


def _mediastinum(frame: Frame, regions, inside, heart, z, y) -> None:
    split = next(zc + h / 2 for name, zc, h in frame.vertebrae if name == "t4")
    top = heart_top(frame)
    _, middle, deep = (float(v) for v in frame.cage(np.array(top + 60)))
    front, back = middle - 0.62 * deep, middle + 0.2 * deep
    part = np.where(y < front, _R["mediastinum_anterior"], np.where(y > back, _R["mediastinum_posterior"], _R["mediastinum_middle"]))
    value = np.where(z < split, _R["mediastinum_upper"], part)
    value = np.where(heart & (z >= split), _R["mediastinum_middle"], value)
    np.copyto(regions, value, where=inside)


def paint_abdomen(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint liver and the gas of stomach and colon under the domes."""
    body = frame.body
    top = dome_top(body)
    wide, middle, deep = (float(v) for v in frame.cage(np.array(top + 60)))
    box, q = canvas.ellipsoid((top + 62, middle, -0.42 * wide), (75, 1.0 * deep, 0.62 * wide))
    canvas.paint(box, (q < 1) & (canvas.regions[box] >= _R["hemidiaphragm_right"]), hu=60 + 0.3 * body.contrast)
    bubbles = [((top + body.dome_left + rng.uniform(20, 34), middle + rng.uniform(-20, 15), 0.42 * wide), (10, 24, 30))]
    bubbles += [
        ((top + rng.uniform(60, 200), middle - rng.uniform(10, 60), wide * rng.uniform(0.1, 0.75)), (12, 12, 20))
        for _ in range(int(7 * body.gas**2))
    ]
    for centre, semi in bubbles:
        scale = rng.uniform(0.3, 1.1)
        box, q = canvas.ellipsoid(centre, np.asarray(semi) * scale)
        canvas.paint(box, (q < 1) & (canvas.regions[box] >= _R["hemidiaphragm_right"]), hu=-900)


def paint_tubes(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint aorta, pulmonary trunk, vena cava, esophagus, trachea and main bronchi."""
    body, step = frame.body, 0.7 * canvas.voxel
    t = body.tall
    top = heart_top(frame)

    def at(z, forward, aside):
        ys, _ = frame.spine(np.array(z))
        return z, float(ys) - forward, float(frame.axis(z)) + aside

    def draw(control, radius, hu, organ=None):
        points = smooth_curve(control, step)
        radius = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(radius)), radius)
        flat, q, _ = canvas.tube(points, radius)
        canvas.paint_flat(flat, hu, organ)
        return flat, q

    blood = BLOOD + body.contrast
    r, bulge = body.aorta, body.unfold
    bottom = 420 * t
    draw([at(20 * t, 30, -24), at(60 * t, 34, -25), at(max(top + 20, 100 * t), 42, -24)], [8, 10], blood)
    draw([at(top + 30, 52, 14), at(108 * t, 44, 24), at(104 * t, 30, 34)], [14, 11], blood)  # pulmonary trunk
    draw([at(110 * t, 32, 12), at(116 * t, 28, -20), at(120 * t, 24, -36)], [10, 9], blood)
    arch = 63 * t
    ascending = [at(top + 26, 50, 3), at((top + 26 + arch) / 2 + 8, 54, -11), at(arch + 22, 52, -12)]
    over = [ascending[-1], at(arch + 4, 42, -5), at(arch, 26, 9 + 0.5 * bulge), at(arch + 8, 12, 21 + bulge), at(arch + 24, 6, 23 + bulge)]
    down = [over[-1], at(130 * t, 12, 20 + 0.9 * bulge), at(190 * t, 20, 16 + 0.6 * bulge), at(250 * t, 26, 8), at(320 * t, 28, 4), at(bottom, 28, 2)]
    hiatus = 255 * t
    for control, radius, organ in ((ascending, [1.12 * r, 1.05 * r], "aorta_ascending"), (over, [1.05 * r, 0.92 * r], "aorta_arch"), (down, [0.92 * r, 0.8 * r, 0.68 * r], "aorta_descending")):
        draw(control, radius, blood, _O[organ])
    wobble = rng.normal(0, 3, 4)
    draw(
        [at(-60 * t, 12, -1), at(20 * t, 14, 3), at(100 * t, 18, 3 + wobble[0]), at(170 * t, 22, 3 + wobble[1]), at(hiatus - 20 * t, 34, 14)],
        [5.5, 6.5, 7.5], 15, _O["esophagus"],
    )  # fmt: skip
    carina = 88 * t
    air, organ = AIR_HU, _O["airways"]
    draw([at(-75 * t, 30, 0), at(20 * t, 29, wobble[2] * 0.7), at(carina, 32, 2 + wobble[3] * 0.4)], [8.5, 8.2], air, organ)
    right = [at(carina - 2, 32, 1), at(carina + 16 * t, 30, -18), at(carina + 34 * t, 26, -37)]
    left = [at(carina - 2, 32, 3), at(carina + 18 * t, 28, 24), at(carina + 32 * t, 24, 46)]
    for control in (right, left):
        draw(control, [7.2, 5.6], air, organ)
    for start, side in ((right[-1], -1), (left[-1], 1)):
        for dz, dy, dx in ((38, 14, 14), (-28, -4, 16), (24, -34, 22), (20, 30, 12)):
            draw([start, (start[0] + dz * 0.5, start[1] + dy * 0.5, start[2] + side * dx * 0.6), (start[0] + dz, start[1] + dy, start[2] + side * dx)], [4.2, 2.2], air, organ)


AIR_HU = -970


def paint_vessels(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint branching vessels in both lungs, clipped to the lungs."""
    t = frame.body.tall
    for side, organ in ((-1, _O["lung_right_vessel"]), (1, _O["lung_left_vessel"])):
        ys = float(frame.spine(np.array(112 * t))[0])
        hilum = np.array((112 * t - 4 * side, ys - 26, float(frame.axis(112 * t)) + side * 33))
        points, radius = _tree(frame, rng, hilum, side, 0.7 * canvas.voxel)
        flat, share = canvas.beads(points, radius)
        regions = canvas.regions.reshape(-1)[flat]
        inside = (regions > 0) & (regions <= _R["lung_left_lobelower"])
        strength = share[inside]
        lung = frame.body.lung
        canvas.paint_flat(flat[inside], (lung + (BLOOD + frame.body.contrast - lung) * strength).astype(np.int16), organ)


def _tree(frame: Frame, rng: np.random.Generator, hilum: np.ndarray, side: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) points and (N,) radii of a random tree that fills one lung."""
    t, points, radii = frame.body.tall, [], []
    wide, middle, deep = (float(v) for v in frame.cage(np.array(140.0)))
    stack = []
    for goal in ((10, 0.1, 0.5), (45, 0.5, 0.75), (60, -0.5, 0.8), (110, -0.75, 0.75), (115, 0.6, 0.85), (150, -0.6, 0.6),
                 (165, 0.1, 0.85), (200, 0.75, 0.6), (215, 0.4, 0.75), (190, 0.6, 0.35), (165, -0.2, 0.35)):
        target = np.array((goal[0] * t + 6, middle + goal[1] * deep, float(frame.axis(goal[0])) + side * goal[2] * wide))
        stack.append((hilum + rng.normal(0, 3, 3), target - hilum, rng.uniform(2.8, 4.6), 0))
    while stack:
        start, direction, radius, level = stack.pop()
        reach = np.linalg.norm(direction)
        length = reach * (0.5 if level == 0 else 1.0) * rng.uniform(0.8, 1.15)
        bend = rng.normal(0, 0.07, 3) * length
        end = start + direction / reach * length
        control = [start, (start + end) / 2 + bend, end]
        u = np.linspace(0, 1, max(3, int(length / max(step, 0.35 * radius))))[:, None]
        points.append((1 - u) ** 2 * control[0] + 2 * u * (1 - u) * control[1] + u**2 * control[2])
        radii.append(radius * (1 - 0.3 * u[:, 0]))
        if level < 5 and radius > 0.45:
            for share in (rng.uniform(0.62, 0.85), rng.uniform(0.5, 0.75), *([rng.uniform(0.4, 0.6)] if level < 3 else [])):
                turned = direction / reach + rng.normal(0, 0.42, 3)
                size = length * rng.uniform(0.62, 0.95) if level else reach * rng.uniform(0.35, 0.55)
                stack.append((end if share > 0.6 else control[1] * 0.5 + end * 0.5, turned / np.linalg.norm(turned) * size, radius * 0.66 * share**0.4, level + 1))
    return np.concatenate(points), np.concatenate(radii)


def paint_spine(canvas: Canvas, frame: Frame) -> None:
    """Paint vertebrae with body, arch, transverse and spinous process; bright cortex around marrow."""
    for name, zc, height in frame.vertebrae:
        if name == "sacrum":
            _paint_sacrum(canvas, frame, zc, height)
        else:
            _paint_vertebra(canvas, frame, name, zc, height)


def _paint_vertebra(canvas: Canvas, frame: Frame, name: str, zc: float, height: float) -> None:
    body = frame.body
    box = canvas.box((zc - height - 25, -1e4, -1e4), (zc + height + 30, 1e4, 1e4))
    yc, xc = (float(v) for v in frame.spine(np.array(zc)))
    box = canvas.box((zc - height, yc - 32, xc - 48), (zc + height + 22, yc + 62, xc + 48))
    z, y, x = (c - np.float32(o) for c, o in zip(canvas.axes(box), (zc, yc, xc), strict=True))
    if 0 in (len(z), y.shape[1], x.shape[2]):
        return
    ys, xs = frame.spine(np.array([zc - 8, zc + 8]))
    # the end plates stand at right angles to the spine
    z = z + np.float32((ys[1] - ys[0]) / 16) * np.clip(y, -25, 25) + np.float32((xs[1] - xs[0]) / 16) * x
    scale = np.float32(height / 22)
    wide, deep = _vertebra_size(name, body)
    radial = (np.abs(x / wide) ** 2.6 + np.abs((y + 1) / deep) ** 2.6) ** (1 / 2.6)
    end = np.abs(z) / np.float32(height * 0.41)
    main = np.maximum(radial * (1 - 0.06 * (1 - np.clip(end, 0, 1) ** 2)) + 0.06 * (1 - np.clip(end, 0, 1)), end)
    arch_r = np.hypot(x / 13, (y - deep - 8) / 11)
    arch = np.maximum(np.abs(arch_r - 1) / 0.3, np.abs(z - 1) / (8 * scale))
    arch = np.where(y > deep - 6, arch, 9)
    spread = {"c": 23, "t": 28, "l": 38}[name[0]] * body.wide
    transverse = np.maximum(np.hypot((y - deep - 6 - 0.22 * np.abs(x)) / 4.2, (z + 1) / (4.2 * scale)), np.abs(x) / spread)
    transverse = np.where(np.abs(x) > 9, transverse, 9)
    slope = {"c": 0.3, "t": 0.75, "l": 0.15}[name[0]]
    length = {"c": 24, "t": 30, "l": 30}[name[0]]
    back = y - deep - 15
    spinous = np.maximum(np.abs(x) / 3.8, np.maximum(np.abs(z - 3 - slope * back) / (7.5 * scale), np.abs(back / (length / 2) - 1)))
    process = np.minimum(np.minimum(arch, transverse), spinous)
    inside = np.minimum(main, process) < 1
    shell = (main > 1 - 3.6 / wide) | (main >= 1)
    hu = np.where(shell, body.cortex * 0.5, body.marrow).astype(np.int16)
    hu = np.where(main >= 1, np.int16(body.cortex * 0.25), hu)
    canvas.hu[box][inside] = hu[inside]
    canvas.organs[box][inside] = _O[name]


def _vertebra_size(name: str, body: Body) -> tuple[float, float]:
    number = int(name[1:])
    if name[0] == "c":
        return 12.0 * body.wide, 9.0 * body.deep**0.5
    if name[0] == "t":
        return np.interp(number, [1, 4, 12], [14.5, 13.5, 20.5]) * body.wide, np.interp(number, [1, 12], [10, 15.5]) * body.deep**0.5
    return np.interp(number, [1, 5], [21, 25.5]) * body.wide, 16.5 * body.deep**0.5


def _paint_sacrum(canvas: Canvas, frame: Frame, zc: float, height: float) -> None:
    body = frame.body
    yc, xc = (float(v) for v in frame.spine(np.array(zc)))
    lean = np.array([0.85, 0.53, 0.0])
    axes = np.stack([lean, np.array([0, 0, 1.0]), np.cross(lean, [0, 0, 1.0])])
    box, q = canvas.ellipsoid((zc, yc + 12, xc), (height * 0.52, 52 * body.wide, 16), axes, power=2.4)
    canvas.paint(box, q < 1, hu=body.cortex * 0.6, organ=_O["sacrum"])
    canvas.paint(box, q < 0.75, hu=body.marrow)


def paint_ribs(canvas: Canvas, frame: Frame) -> None:
    """Paint 24 ribs, flat outwards, with cortex and marrow, in an anterior and a posterior part."""
    body = frame.body
    for number in range(1, 13):
        for side, word in ((-1, "right"), (1, "left")):
            control, cut = frame.rib(number, side)
            points = smooth_curve(control, 0.7 * canvas.voxel)
            u = np.linspace(0, 1, len(points))
            _, middle, _ = frame.cage(points[:, 0])
            outward = np.stack([0 * u, points[:, 1] - middle, points[:, 2] - frame.axis(points[:, 0])], 1)
            if number == 1:
                outward = np.cross(outward, np.gradient(points, axis=0))  # the first rib lies flat
            size = 1.0 if 3 <= number <= 10 else 0.88
            thick = 3.6 * size * (1 - 0.15 * u)
            high = body.rib_height * 6.6 * size * np.interp(u, [0, 0.08, 0.2, 0.8, 1], [0.65, 0.7, 0.95, 1, 1.1])
            flat, q, station = canvas.tube(points, thick, high, outward)
            shell = q > 0.62
            organ = np.where(station < cut * len(points), _O[f"rib_{word}_posterior_{number}"], _O[f"rib_{word}_anterior_{number}"])
            hard = body.cortex * np.interp(station / len(points), [0, 0.06, 0.16], [0.35, 0.5, 1])  # heads and necks are soft
            canvas.paint_flat(flat[shell], hard[shell].astype(np.int16), organ[shell])
            canvas.paint_flat(flat[~shell], body.marrow + 60, organ[~shell])


def paint_girdle(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint sternum, clavicles and scapulae: seen in the image, without labels."""
    body, t, w = frame.body, frame.body.tall, frame.body.wide
    step = 0.7 * canvas.voxel
    z = np.array([26, 60, 110, 165]) * t
    _, middle, deep = frame.cage(z, margin=2)
    control = np.stack([z, middle - deep - 1, frame.axis(z)], 1)
    points = smooth_curve(control, step)
    u = np.linspace(0, 1, len(points))
    flat, q, _ = canvas.tube(points, np.full(len(u), 5.5), np.interp(u, [0, 0.25, 0.35, 0.8, 1], [24, 16, 12, 17, 8]), np.tile([0, -1.0, 0], (len(u), 1)))
    canvas.paint_flat(flat, np.where(q > 0.8, 0.45 * body.cortex, 0.6 * body.marrow).astype(np.int16))
    for side in (-1, 1):
        lift = body.shoulder + rng.normal(0, 3)
        _clavicle(canvas, frame, side, lift, step)
        _scapula(canvas, frame, side, lift, step, t, w)


def _clavicle(canvas: Canvas, frame: Frame, side: int, lift: float, step: float) -> None:
    body, t, w = frame.body, frame.body.tall, frame.body.wide
    front = float(frame.cage(np.array(26 * t))[1] - frame.cage(np.array(26 * t))[2])
    axis = float(frame.axis(26 * t))
    control = [(26 * t, front - 6, axis + side * 14), (20 * t - 0.3 * lift, front - 2, axis + side * 48 * w),
               (10 * t - 0.7 * lift, front + 26, axis + side * 95 * w), (6 * t - lift, front + 52, axis + side * 138 * w)]  # fmt: skip
    points = smooth_curve(control, step)
    u = np.linspace(0, 1, len(points))
    flat, q, _ = canvas.tube(points, np.interp(u, [0, 0.2, 0.8, 1], [8, 5.5, 5.5, 7]))
    canvas.paint_flat(flat, np.where(q > 0.6, body.cortex, body.marrow).astype(np.int16))


def _scapula(canvas: Canvas, frame: Frame, side: int, lift: float, step: float, t: float, w: float) -> None:
    body = frame.body
    _, middle, deep = (float(v) for v in frame.cage(np.array(90.0)))
    back = middle + deep + 16
    spread = 12 if body.arms == "up" else 0
    corner = {
        "glenoid": np.array((34 * t - lift, back - 42, side * (140 + spread) * w)),
        "upper": np.array((22 * t - lift, back - 18, side * (76 + spread) * w)),
        "tip": np.array((152 * t - lift, back, side * (98 + 2 * spread) * w)),
    }
    n = int(150 / (0.8 * canvas.voxel))
    a, b = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
    a, b = a[a + b <= 1], b[a + b <= 1]
    plate = corner["glenoid"] + a[:, None] * (corner["upper"] - corner["glenoid"]) + b[:, None] * (corner["tip"] - corner["glenoid"])
    plate[:, 1] += 10 * np.sin(np.pi * np.clip(a + b, 0, 1))
    flat, _ = canvas.flat_index(plate)
    canvas.paint_flat(flat, int(0.55 * body.cortex))
    edges = [("glenoid", "tip", 4.5), ("upper", "tip", 2.5), ("glenoid", "upper", 3.5)]
    for one, two, radius in edges:
        points = smooth_curve([corner[one], (corner[one] + corner[two]) / 2 + (0, 4, 0), corner[two]], step)
        flat, q, _ = canvas.tube(points, np.full(len(points), radius))
        canvas.paint_flat(flat, np.where(q > 0.5, 0.85 * body.cortex, body.marrow).astype(np.int16))
    spine_end = corner["glenoid"] + (-22, 12, side * 6)
    points = smooth_curve([corner["upper"] + (22, 4, 0), (corner["upper"] + spine_end) / 2 + (4, 16, 0), spine_end], step)
    flat, _, _ = canvas.tube(points, np.full(len(points), 4.5))
    canvas.paint_flat(flat, int(0.8 * body.cortex))


def paint_arms(canvas: Canvas, frame: Frame, arms: str) -> None:
    """Paint both upper arms: "up" beside the head, "forward" as for a lateral view, "down" along the body, or "none"."""
    body, t, w = frame.body, frame.body.tall, frame.body.wide
    _, middle, deep = (float(v) for v in frame.cage(np.array(90.0)))
    slopes = {"up": (-1, 0.1, -0.15), "forward": (-1, 0.9, 0.0), "down": (1, 0.0, 0.14 + body.fat / 300)}
    if arms == "none":
        return
    way, forward, aside = slopes[arms]
    for side in (-1, 1):
        joint = np.array((26 * t - body.shoulder, middle + 0.45 * deep, side * 152 * w))
        low, high = (joint[0] - 40, 1e4) if way > 0 else (-1e4, joint[0] + 40)
        reach = w * (41 + 0.5 * body.fat)
        span = aside * (canvas.z[-1, 0, 0] - joint[0] if way > 0 else joint[0] - canvas.z[0, 0, 0])
        x_range = sorted((joint[2] - side * reach, joint[2] + side * (reach + span)))
        y_range = (joint[1] - 1e4 * bool(forward) - reach, joint[1] + reach)
        box = canvas.box((low, y_range[0], x_range[0] - 30), (high, y_range[1], x_range[1] + 30))
        z, y, x = canvas.axes(box)
        run = np.maximum(way * (z - np.float32(joint[0])), 0)
        y = y - np.float32(joint[1]) + np.float32(forward) * run
        x = x - np.float32(joint[2]) - np.float32(side * aside) * run
        cap = np.minimum(way * (z - np.float32(joint[0])), 0)
        distance = np.sqrt((cap**2 + y**2) + x**2)
        hu = canvas.hu[box]
        bone = 11 + 12 * np.exp(-((run / 28) ** 2))
        for radius, value in ((reach, FAT), (w * 38, MUSCLE)):
            hu[(distance < radius) & (hu < value)] = value
        hu[distance < bone] = body.cortex
        hu[distance < bone - 4] = body.marrow
