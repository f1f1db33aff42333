"""A voxel canvas in millimetres, on which shapes are painted: Hounsfield units and label values.

Coordinates are (z, y, x) in mm: z downwards from the top of the first thoracic vertebra, y
backwards, x to the patient's left. Two label volumes hold what may overlap: `regions` (lobes,
mediastinum, below the diaphragm) and `organs` (bones, heart, tubes).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from paxray_lib.projection.rays import Box

_REGIONS = (
    *(f"lung_right_lobe{lobe}" for lobe in ("upper", "middle", "lower")),
    *(f"lung_left_lobe{lobe}" for lobe in ("upper", "lower")),
    *(f"mediastinum_{part}" for part in ("upper", "anterior", "middle", "posterior")),
    *(f"hemidiaphragm_{side}" for side in ("right", "left")),
)
_ORGANS = (
    "heart",
    *(f"aorta_{part}" for part in ("ascending", "arch", "descending")),
    "airways",
    "esophagus",
    *(f"lung_{side}_vessel" for side in ("right", "left")),
    *(f"c{i}" for i in range(2, 8)),
    *(f"t{i}" for i in range(1, 14)),
    *(f"l{i}" for i in range(1, 7)),
    "sacrum",
    *(
        f"rib_{side}_{part}_{i}"
        for i in range(1, 13)
        for side in ("left", "right")
        for part in ("anterior", "posterior")
    ),
)
_IN_LOWER = _REGIONS[6:9]  # these are parts of one more label
# labels of the values in `regions` and in `organs`, and the value of each name
REGION_LABELS = {
    value: (name, "mediastinum_lower") if name in _IN_LOWER else (name,)
    for value, name in enumerate(_REGIONS, 1)
}
ORGAN_LABELS = {value: (name,) for value, name in enumerate(_ORGANS, 1)}
VALUES = {
    labels[0]: np.uint8(value)
    for table in (REGION_LABELS, ORGAN_LABELS)
    for value, labels in table.items()
}

AIR, FAT, MUSCLE, SOFT, BLOOD, AIRWAY = -1000, -95, 45, 10, 45, -970  # HU, chosen by eye on CTs
# mm: balls of similar radius share one grid of points
_BEAD_SIZES = (0.0, 0.9, 1.6, 2.6, 4.0, np.inf)
_STEP = 0.7  # of a voxel: points of a curve, and across a tube, leave no voxel out


class Canvas:
    """Volumes of one phantom.

    Parameters
    ----------
    low, high : (z, y, x) corners in mm
    voxel : float
        Edge of the cubic voxels in mm.

    Attributes
    ----------
    hu : (Z, Y, X) int16 array, air at first
    regions, organs : (Z, Y, X) uint8 arrays of label values, 0 at first
    z, y, x : (Z, 1, 1), (1, Y, 1) and (1, 1, X) float32 voxel centres in mm
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], voxel: float):
        self.low, self.voxel = np.asarray(low, float), float(voxel)
        self.shape = tuple(max(1, round((b - a) / voxel)) for a, b in zip(low, high, strict=True))
        self.hu = np.full(self.shape, AIR, np.int16)
        self.regions, self.organs = np.zeros((2, *self.shape), np.uint8)
        self.z, self.y, self.x = np.ix_(
            *(
                (a + (np.arange(n) + 0.5) * voxel).astype(np.float32)
                for a, n in zip(low, self.shape, strict=True)
            )
        )

    def box(self, low: ArrayLike, high: ArrayLike) -> Box:
        """Return the slices of a box in mm, clipped to the canvas (perhaps empty)."""
        first = np.floor((np.asarray(low) - self.low) / self.voxel).astype(int).clip(0)
        last = np.ceil((np.asarray(high) - self.low) / self.voxel).astype(int)
        z, y, x = map(slice, first, last.clip(0, self.shape))
        return z, y, x

    def axes(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the open mesh (z, y, x) of a box in mm."""
        return self.z[box[0]], self.y[:, box[1]], self.x[:, :, box[2]]

    def ellipsoid(
        self,
        centre: Sequence[float],
        semi: ArrayLike,
        axes: np.ndarray | None = None,
        power: float = 2.0,
    ) -> tuple[Box, np.ndarray]:
        """Return (box, q) of a superellipsoid: q (float32) is below 1 inside.

        `axes` has the three semi-axis directions as rows, orthonormal, in (z, y, x); by default
        along the coordinates.
        """
        rotation = np.eye(3) if axes is None else axes
        widths = np.asarray(semi)[:, None]
        reach = np.sqrt(((rotation * widths) ** 2).sum(0)) * (1.0 if power == 2 else 1.3)
        box = self.box(np.asarray(centre) - reach, np.asarray(centre) + reach)
        z, y, x = (c - np.float32(o) for c, o in zip(self.axes(box), centre, strict=True))
        terms = (rotation / widths).astype(np.float32)
        return box, sum(np.abs(a * z + b * y + c * x) ** np.float32(power) for a, b, c in terms)

    def curve(self, control: ArrayLike) -> np.ndarray:
        """Return (N, 3) points closer than a voxel on a cubic spline through control points."""
        control = np.asarray(control, float)
        chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
        count = max(2, int(chord[-1] / (_STEP * self.voxel)) + 1)
        return CubicSpline(chord, control)(np.linspace(0, chord[-1], count))

    def tube(
        self,
        points: np.ndarray,
        wide: np.ndarray,
        high: np.ndarray | None = None,
        outward: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (flat voxel indices, q, station) of a tube along `points`.

        q is 0 on its axis and 1 on its wall; station is the index of the point that a voxel
        belongs to.

        Parameters
        ----------
        points : (N, 3) mm, closer together than a voxel
        wide : (N,) half-width in mm along `outward`
        high : (N,) half-width in mm across it; by default as `wide` (round)
        outward : (N, 3) rough direction of the first half-width
        """
        high = wide if high is None else high
        tangent = np.gradient(points, axis=0)
        second = _unit(np.cross(tangent, (0.31, 0.87, 0.38) if outward is None else outward))
        first = _unit(np.cross(second, tangent))
        a, b = np.meshgrid(self._grid(wide.max(), _STEP), self._grid(high.max(), _STEP))
        q = np.hypot(a, b)
        a, b, q = a[q <= 1], b[q <= 1], q[q <= 1]  # (M,)
        one = (wide[:, None] * first).astype(np.float32)
        two = (high[:, None] * second).astype(np.float32)
        cloud = (
            centre[:, None] + u[:, None] * a + v[:, None] * b  # (N, M)
            for centre, u, v in zip(points.astype(np.float32).T, one.T, two.T, strict=True)
        )
        flat, inside = self.flat_index(*cloud)
        station = np.repeat(np.arange(len(points)), len(q))
        return flat, np.tile(q, len(points))[inside], station[inside]

    def rod(
        self,
        control: ArrayLike,
        radii: Sequence[float],
        at: Sequence[float] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (flat voxel indices, q) of a round tube along a curve through control points.

        It has the radii, in mm, at these shares of its length; by default evenly.
        """
        points = self.curve(control)
        shares = np.linspace(0, 1, len(radii)) if at is None else at
        return self.tube(points, np.interp(np.linspace(0, 1, len(points)), shares, radii))[:2]

    def beads(self, points: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (flat voxel indices, share) of balls around (N, 3) points.

        The share is how far they fill a voxel.
        """
        flats, shares = [], []
        for low, high in pairwise(_BEAD_SIZES):
            chosen = (radius >= low) & (radius < high)
            if chosen.any():
                p, r = points[chosen].astype(np.float32), radius[chosen].astype(np.float32)
                grid = self._grid(radius[chosen].max(), 0.75)
                ball = np.stack(np.meshgrid(grid, grid, grid)).reshape(3, -1)
                ball = ball[:, (ball**2).sum(0) <= 1]
                flat, inside = self.flat_index(
                    *(p[:, k, None] + r[:, None] * ball[k] for k in range(3))
                )
                share = np.clip(0.8 * (2 * r / self.voxel) ** 2, 0.05, 1)
                flats.append(flat)
                shares.append(np.repeat(share, ball.shape[1])[inside])
        return np.concatenate(flats), np.concatenate(shares)

    def _grid(self, reach: float, share: float) -> np.ndarray:
        """Return float32 positions from -1 to 1, at most `share` of a voxel apart over `reach`."""
        n = int(np.ceil(reach / (share * self.voxel))) if reach > 0.5 * self.voxel else 0
        return np.linspace(-1, 1, 2 * n + 1, dtype=np.float32) if n else np.zeros(1, np.float32)

    def flat_index(
        self, z: np.ndarray, y: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the flat voxel indices of the points inside, and (M,) bool which those are.

        z, y, x are arrays of one shape with M elements, in mm.
        """
        inside, flat = np.ones(z.size, bool), np.zeros(z.size, np.int32)
        for mm, low, count in zip((z, y, x), self.low.astype(np.float32), self.shape, strict=True):
            index = np.floor((mm.ravel() - low) * np.float32(1 / self.voxel)).astype(np.int32)
            inside &= (index >= 0) & (index < count)
            flat = flat * np.int32(count) + index
        return flat[inside], inside

    def paint(
        self,
        flat: np.ndarray,
        hu: np.ndarray | float,
        organ: np.ndarray | np.uint8 | None = None,
    ) -> None:
        """Set CT number and organ value at flat voxel indices.

        For a voxel named twice the last value stays.
        """
        self.hu.reshape(-1)[flat] = hu
        if organ is not None:
            self.organs.reshape(-1)[flat] = organ


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
