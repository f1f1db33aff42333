"""Paint the bones of one body: spine and ribs with labels, girdle and arms without.

Bright cortex surrounds darker marrow. Coordinates as in `voxels`; sizes, in mm, are chosen by eye,
as in `body`.
"""

from itertools import product

import numpy as np

from paxray_lib.phantoms.body import Body, Frame
from paxray_lib.phantoms.voxels import FAT, MUSCLE, VALUES, Canvas

Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]
_SPREAD = {"c": 23, "t": 31, "l": 38}  # mm, half the span of the transverse processes
# mm, length of the spinous process; its slope downwards
_SPINOUS = {"c": (22, 0.3), "t": (25, 0.9), "l": (28, 0.15)}
# half-widths and half-depths in mm of the vertebral bodies of some numbers
_BODIES = {
    "c": ((1, 7), (12.0, 12.0), (9.0, 9.0)),
    "t": ((1, 4, 12), (16.5, 15.0, 21.5), (10.0, 11.5, 15.5)),
    "l": ((1, 5), (21.0, 25.5), (16.5, 16.5)),
}
_NOT_HERE = 9.0  # any value above 1


def paint_spine(canvas: Canvas, frame: Frame) -> None:
    """Paint vertebrae with body, arch, transverse and spinous process, and the sacrum."""
    for name, zc, height in frame.vertebrae:
        if name == "sacrum":
            _paint_sacrum(canvas, frame, zc, height)
        else:
            _paint_vertebra(canvas, frame, name, zc, height)


def _paint_vertebra(canvas: Canvas, frame: Frame, name: str, zc: float, height: float) -> None:
    body = frame.body
    yc, xc = (float(v) for v in frame.spine(zc))
    box = canvas.box((zc - height, yc - 32, xc - 48), (zc + height + 22, yc + 62, xc + 48))
    z, y, x = (c - np.float32(o) for c, o in zip(canvas.axes(box), (zc, yc, xc), strict=True))
    ys, xs = frame.spine(np.array([zc - 8, zc + 8]))
    # the end plates stand at right angles to the spine
    forward, aside = np.float32((ys[1] - ys[0]) / 16), np.float32((xs[1] - xs[0]) / 16)
    z = z + forward * np.clip(y, -25, 25) + aside * x
    at, widths, depths = _BODIES[name[0]]
    wide = float(np.interp(int(name[1:]), at, widths)) * body.wide
    deep = float(np.interp(int(name[1:]), at, depths)) * body.deep**0.5
    main = _vertebral_body((z, y, x), wide, deep, height)
    process = _processes((z, y, x), deep, height, name[0], body.wide)
    hu = np.select(
        [main >= 1, main > 1 - 3.6 / wide],
        [np.int16(body.cortex * 0.25), np.int16(body.cortex * 0.5)],
        np.int16(body.marrow),
    )
    inside = np.minimum(main, process) < 1
    np.copyto(canvas.hu[box], hu, where=inside)
    np.copyto(canvas.organs[box], VALUES[name], where=inside)


def _vertebral_body(mesh: Mesh, wide: float, deep: float, height: float) -> np.ndarray:
    """Return q of a cylinder with a waist, below 1 inside; the open mesh is around its centre."""
    z, y, x = mesh
    radial = (np.abs(x / wide) ** 2.6 + np.abs((y + 1) / deep) ** 2.6) ** (1 / 2.6)
    end = np.abs(z) / np.float32(height * 0.41)
    waist = 0.06 * (1 - np.clip(end, 0, 1) ** 2)
    return np.maximum(radial * (1 - waist) + waist, end)


def _processes(mesh: Mesh, deep: float, height: float, region: str, wide: float) -> np.ndarray:
    """Return q of arch, transverse processes and spinous process together, below 1 inside."""
    z, y, x = mesh
    scale = np.float32(height / 22)
    ring = np.hypot(x / 13, (y - deep - 8) / 11)
    arch = np.where(
        y > deep - 6, np.maximum(np.abs(ring - 1) / 0.3, np.abs(z - 1) / (8 * scale)), _NOT_HERE
    )
    bar = np.hypot((y - deep - 6 - 0.22 * np.abs(x)) / 4.2, (z + 1) / (4.2 * scale))
    transverse = np.where(
        np.abs(x) > 9, np.maximum(bar, np.abs(x) / (_SPREAD[region] * wide)), _NOT_HERE
    )
    length, slope = _SPINOUS[region]
    back = y - deep - 15
    blade = np.maximum(
        np.abs(z - 3 - slope * back) / (7.5 * scale), np.abs(back / (length / 2) - 1)
    )
    return np.minimum(np.minimum(arch, transverse), np.maximum(np.abs(x) / 3.8, blade))


