"""Proportions of a random thorax: how its numbers are drawn, and the curves that follow from them.

Coordinates as in `voxels`, in mm: z from the top of T1 downwards, y backwards from the middle of
the chest, x to the patient's left. Tables describe an adult of average size; each phantom scales
and bends them.

Sources: Gray, Anatomy of the Human Body (1918), for the levels of organs and the order of bones;
Egwu et al. 2019 for the height of thoracic vertebrae (17 to 20 mm, with discs of 3 to 5 mm). All
other numbers, and how far they vary, are chosen by eye beside chest CTs and X-rays;
`benchmarks/phantom_vs_ct.py` compares the result with a CT and with textbooks.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

_PITCH = (*np.linspace(16.5, 25.5, 12), 26.5)  # mm, height of T1 to T13 with the disc below
# inner surface of the rib cage: depth below T1, half-width, front, back
_CAGE = np.array(
    [
        (-4, 8, -6, 6), (4, 44, -24, 20), (12, 62, -40, 36), (26, 79, -56, 50), (45, 91, -70, 66),
        (75, 103, -85, 82), (117, 111, -95, 91), (160, 117, -99, 93), (203, 124, -100, 89),
        (235, 126, -99, 80), (270, 124, -97, 70), (310, 118, -94, 58), (360, 114, -88, 44),
        (430, 116, -80, 46), (560, 120, -76, 50),
    ],
    float,
)  # fmt: skip
# centre of the vertebral bodies: depth below T1, y
_SPINE = np.array(
    [
        (-110, -12), (-70, -10), (-30, -5), (12, 6), (55, 32), (100, 50), (147, 56), (190, 53),
        (240, 37), (300, 16), (350, 6), (420, 12), (520, 60),
    ],
    float,
)  # fmt: skip
# how far the front end of a rib is below its head; its distance from the midline (0: a floating
# rib)
_RIB_DROP = (38, 54, 75, 96, 110, 119, 124, 122, 114, 104, 84, 48)
_RIB_END = (36, 46, 58, 68, 78, 86, 95, 104, 112, 118, 0, 0)
_FLOATING_ENDS = {11: 0.12, 12: -0.62}  # angle around the cage, radians


class Body(SimpleNamespace):
    """The numbers of one phantom, as `draw_body` names them; the same for every image size."""


def draw_body(rng: np.random.Generator, varied: bool = False) -> Body:
    """Draw the numbers of one phantom; lengths are in mm.

    Patients stand and have breathed in, or are as varied as on the wards.
    """
    female = rng.random() < 0.5
    tall = float(np.clip(rng.normal(0.97 if female else 1.04, 0.05), 0.84, 1.18))
    # from -2.7, in bed (as most CTs are) and breathed out, to 1.5, deep inspiration
    breath = rng.uniform(-2.7, 0.6) if varied and rng.random() < 0.4 else rng.normal(0.45, 0.5)
    kind = rng.random()
    top = -rng.uniform(22, 40) if rng.random() < 0.9 else -rng.uniform(40, 115)
    # the field ends below the domes (as X-rays do), in the abdomen, or at the pelvis (as some CTs
    # do)
    low, high = (288, 314) if kind < 0.65 else (314, 350) if kind < 0.88 else (440, 500)
    field = tall * rng.uniform(low, high) - top - 25
    build, inside = _draw_build(rng, female, varied), _draw_inside(rng, varied)
    rng.integers(1 << 32)  # unused: kept so that older samples stay the same to the bit
    return Body(
        tall=tall,
        breath=float(np.clip(breath, -2.7 if varied else -1, 1.5)),
        lumbar=6 if kind > 0.985 else 5,  # number of lumbar vertebrae
        top=top,  # z of the upper edge of the field
        field=field,  # edge of the square field
        **build,
        **inside,
    )


def _draw_build(rng: np.random.Generator, female: bool, varied: bool) -> dict[str, Any]:
    return {
        "wide": float(np.clip(rng.normal(0.96 if female else 1.04, 0.06), 0.8, 1.22)),  # scales
        "deep": float(np.clip(rng.normal(0.95 if female else 1.02, 0.09), 0.72, 1.25)),
        "barrel": rng.uniform(-1, 1),  # -1 slim waist .. 1 barrel
        "kyphosis": rng.uniform(0.5, 1.15),
        "scoliosis": (rng.normal(0, 4), rng.uniform(0, 2 * np.pi)),  # amplitude, phase
        "tilt": rng.normal(0, 0.02),  # lean to the side, radians
        "turn": rng.normal(0, 0.065 if varied else 0.045),  # about the long axis, radians
        "fat": rng.gamma(3, 4.0) + 4,
        "muscle": rng.uniform(8, 16),
        "breast": rng.uniform(38, 66)  # radius, 0 for a flat chest
        if female
        else (rng.uniform(22, 36) if rng.random() < 0.2 else 0.0),
    }


def _draw_inside(rng: np.random.Generator, varied: bool) -> dict[str, Any]:
    return {
        # left dome below the right one
        "dome_left": rng.uniform(-10, 40) if varied and rng.random() < 0.15 else rng.uniform(2, 26),
        "flat_left": rng.uniform(0.55, 1.05),  # height of the left dome relative to the right one
        "hang": rng.uniform(4, 30),  # how far the diaphragm's back hangs down
        "heart_size": float(np.clip(rng.normal(0.94, 0.11), 0.76, 1.35)),
        "heart_angle": rng.normal(0, 0.16),
        "heart_shift": rng.normal(0, 6),
        "aorta": rng.uniform(11, 17),  # radius
        "unfold": rng.uniform(-3, 12),  # how far arch and descending aorta bulge to the left
        "marrow": rng.uniform(60, 220),  # HU, as cortex, lung, and contrast that is added to blood
        "cortex": rng.uniform(350, 950),
        "lung": rng.uniform(-890, -770),
        "contrast": rng.uniform(60, 260) if rng.random() < 0.25 else 0.0,
        "arms": str(rng.choice(["up", "down", "none"], p=[0.35, 0.5, 0.15])),
        "shoulder": rng.uniform(-18, 18),
        "gas": rng.uniform(0, 1),
        "thoracic": 13 if rng.random() < 0.03 else 12,  # number of vertebrae
        "rib_slope": rng.uniform(0.75, 1.12),
        "rib_bend": rng.uniform(1.1, 2.1),  # above 1 the back of a rib is flatter than its front
        "rib_height": rng.uniform(0.85, 1.15),
        "apex": rng.uniform(0, 14),  # top of the lungs below the top of the cage
        "hila": rng.uniform(0.9, 1.35),  # width of the mediastinum, 1 on average
        "back": rng.uniform(2, 14),  # soft tissue behind the spine
    }


def dome_top(body: Body) -> float:
    """Return z of the top of the right half of the diaphragm."""
    return (197 + 22 * body.breath) * body.tall


class Frame:
    """The curves of one body: rib cage, spine, diaphragm, ribs.

    Attributes
    ----------
    vertebrae : list of (name, z, height)
        Centre and height (with disc) along the spine, from above.
    """

    EXPONENT = 2.6  # of the superellipse that a cross-section of the cage is

    def __init__(self, body: Body):
        self.body = body
        z = _CAGE[:, 0] * body.tall
        waist = 1 + 0.07 * body.barrel * np.interp(z, [0, 110, 260, 330], [0, 0.2, 1, 0.6])
        self._wide = PchipInterpolator(z, _CAGE[:, 1] * body.wide * waist)
        self._front = PchipInterpolator(z, _CAGE[:, 2] * body.deep - 4 * body.breath)
        # the spine stays in front of the back of the cage
        bent = 63 * body.deep + (_SPINE[:, 1] - 63) * (0.35 + 0.65 * body.kyphosis)
        self._spine = PchipInterpolator(_SPINE[:, 0] * body.tall, bent)
        self._back = PchipInterpolator(
            z, self._spine(z) + (_CAGE[:, 3] - np.interp(_CAGE[:, 0], *_SPINE.T))
        )
        trunk = [
            *((f"t{i + 1}", _PITCH[i]) for i in range(body.thoracic)),
            *((f"l{i + 1}", 29.0 + 1.2 * min(i, 4)) for i in range(body.lumbar)),
        ]
        neck = [(f"c{i}", -16.5) for i in range(7, 1, -1)]  # upwards from T1
        self.vertebrae: list[tuple[str, float, float]] = []
        for levels in (neck, trunk):
            top = 0.0
            for name, pitch in levels:
                height = pitch * body.tall
                self.vertebrae.append((name, top + height / 2, abs(height)))
                top += height
        self.vertebrae.append(("sacrum", top + 45 * body.tall, 95 * body.tall))
        self.vertebrae.sort(key=lambda vertebra: vertebra[1])

    def cage(
        self, z: np.ndarray | float, margin: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return half-width, middle (y) and half-depth of the cage at the heights z.

        `margin` widens it.
        """
        z = np.clip(z, self._wide.x[0], self._wide.x[-1])
        front, back = self._front(z), np.maximum(self._back(z), self._front(z) + 20)
        wide = np.maximum(self._wide(z) + margin, 1)
        return wide, (front + back) / 2, np.maximum((back - front) / 2 + margin, 1)

    def cage_at(self, z: float, margin: float = 0.0) -> tuple[float, float, float]:
        """Return half-width, middle and half-depth of the cage at one height, as plain floats."""
        wide, middle, deep = self.cage(z, margin)
        return float(wide), float(middle), float(deep)

    def spine(self, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return y and x of the centres of the vertebral bodies at the heights z."""
        amplitude, phase = self.body.scoliosis
        return self._spine(np.clip(z, self._spine.x[0], self._spine.x[-1])), (
            self.axis(z) + amplitude * np.sin(np.asarray(z) / (75 * self.body.tall) + phase)
        )

    def axis(self, z: np.ndarray | float) -> np.ndarray:
        """Return x of the midline of the body at the heights z."""
        return self.body.tilt * (np.asarray(z, float) - 150)

    def dome(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return z of the diaphragm above the points (y, x), broadcast.

        It is two caps and the tendon between them.
        """
        body, top = self.body, dome_top(self.body)
        wide, middle, deep = self.cage_at(top + 25)
        height, axis = (98 - 14 * body.breath) * body.tall, float(self.axis(top))
        caps = []
        for side, peak, rise in (
            (-1, top, height),
            (1, top + body.dome_left, height * body.flat_left),
        ):
            across = (x - axis - side * 0.46 * wide) / (0.64 * wide)
            r2 = across**2 + ((y - middle + 0.25 * deep) / (1.3 * deep)) ** 2
            caps.append(
                peak
                + rise * (1 - np.sqrt(np.clip(1 - r2, 0, None)))
                + 90 * np.clip(r2 - 1, 0, None)
            )
        # the heart lies on the central tendon, between the caps and before the middle
        seat = ((x - axis - 12) / 75) ** 2 + ((y - middle + 0.35 * deep) / deep) ** 2
        caps.append(top + 22 + 0.25 * body.dome_left + 30 * seat)
        soft = 8.0  # mm: they join without a cusp
        return (
            -soft * np.logaddexp.reduce([-cap / soft for cap in caps])
            + body.hang * body.tall * (y - middle) / deep
        )

    def rib(self, number: int, side: int) -> tuple[np.ndarray, float]:
        """Return control points (z, y, x) of a rib, head first, and its share that is posterior.

        `number` is 1..12, `side` -1 (right) or 1 (left). A rib is posterior up to its outermost
        point; ribs 11 and 12, which end before it, up to the middle of their length.
        """
        body = self.body
        zc, height = next(v[1:] for v in self.vertebrae if v[0] == f"t{number}")
        head = zc - 0.42 * height
        # fall from head to end; angles around the cage, from -pi/2 at the back to pi/2 in front
        drop = _RIB_DROP[number - 1] * body.tall * body.rib_slope * (1 - 0.06 * body.breath)
        widest, _, _ = self.cage_at(head + 0.55 * drop)
        start = -np.arccos(np.clip(40 / widest, 0, 0.95) ** (self.EXPONENT / 2))
        front = min(_RIB_END[number - 1] * body.wide / widest, 0.97)
        end = _FLOATING_ENDS.get(number, np.arccos(front ** (self.EXPONENT / 2)))
        angle = np.linspace(start, end, 14)
        u = (angle - angle[0]) / (angle[-1] - angle[0])
        z = head - 3 + drop * (0.12 * u + 0.88 * u**body.rib_bend)
        wide, middle, deep = self.cage(z, margin=4.0)
        power = 2 / self.EXPONENT
        y = middle - deep * np.sign(angle) * np.abs(np.sin(angle)) ** power
        x = self.axis(z) + side * wide * np.cos(angle) ** power
        ys, xs = self.spine(head)
        joint = [(head, ys + 7, xs + side * 15), (head - 2.5, ys + 20, xs + side * 27)]
        points = np.concatenate([joint, np.stack([z, y, x], 1)])
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        return points, float(np.interp(0.0, angle, length[2:]) / length[-1]) if number < 11 else 0.5
