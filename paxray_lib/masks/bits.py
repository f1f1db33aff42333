"""Label bits of pixels, as arrays or tensors: packing, moving, counting and mirroring them.

Bit `i % 8` (little order) of byte `i // 8` of a pixel is label `i`. Tensors are worked on where
they are."""

import functools
import operator
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from paxray_lib.images.image import MAX_PIXELS
from paxray_lib.labels.expressions import Expression
from paxray_lib.labels.table import LabelSet

_MAX_BYTES = 1 << 31
Bits = Any  # a NumPy array or a torch tensor


def byte_count(labels: int) -> int:
    """Return how many bytes a pixel of that many labels takes: 21 for 166."""
    return -(-labels // 8)


def byte_mask(indices: Iterable[int], width: int) -> np.ndarray:
    """Return (width,) uint8 with the bits of `indices` set: [1, 2] for 0 and 9."""
    return np.packbits(np.isin(np.arange(8 * width), list(indices)), bitorder="little")


def stray_bits(data: np.ndarray, labels: int) -> bool:
    """Tell whether a bit beyond the last label is set in (H, W, B) packed bits."""
    return bool(labels % 8 and data[..., -1].max(initial=0) >= 1 << labels % 8)


# -- to and from dense stacks


def check_size(height: int, width: int, labels: int) -> None:
    """Raise ValueError unless packed masks of that size can be those of an image.

    The limits: integers, `MAX_PIXELS` as for images, and 2 GiB: with 192 labels all images fit."""
    are_sizes = {type(height), type(width)} == {int} and min(height, width) > 0
    pixels = height * width if are_sizes else MAX_PIXELS + 1
    if pixels > MAX_PIXELS or pixels * byte_count(labels) > _MAX_BYTES:
        raise ValueError(
            f"it claims {labels} masks of {height!s:.20} x {width!s:.20}; the limits are "
            f"{MAX_PIXELS} pixels and {_MAX_BYTES >> 30} GiB of packed masks"
        )


def check_stack(shape: tuple[int, ...], dtype: np.dtype, count: int) -> None:
    """Raise ValueError unless this is the shape and the type of a (L, H, W) stack of L masks."""
    is_stack = len(shape) == 3 and shape[0] == count and min(shape) > 0
    if not is_stack or dtype.kind not in "biuf":
        raise ValueError(
            f"a stack of {count} labels must be ({count}, H, W) of 0 and 1, "
            f"got {shape!s:.80} {dtype!s:.80}; other labels?"
        )


def pack_bits(stack: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Pack a (L, H, W) stack of bool, or of numbers that are all 0 or 1, into (H, W, B) uint8.

    Other shapes, types and values are a ValueError."""
    check_stack(stack.shape, stack.dtype, len(names))
    return pack_planes(stack, stack.shape[1:], names)


def pack_planes(
    masks: Iterable[np.ndarray], shape: tuple[int, ...], names: Sequence[str]
) -> np.ndarray:
    """Pack as many (H, W) masks as there are names, one after the other, as `pack_bits`."""
    size = shape[0] * shape[1]
    # a word holds one byte of each of eight pixels
    planes = np.zeros((byte_count(len(names)), -(-size // 8)), np.uint64)
    word = np.zeros(planes.shape[1], np.uint64)
    pixels = word.view(np.uint8)[:size].reshape(shape)
    for i, mask in enumerate(masks):
        pixels[...] = _as_bits(np.asarray(mask), names[i])
        word <<= np.uint64(i % 8)  # 0 or 1 in each byte: nothing reaches the next one
        planes[i // 8] |= word
    # four times as fast as NumPy
    return cv2.transpose(planes.view(np.uint8)[:, :size]).reshape(*shape, -1)


def _as_bits(mask: np.ndarray, name: str) -> np.ndarray:
    # a bool file may hold bytes other than 0 and 1, which would spill into the bits of other labels
    values = mask.view(np.uint8) if mask.dtype == bool else mask
    if values.dtype == np.uint8 and values.max(initial=0) <= 1:
        return values
    others = values[(values != 0) & (values != 1)]
    if others.size:
        hint = "compare a 0/255 stack with > 0" if others[0] == 255 else "threshold the values"
        raise ValueError(
            f"mask of {name!r} holds {others[0]}, but only 0 and 1 are allowed; {hint} first"
        )
    return (values == 1).view(np.uint8)


def unpack_bits(data: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """Return the (len(indices), H, W) bool masks of some labels of (H, W, B) packed bits."""
    planes = cv2.transpose(data.reshape(-1, data.shape[2])).reshape(-1, *data.shape[:2])
    out = np.empty((len(indices), *data.shape[:2]), bool)
    for k, i in enumerate(indices):
        np.not_equal(planes[i // 8] & np.uint8(1 << i % 8), 0, out=out[k])
    return out


def move_bits(data: np.ndarray, sources: Sequence[int]) -> np.ndarray:
    """Return (H, W, B) bits of other labels: each that of label `sources[i]`, or zero for -1."""
    # bits that move from one byte to another by the same distance move together
    plan: dict[tuple[int, int, int], int] = {}
    for i, source in enumerate(sources):
        if source >= 0:
            step = (source // 8, i // 8, i % 8 - source % 8)
            plan[step] = plan.get(step, 0) | 1 << i % 8
    out = np.zeros((*data.shape[:2], byte_count(len(sources))), np.uint8)
    for (source, target, shift), mask in plan.items():
        byte = data[..., source]
        moved = byte << np.uint8(shift) if shift >= 0 else byte >> np.uint8(-shift)
        out[..., target] |= moved & np.uint8(mask)
    return out


# -- resizing


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Return (target,) int64, the source index of each index: index * source // target, exactly."""
    return np.arange(target, dtype=np.int64) * source // target


def iter_planes(data: np.ndarray, labels: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the (H, W) bool masks, resized (nearest) to `size`, without ever holding them all."""
    rows, columns = map(nearest_indices, data.shape[:2], size)
    for i in range(labels):
        if i % 8 == 0:
            plane = data[..., i // 8].take(rows, axis=0).take(columns, axis=1)
        yield plane & np.uint8(1 << i % 8) != 0


def iter_rows(data: np.ndarray, size: tuple[int, int], block: int = 64) -> Iterator[np.ndarray]:
    """Yield the bits resized (nearest) to `size`, from the top down, as (<= block, W, B) uint8."""
    rows, columns = map(nearest_indices, data.shape[:2], size)
    for top in range(0, size[0], block):
        yield data[rows[top : top + block]][:, columns]


# -- 64-bit words: many bits at a time


def as_words(pixels: Bits) -> Bits:
    """Return (..., ceil(B / 8)) int64 words of (..., B) uint8 pixels; missing bytes are zero."""
    whole = (*pixels.shape[:-1], -(-pixels.shape[-1] // 8) * 8)
    return _grown(pixels, whole).view(_library(pixels).int64)


def _grown(bits: Bits, shape: tuple[int, ...]) -> Bits:
    """Return a copy of a larger shape, zero beyond the given uint8 bits."""
    library = _library(bits)
    grown = library.zeros(shape, dtype=library.uint8, device=bits.device)
    grown[tuple(slice(n) for n in bits.shape)] = bits
    return grown


def _library(bits: Bits) -> Any:
    return np if isinstance(bits, np.ndarray) else sys.modules["torch"]


_STEPS = ((1, 3, 0x5555555555555555), (2, 5, 0x3333333333333333), (4, 17, 0x0F0F0F0F0F0F0F0F))
_BLOCK = 8 * 3 * 5 * 17  # pixels


def count_bits(packed: Bits) -> np.ndarray:
    """Count the set bits at every bit position: (N, H, W, B) uint8 -> (N, 8 * B) int64.

    Eight bytes are added as one 64-bit word. Its bits are first split into even and odd ones, so
    that each has two bits of room: three words can be added without overflow. Those fields are
    split again: fifteen words in four bits, then 255 in eight, which is where the bytes are summed.
    This reads the data about four times; nothing is unpacked."""
    n, height, width, size = packed.shape
    pixels = -(-height * width // _BLOCK) * _BLOCK
    padded = _grown(packed.reshape(n, height * width, size), (n, pixels, size))
    # a row of `size` words is eight pixels
    library = _library(packed)
    fields = {0: padded.reshape(n, pixels // 8, 8 * size).view(library.int64)}
    for shift, group, mask in _STEPS:
        split = {}
        for bit, words in fields.items():
            grouped = words.reshape(n, group, -1, size)
            split[bit] = (grouped & mask).sum(1)
            split[bit + shift] = ((grouped >> shift) & mask).sum(1)
        fields = split
    # a row of B words is eight pixels: their bytes are added
    octets = (fields[bit].view(library.uint8).reshape(n, -1, size) for bit in range(8))
    totals = library.stack([bytes_.sum(1, dtype=library.int64) for bytes_ in octets], -1)
    return np.asarray(totals if library is np else totals.cpu()).reshape(n, -1)  # from (N, B, 8)


# -- expressions


def combine_bits(data: Bits, expressions: Sequence[Expression]) -> Bits:
    """Return (..., ceil(K / 8)) uint8 bits of K expressions of the labels of (..., B) bits."""
    library = _library(data)
    shape = (*data.shape[:-1], byte_count(len(expressions)))
    combined = library.zeros(shape, dtype=library.uint8, device=data.device)
    for k, expression in enumerate(expressions):
        value = library.zeros(shape[:-1], dtype=library.bool, device=data.device)
        for adds, indices in expression:
            mask = byte_mask(indices, data.shape[-1])
            chosen = [data[..., i] & int(mask[i]) for i in np.flatnonzero(mask).tolist()]
            union = functools.reduce(operator.or_, chosen) != 0
            value = value | union if adds else value & ~union
        combined[..., k // 8] |= value.view(library.uint8) << k % 8
    return combined


# -- mirroring


def swap_sides(data: Bits, labels: LabelSet) -> Bits:
    """Return (..., B) uint8 packed bits with each label's bit moved to its mirror label.

    A label whose counterpart is not among the labels is a ValueError."""
    if not isinstance(data, np.ndarray):
        return _swap(data, labels)
    width = data.shape[-1]
    items = np.ascontiguousarray(data).reshape(-1, width)
    flat = items.ravel()
    changes = flat[width:] != flat[:-width]
    if np.count_nonzero(changes) > len(items):
        return _swap(items, labels).reshape(data.shape)
    # neighbours mostly have the same labels: only the first pixel of a run is worked on
    pixels = np.flatnonzero(changes) // width + 1
    starts = np.append(0, pixels[np.diff(pixels, prepend=0) > 0])
    swapped = as_items(_swap(items[starts], labels))
    return np.repeat(swapped, np.diff(starts, append=len(items))).view(np.uint8).reshape(data.shape)


def _swap(bits: Bits, labels: LabelSet) -> Bits:
    words = as_words(bits)
    out = words * 0
    for source, target, shift, mask in _swap_plan(labels):
        moved = words[..., source] << shift if shift >= 0 else words[..., source] >> -shift
        out[..., target] |= moved & mask
    return out.view(_library(bits).uint8)[..., : bits.shape[-1]]


@functools.lru_cache(maxsize=32)
def _swap_plan(labels: LabelSet) -> list[tuple[int, int, int, int]]:
    """Return the steps that move each label's bit to its mirror label, in 64-bit words.

    Bits that move by the same distance move together: some twenty steps instead of 166. A step is
    (source word, target word, shift to the left, mask of the bits in the target word)."""
    if labels.without_mirror:
        unpaired = ", ".join(labels.without_mirror[:3])
        raise ValueError(
            f"cannot mirror these masks: the counterpart of {unpaired} is not among the labels; "
            "add it"
        )
    plan: dict[tuple[int, int, int], int] = {}
    for i, j in enumerate(labels.mirror.tolist()):
        step = (i // 64, j // 64, j % 64 - i % 64)
        plan[step] = plan.get(step, 0) | 1 << j % 64
    # bit 63 is the sign of an int64
    return [(*step, mask - (mask >> 63 << 64)) for step, mask in plan.items()]


def as_items(data: np.ndarray) -> np.ndarray:
    """Return (...) items of B bytes from (..., B) uint8: a pixel is gathered in one move."""
    data = np.ascontiguousarray(data)
    return data.view(f"V{data.shape[-1]}")[..., 0]