def _paint_sacrum(canvas: Canvas, frame: Frame, zc: float, height: float) -> None:
    body = frame.body
    yc, xc = (float(v) for v in frame.spine(zc))
    lean = np.array([0.85, 0.53, 0.0])
    axes = np.stack([lean, np.array([0, 0, 1.0]), np.cross(lean, [0, 0, 1.0])])
    semi = (height * 0.52, 52 * body.wide, 16)
    box, q = canvas.ellipsoid((zc, yc + 12, xc), semi, axes, power=2.4)
    hu = np.where(q < 0.75, np.int16(body.marrow), np.int16(body.cortex * 0.6))
    np.copyto(canvas.hu[box], hu, where=q < 1)
    np.copyto(canvas.organs[box], VALUES["sacrum"], where=q < 1)


def paint_ribs(canvas: Canvas, frame: Frame) -> None:
    """Paint 24 ribs, flat outwards, in an anterior and a posterior part."""
    body = frame.body
    for number, (side, word) in product(range(1, 13), ((-1, "right"), (1, "left"))):
        control, cut = frame.rib(number, side)
        points = canvas.curve(control)
        z, y, x = points.T
        u = np.linspace(0, 1, len(points))
        outward = np.stack([0 * u, y - frame.cage(z)[1], x - frame.axis(z)], 1)
        if number == 1:
            outward = np.cross(outward, np.gradient(points, axis=0))  # the first rib lies flat
        size = 1.0 if 3 <= number <= 10 else 0.88
        thick = 3.6 * size * (1 - 0.15 * u)
        profile = np.interp(u, [0, 0.08, 0.2, 0.8, 1], [0.65, 0.7, 0.95, 1, 1.1])
        high = body.rib_height * 6.6 * size * profile
        flat, q, station = canvas.tube(points, thick, high, outward)
        along = station / len(points)
        values = [VALUES[f"rib_{word}_{part}_{number}"] for part in ("posterior", "anterior")]
        organ = np.where(along < cut, *values)
        # head and neck are softer
        hard = body.cortex * np.interp(along, [0, 0.06, 0.16], [0.35, 0.5, 1])
        shell = q > 0.62
        canvas.paint(flat[shell], hard[shell].astype(np.int16), organ[shell])
        canvas.paint(flat[~shell], body.marrow + 60, organ[~shell])


