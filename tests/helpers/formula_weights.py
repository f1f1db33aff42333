"""The weights by formula of tests/reference/published_forward.json."""

import numpy as np
import torch


def _hash(i: int, count: int) -> np.ndarray:
    """The `fill` rule of published_forward.json: (count,) float64 in [-1, 1) for the state dict's
    i-th key.
    """
    with np.errstate(over="ignore"):
        j = np.arange(count, dtype=np.uint64)
        z = np.uint64(i) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x94D049BB133111EB)
        z = z + j * np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2**53 * 2 - 1


def formula_tensor(i: int, shape: list[int], kind: str) -> torch.Tensor:
    """Return the weights of the state dict's i-th key."""
    if kind == "nbt":
        return torch.zeros((), dtype=torch.int64)
    u = _hash(i, int(np.prod(shape))).reshape(shape)
    if kind == "conv_weight":
        u = 0.9 * np.sqrt(6 / np.prod(shape[1:])) * u
    else:
        u = {"bn_weight": 1 + 0.05 * u, "running_var": 1 + 0.25 * u**2}.get(kind, 0.05 * u)
    return torch.from_numpy(u.astype(np.float32))
