"""Paint what is a tube: great vessels, esophagus, airways, and the vessels of the lungs.

Courses and radii, in mm, are chosen by eye, as in `body`.
"""

import numpy as np
from numpy.typing import ArrayLike

from paxray_lib.phantoms.body import Frame
from paxray_lib.phantoms.chest import heart_top
from paxray_lib.phantoms.voxels import AIRWAY, BLOOD, VALUES, Canvas


def paint_tubes(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint vena cava, pulmonary trunk, aorta, esophagus, trachea and bronchi."""
    tubes = _courses(frame, rng.normal(0, 3, 4))
    blood = BLOOD + frame.body.contrast
    for name, control, radii in tubes:
        flat, _ = canvas.rod(_before_spine(frame, control), radii)
        canvas.paint(flat, {"esophagus": 15, "airways": AIRWAY}.get(name, blood), VALUES.get(name))
    for (_, control, _), side in zip(tubes[-2:], (-1, 1), strict=True):
        hilum = _before_spine(frame, control[-1:])[0]
        for branch in ((38, 14, 14), (-28, -4, 16), (24, -34, 22), (20, 30, 12)):
            end = hilum + branch * np.array((1, 1, side))
            middle = (hilum + end) / 2 + (0, 0, 1.5 * side)
            flat, _ = canvas.rod([hilum, middle, end], (4.2, 2.2))
            canvas.paint(flat, AIRWAY, VALUES["airways"])


def _before_spine(frame: Frame, control: ArrayLike) -> np.ndarray:
    """Return (N, 3) points from (z, mm before the vertebral bodies, mm left of the midline)."""
    z, forward, aside = np.asarray(control, float).T
    return np.stack([z, frame.spine(z)[0] - forward, frame.axis(z) + aside], 1)


def _courses(frame: Frame, wobble: np.ndarray) -> list[tuple[str, list, tuple[float, ...]]]:
    """Return name, control points as of `_before_spine`, and radii of each tube.

    The right and the left main bronchus are the last two.
    """
    t, r, bulge, top = frame.body.tall, frame.body.aorta, frame.body.unfold, heart_top(frame)
    root, arch, carina = top + 26, 63 * t, 88 * t
    arch_start, arch_end = (arch + 22, 52, -12), (arch + 24, 6, 23 + bulge)
    # fmt: off
    return [
        ("cava", [(20 * t, 30, -24), (60 * t, 34, -25), (max(top + 20, 100 * t), 42, -24)],
         (8, 10)),
        ("pulmonary_trunk", [(top + 30, 52, 14), (108 * t, 44, 24), (104 * t, 30, 34)], (14, 11)),
        ("right_artery", [(110 * t, 32, 12), (116 * t, 28, -20), (120 * t, 24, -36)], (10, 9)),
        ("aorta_ascending", [(root, 50, 3), ((root + arch) / 2 + 8, 54, -11), arch_start],
         (1.12 * r, 1.05 * r)),
        ("aorta_arch", [arch_start, (arch + 4, 42, -5), (arch, 26, 9 + 0.5 * bulge),
                        (arch + 8, 12, 21 + bulge), arch_end], (1.05 * r, 0.92 * r)),
        ("aorta_descending", [arch_end, (130 * t, 12, 20 + 0.9 * bulge),
                              (190 * t, 20, 16 + 0.6 * bulge), (250 * t, 26, 8), (320 * t, 28, 4),
                              (420 * t, 28, 2)], (0.92 * r, 0.8 * r, 0.68 * r)),
        ("esophagus", [(-60 * t, 12, -1), (20 * t, 14, 3), (100 * t, 18, 3 + wobble[0]),
                       (170 * t, 22, 3 + wobble[1]), (255 * t - 20, 34, 14)], (5.5, 6.5, 7.5)),
        ("airways", [(-75 * t, 30, 0), (20 * t, 29, 0.7 * wobble[2]),
                     (carina, 32, 2 + 0.4 * wobble[3])], (8.5, 8.2)),
        ("airways", [(carina - 2, 32, 1), (carina + 16 * t, 30, -18), (carina + 34 * t, 26, -37)],
         (7.2, 5.6)),
        ("airways", [(carina - 2, 32, 3), (carina + 18 * t, 28, 24), (carina + 32 * t, 24, 46)],
         (7.2, 5.6)),
    ]
    # fmt: on


def paint_vessels(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Paint branching vessels in both lungs, each clipped to its own."""
    t, lung = frame.body.tall, frame.body.lung
    contrast = BLOOD + frame.body.contrast - lung
    for side, word in ((-1, "right"), (1, "left")):
        hilum = _before_spine(frame, [(112 * t - 4 * side, 26, side * 33)])[0]
        points, radius = _vessel_tree(frame, rng, hilum, side, 0.7 * canvas.voxel)
        flat, share = canvas.beads(points, radius)
        upper, lower = (VALUES[f"lung_{word}_lobe{lobe}"] for lobe in ("upper", "lower"))
        regions = canvas.regions.reshape(-1)[flat]
        inside = (regions >= upper) & (regions <= lower)
        hu = (lung + contrast * share[inside]).astype(np.int16)
        canvas.paint(flat[inside], hu, VALUES[f"lung_{word}_vessel"])


# where the first branches of a lung lead: z, share of the half-depth, share of the half-width
_VESSEL_GOALS = (
    (10, 0.1, 0.5), (45, 0.5, 0.75), (60, -0.5, 0.8), (110, -0.75, 0.75), (115, 0.6, 0.85),
    (150, -0.6, 0.6), (165, 0.1, 0.85), (200, 0.75, 0.6), (215, 0.4, 0.75), (190, 0.6, 0.35),
    (165, -0.2, 0.35),
)  # fmt: skip


def _vessel_tree(
    frame: Frame, rng: np.random.Generator, hilum: np.ndarray, side: int, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) points and (N,) radii in mm of a random tree of vessels that fills one lung.

    `step` is how far apart the points are; the tree itself does not depend on it.
    """
    points, radii = [], []
    # branches to come: start and reach, (3,) in mm; radius in mm; level
    stack: list[tuple[np.ndarray, np.ndarray, float, int]] = []
    wide, middle, deep = frame.cage_at(140.0)
    for z, back, out in _VESSEL_GOALS:
        x = float(frame.axis(z)) + side * out * wide
        goal = np.array((z * frame.body.tall + 6, middle + back * deep, x))
        stack.append((hilum + rng.normal(0, 3, 3), goal - hilum, rng.uniform(2.8, 4.6), 0))
    while stack:
        start, reach, radius, level = stack.pop()
        distance = float(np.linalg.norm(reach))
        length = distance * (1.0 if level else 0.5) * rng.uniform(0.8, 1.15)
        end = start + reach / distance * length
        bend = (start + end) / 2 + rng.normal(0, 0.07, 3) * length
        u = np.linspace(0, 1, max(3, int(length / max(step, 0.35 * radius))))[:, None]
        points.append((1 - u) ** 2 * start + 2 * u * (1 - u) * bend + u**2 * end)
        radii.append(radius * (1 - 0.3 * u[:, 0]))
        if level < 5 and radius > 0.45:
            shares = [rng.uniform(0.62, 0.85), rng.uniform(0.5, 0.75), rng.uniform(0.4, 0.6)]
            for share in shares if level < 3 else shares[:2]:
                turned = reach / distance + rng.normal(0, 0.42, 3)
                low, high, whole = (0.62, 0.95, length) if level else (0.35, 0.55, distance)
                turned = turned / np.linalg.norm(turned) * (whole * rng.uniform(low, high))
                before = end if share > 0.6 else (bend + end) / 2
                stack.append((before, turned, radius * 0.66 * share**0.4, level + 1))
    return np.concatenate(points), np.concatenate(radii)