def paint_girdle(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint sternum, clavicles and scapulae: seen in the image, without labels."""
    _paint_sternum(canvas, frame)
    for side in (-1, 1):
        lift = frame.body.shoulder + rng.normal(0, 3)
        _paint_clavicle(canvas, frame, side, lift)
        _paint_scapula(canvas, frame, side, lift)


def _paint_sternum(canvas: Canvas, frame: Frame) -> None:
    z = np.array([26, 60, 110, 165]) * frame.body.tall
    _, middle, deep = frame.cage(z, margin=2)
    points = canvas.curve(np.stack([z, middle - deep - 1, frame.axis(z)], 1))
    u = np.linspace(0, 1, len(points))
    wide = np.interp(u, [0, 0.25, 0.35, 0.8, 1], [24, 16, 12, 17, 8])
    flat, q, _ = canvas.tube(
        points, np.full(len(u), 5.5), wide, outward=np.tile([0, -1.0, 0], (len(u), 1))
    )
    canvas.paint(flat, _bone_hu(frame.body, q > 0.8, 0.45, 0.6))


def _bone_hu(body: Body, shell: np.ndarray, cortex: float = 1.0, marrow: float = 1.0) -> np.ndarray:
    return np.where(shell, cortex * body.cortex, marrow * body.marrow).astype(np.int16)


def _paint_clavicle(canvas: Canvas, frame: Frame, side: int, lift: float) -> None:
    t, w = frame.body.tall, frame.body.wide
    _, middle, deep = frame.cage_at(26 * t)
    front, axis = middle - deep, float(frame.axis(26 * t))
    control = [
        (26 * t, front - 6, axis + side * 14),
        (20 * t - 0.3 * lift, front - 2, axis + side * 48 * w),
        (10 * t - 0.7 * lift, front + 26, axis + side * 95 * w),
        (6 * t - lift, front + 52, axis + side * 138 * w),
    ]
    flat, q = canvas.rod(control, (8, 5.5, 5.5, 7), at=(0, 0.2, 0.8, 1))
    canvas.paint(flat, _bone_hu(frame.body, q > 0.6))


def _paint_scapula(canvas: Canvas, frame: Frame, side: int, lift: float) -> None:
    """Paint a thin curved triangle with thick edges, and its spine."""
    body, t, w = frame.body, frame.body.tall, frame.body.wide
    _, middle, deep = frame.cage_at(90.0)
    back, spread = middle + deep + 16, 12 if body.arms == "up" else 0
    joint = np.array((34 * t - lift, back - 42, side * (140 + spread) * w))
    upper = np.array((22 * t - lift, back - 18, side * (76 + spread) * w))
    tip = np.array((152 * t - lift, back, side * (98 + 2 * spread) * w))
    n = int(150 / (0.8 * canvas.voxel))
    a, b = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
    a, b = a[a + b <= 1, None], b[a + b <= 1, None]
    plate = joint + a * (upper - joint) + b * (tip - joint)
    plate[:, 1] += 10 * np.sin(np.pi * np.clip(a + b, 0, 1))[:, 0]
    canvas.paint(canvas.flat_index(*plate.T)[0], int(0.55 * body.cortex))
    acromion, root = joint + np.array((-22, 12, side * 6)), upper + np.array((22, 4, 0))
    for start, end, bow, radius in (
        (joint, tip, 4, 4.5),
        (upper, tip, 4, 2.5),
        (joint, upper, 4, 3.5),
        (root, acromion, 16, 4.5),
    ):
        flat, q = canvas.rod([start, (start + end) / 2 + (0, bow, 0), end], (radius,))
        canvas.paint(flat, _bone_hu(body, q > 0.5, 0.85))


# way in z; y and x per z
_ARM_SLOPES = {"up": (-1, 0.1, -0.15), "forward": (-1, 0.9, 0.0), "down": (1, 0.0, 0.14)}


def paint_arms(canvas: Canvas, frame: Frame, arms: str) -> None:
    """Paint both upper arms.

    They are "up" beside the head, "forward" as for a lateral view, "down", or "none".
    """
    if arms == "none":
        return
    body, w = frame.body, frame.body.wide
    way, forward, aside = _ARM_SLOPES[arms]
    aside += body.fat / 300 if arms == "down" else 0
    _, middle, deep = frame.cage_at(90.0)
    skin = w * (41 + 0.5 * body.fat)
    reach = (40, skin, skin + 30)
    for side in (-1, 1):
        joint = np.array((26 * body.tall - body.shoulder, middle + 0.45 * deep, side * 152 * w))
        length = abs(canvas.z[-1 if way > 0 else 0, 0, 0] - joint[0])
        end = joint + length * np.array((way, -forward, side * aside))
        box = canvas.box(np.minimum(joint, end) - reach, np.maximum(joint, end) + reach)
        z, y, x = canvas.axes(box)
        ahead = way * (z - np.float32(joint[0]))
        run = np.maximum(ahead, 0)
        y = y - np.float32(joint[1]) + np.float32(forward) * run
        x = x - np.float32(joint[2]) - np.float32(side * aside) * run
        distance = np.sqrt(np.minimum(ahead, 0) ** 2 + y**2 + x**2)
        hu = canvas.hu[box]
        for radius, value in ((skin, FAT), (w * 38, MUSCLE)):
            np.copyto(hu, np.int16(value), where=(distance < radius) & (hu < value))
        bone = 11 + 12 * np.exp(-((run / 28) ** 2))  # the head of the humerus is twice as thick
        np.copyto(hu, np.int16(body.cortex), where=distance < bone)
        np.copyto(hu, np.int16(body.marrow), where=distance < bone - 4)
