"""The convex outline of what a slice holds, exact for a mirrored slice (scipy's is not)."""

import numpy as np

ROUND = 1e-6  # of a voxel: rounding must not depend on the side


def convex(plane: np.ndarray) -> np.ndarray:
    """Return the convex outline of a (Y, X) bool plane, filled."""
    filled, rows = np.zeros_like(plane), np.flatnonzero(plane.any(axis=1))
    if not len(rows):
        return filled
    last = plane.shape[1] - 1
    y = np.arange(rows[0], rows[-1] + 1)
    low = _hull_side(rows, plane[rows].argmax(axis=1), y)
    high = last - _hull_side(rows, plane[rows, ::-1].argmax(axis=1), y)
    x = np.arange(plane.shape[1])
    filled[y] = (x >= low[:, None] - ROUND) & (x <= high[:, None] + ROUND)
    return filled


def _hull_side(rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the lower convex envelope of x over rows, at each y (Andrew's monotone chain)."""
    chain: list[tuple[int, int]] = []
    for point in zip(rows.tolist(), x.tolist(), strict=True):
        while len(chain) > 1 and _turns_inward(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return np.interp(y, *np.array(chain, float).T)


def _turns_inward(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
