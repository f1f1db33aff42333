"""Label bits of pixels as plain arrays: bit `i % 8` (little order) of byte `i // 8` of a pixel is
label `i`.
"""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

_BITS_OF_BYTE = np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"
).astype(np.int64)


def byte_count(labels: int) -> int:
    """Return the bytes that a pixel of that many labels takes.

    >>> byte_count(166)
    21
    """
    return -(-labels // 8)


def pack_bits(stack: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Pack a (L, H, W) stack of bool, or of numbers that are all 0 or 1, into (H, W, ceil(L / 8))
    uint8.

    Raises
    ------
    ValueError
        If the stack is not (L, H, W) with L names, is not numeric, or holds other values than 0 and
        1.
    """
    if stack.ndim != 3 or len(stack) != len(names):
        raise ValueError(
            f"a mask stack of {len(names)} labels must be ({len(names)}, H, W), got {stack.shape}; other labels?"
        )
    if stack.dtype.kind not in "biuf":
        raise ValueError(f"a mask stack must be bool or numbers that are 0 or 1, got {stack.dtype}")
    shape = stack.shape[1:]
    size = shape[0] * shape[1]
    # eight pixels of one byte in a word
    planes = np.zeros((byte_count(len(names)), -(-size // 8)), np.uint64)
    word = np.zeros(planes.shape[1], np.uint64)
    pixels = word.view(np.uint8)[:size].reshape(shape)
    for i, mask in enumerate(stack):
        pixels[...] = _as_bits(np.asarray(mask), names[i])
        word <<= np.uint64(i % 8)  # 0 or 1 in each byte: nothing reaches the next one
        planes[i // 8] |= word
    return _transpose(planes.view(np.uint8)[:, :size]).reshape(*shape, -1)


def _as_bits(mask: np.ndarray, name: str) -> np.ndarray:
    # a bool file may hold bytes other than 0 and 1, and these would spill into the bits of other
    # labels
    values = mask.view(np.uint8) if mask.dtype == bool else mask
    if values.dtype == np.uint8 and values.max(initial=0) <= 1:
        return values
    bits = values == 1
    if not np.array_equal(bits, values != 0):
        other = values[(values != 0) & ~bits].ravel()[0]
        hint = (
            "compare a 0/255 stack with > 0 first" if other == 255 else "threshold the values first"
        )
        raise ValueError(f"mask of {name!r} holds {other}, but only 0 and 1 are allowed; {hint}")
    return bits.view(np.uint8)


def _transpose(matrix: np.ndarray) -> np.ndarray:
    """Return the (n, m) transpose of (m, n) uint8, contiguous; OpenCV's is four times as fast as
    NumPy's.
    """
    return cv2.transpose(matrix) if matrix.size else np.ascontiguousarray(matrix.T)


def unpack_bits(data: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """Return the (len(indices), H, W) bool masks of some labels of (H, W, B) packed bits."""
    planes = _transpose(data.reshape(-1, data.shape[2])).reshape(-1, *data.shape[:2])  # (B, H, W)
    out = np.empty((len(indices), *data.shape[:2]), bool)
    for k, i in enumerate(indices):
        np.not_equal(planes[i // 8] & np.uint8(1 << i % 8), 0, out=out[k])
    return out


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Return the (target,) int64 source index of each destination index: destination * source //
    target, exactly.

    >>> nearest_indices(3, 6).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    return np.arange(target, dtype=np.int64) * source // target


def iter_planes(data: np.ndarray, labels: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the (H, W) bool mask of one label after the other, resized (nearest) to `size`: never
    the whole stack.
    """
    rows, columns = (nearest_indices(n, m) for n, m in zip(data.shape[:2], size, strict=True))
    for i in range(labels):
        if i % 8 == 0:
            plane = np.ascontiguousarray(data[..., i // 8])
        mask = plane & np.uint8(1 << i % 8) != 0
        yield mask if mask.shape == tuple(size) else mask.take(columns, axis=1).take(rows, axis=0)


def iter_rows(data: np.ndarray, size: tuple[int, int], block: int = 64) -> Iterator[np.ndarray]:
    """Yield (at most `block`, W, B) uint8 rows of the bits resized (nearest) to `size`, from the
    top down.
    """
    rows, columns = (nearest_indices(n, m) for n, m in zip(data.shape[:2], size, strict=True))
    for top in range(0, size[0], block):
        yield data[rows[top : top + block]][:, columns]


def count_bits(data: np.ndarray) -> np.ndarray:
    """Return how many pixels of (H, W, B) packed bits have each bit set, (8 * B,) int64."""
    planes = _transpose(data.reshape(-1, data.shape[-1]))  # (B, H * W)
    histograms = np.stack([np.bincount(plane, minlength=256) for plane in planes])  # (B, 256)
    return (histograms @ _BITS_OF_BYTE).ravel()


def byte_mask(indices: Iterable[int], width: int) -> np.ndarray:
    """Return (width,) uint8 with the bits of `indices` set.

    >>> byte_mask([0, 9], 2).tolist()
    [1, 2]
    """
    mask = np.zeros(width, np.uint8)
    for i in indices:
        mask[i // 8] |= 1 << i % 8
    return mask


def stray_bits(data: np.ndarray, labels: int) -> bool:
    """Tell whether a bit beyond the last label is set in (H, W, B) packed bits."""
    return bool(labels % 8 and data[..., -1].max(initial=0) >= 1 << labels % 8)
