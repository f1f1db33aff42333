"""A voxel canvas in millimetres, on which shapes are painted: Hounsfield units and label values at
once.

Coordinates are (z, y, x) in mm: z downwards from the top of the first thoracic vertebra, y
backwards, x to the patient's left. Two label volumes hold what may overlap: `regions` (lobes,
mediastinum, below the diaphragm) and `organs` (bones, heart, tubes)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline

AIR = -1000
# mm: balls of similar radius share one grid of points
_BEAD_SIZES = (0.0, 0.9, 1.6, 2.6, 4.0, np.inf)


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
        self.low = np.asarray(low, float)
        self.voxel = float(voxel)
        self.shape = tuple(max(1, round((b - a) / voxel)) for a, b in zip(low, high, strict=True))
        self.hu = np.full(self.shape, AIR, np.int16)
        self.regions = np.zeros(self.shape, np.uint8)
        self.organs = np.zeros(self.shape, np.uint8)
        axes = [
            (a + (np.arange(n) + 0.5) * voxel).astype(np.float32)
            for a, n in zip(low, self.shape, strict=True)
        ]
        self.z, self.y, self.x = (
            axes[0][:, None, None],
            axes[1][None, :, None],
            axes[2][None, None, :],
        )

    def box(self, low: Sequence[float], high: Sequence[float]) -> tuple[slice, slice, slice]:
        """Return the slices of a box in mm, clipped to the canvas (perhaps empty)."""
        first = np.floor((np.asarray(low) - self.low) / self.voxel).astype(int)
        last = np.ceil((np.asarray(high) - self.low) / self.voxel).astype(int)
        return tuple(
            slice(max(a, 0), max(min(b, n), 0))
            for a, b, n in zip(first, last, self.shape, strict=True)
        )

    def axes(self, box: tuple[slice, slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the open mesh (z, y, x) of a box in mm."""
        return self.z[box[0]], self.y[:, box[1]], self.x[:, :, box[2]]

    def ellipsoid(
        self,
        centre: Sequence[float],
        semi: Sequence[float],
        axes: np.ndarray | None = None,
        power: float = 2.0,
    ):
        """Return (box, q) of a superellipsoid: q (float32) is below 1 inside.

        `axes` has the three semi-axis directions as rows, orthonormal, in (z, y, x); by default
        along the coordinates."""
        rotation = np.eye(3) if axes is None else np.asarray(axes, float)
        reach = np.sqrt(((rotation * np.asarray(semi)[:, None]) ** 2).sum(0)) * (
            1.0 if power == 2 else 1.3
        )
        box = self.box(np.asarray(centre) - reach, np.asarray(centre) + reach)
        z, y, x = (c - np.float32(o) for c, o in zip(self.axes(box), centre, strict=True))
        terms = (rotation / np.asarray(semi)[:, None]).astype(np.float32)
        return box, sum(np.abs(a * z + b * y + c * x) ** np.float32(power) for a, b, c in terms)

    def paint(
        self,
        box: tuple[slice, slice, slice],
        mask: np.ndarray,
        hu: float | None = None,
        organ: int | None = None,
    ):
        """Set CT number and organ value inside `mask` (of the shape of `box`); None leaves one as
        it is.
        """
        if hu is not None:
            np.copyto(self.hu[box], np.int16(hu), where=mask)
        if organ is not None:
            np.copyto(self.organs[box], np.uint8(organ), where=mask)

    def tube(
        self,
        points: np.ndarray,
        wide: np.ndarray,
        high: np.ndarray | None = None,
        outward: np.ndarray | None = None,
    ):
        """Return (flat voxel indices, q, station) of a tube along `points`.

        q is 0 on its axis and 1 on its wall; station is the index of the point that a voxel belongs
        to.

        Parameters
        ----------
        points : (N, 3) mm, closer together than a voxel
        wide : (N,) half-width in mm along `outward`
        high : (N,) half-width in mm across it; by default as `wide` (round)
        outward : (N, 3) rough direction of the first half-width
        """
        high = wide if high is None else high
        tangent = np.gradient(points, axis=0)
        reference = (
            np.broadcast_to((0.31, 0.87, 0.38), points.shape) if outward is None else outward
        )
        second = _unit(np.cross(tangent, reference))
        first = _unit(np.cross(second, tangent))
        a, b = (
            g.ravel() for g in np.meshgrid(self._grid(wide.max(), 0.7), self._grid(high.max(), 0.7))
        )
        q = np.hypot(a, b)
        a, b, q = a[q <= 1], b[q <= 1], q[q <= 1]
        one, two = (
            (wide[:, None] * first).astype(np.float32),
            (high[:, None] * second).astype(np.float32),
        )
        near = points.astype(np.float32)
        # 3 of (N, M)
        cloud = [near[:, k, None] + one[:, k, None] * a + two[:, k, None] * b for k in range(3)]
        flat, inside = self.flat_index(*cloud)
        return (
            flat,
            np.tile(q, len(points))[inside],
            np.repeat(np.arange(len(points)), len(q))[inside],
        )

    def beads(self, points: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (flat voxel indices, share) of balls around (N, 3) points; share is how far they
        fill a voxel.
        """
        flats, shares = [], []
        for low, high in pairwise(_BEAD_SIZES):
            chosen = (radius >= low) & (radius < high)
            if chosen.any():
                largest = radius[chosen].max()
                grid = self._grid(largest, 0.75)
                ball = np.stack(np.meshgrid(grid, grid, grid)).reshape(3, -1)
                ball = ball[:, (ball**2).sum(0) <= 1]
                p, r = points[chosen].astype(np.float32), radius[chosen].astype(np.float32)
                flat, inside = self.flat_index(
                    *(p[:, k, None] + r[:, None] * ball[k] for k in range(3))
                )
                flats.append(flat)
                shares.append(
                    np.repeat(np.clip(0.8 * (2 * r / self.voxel) ** 2, 0.05, 1), ball.shape[1])[
                        inside
                    ]
                )
        return np.concatenate(flats), np.concatenate(shares)

    def _grid(self, reach: float, share: float) -> np.ndarray:
        """Return float32 positions from -1 to 1, for points at most `share` of a voxel apart over
        `reach` mm.
        """
        n = int(np.ceil(reach / (share * self.voxel))) if reach > 0.5 * self.voxel else 0
        return np.linspace(-1, 1, 2 * n + 1, dtype=np.float32) if n else np.zeros(1, np.float32)

    def flat_index(
        self, z: np.ndarray, y: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the flat voxel indices of the points inside the canvas, and (M,) bool which of the
        M points those are.

        z, y, x are arrays of one shape with M elements, in mm.
        """
        scale, inside, flat = np.float32(1 / self.voxel), True, np.int32(0)
        for mm, low, count in zip((z, y, x), self.low.astype(np.float32), self.shape, strict=True):
            index = np.floor((mm.ravel() - low) * scale).astype(np.int32)
            inside = inside & (index >= 0) & (index < count)
            flat = flat * np.int32(count) + index
        return flat[inside], inside

    def paint_flat(
        self,
        flat: np.ndarray,
        hu: np.ndarray | float | None = None,
        organ: np.ndarray | int | None = None,
    ):
        """Set CT number and organ value at flat voxel indices; for a voxel named twice the last
        value stays.
        """
        if hu is not None:
            self.hu.reshape(-1)[flat] = hu
        if organ is not None:
            self.organs.reshape(-1)[flat] = organ


def smooth_curve(control: Sequence[Sequence[float]], step: float) -> np.ndarray:
    """Return (N, 3) points about `step` mm apart on a cubic spline through the control points (z,
    y, x).
    """
    control = np.asarray(control, float)
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
    return CubicSpline(chord, control)(np.linspace(0, chord[-1], max(2, int(chord[-1] / step) + 1)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
