"""Mask files: `.npy` (the published format), `.pxm` (packed) and `.json` (COCO RLE).

A DICOM Segmentation (`.seg.dcm`) is read here, too; `dicom_seg` writes it, from its X-ray.

Packed file (`.pxm`), all integers little-endian:

    offset 0    8 bytes   magic word "PAXMASK\\n"
    offset 8    uint16    version, 1
    offset 10   uint32    length n of the header
    offset 14   n bytes   header, UTF-8 JSON:
                          {"shape": [L, H, W], "labels": [L names], "body_bytes": m}
    then        m bytes   zstandard frame of the C-ordered (H, W, ceil(L / 8)) uint8 array
    then        uint32    CRC-32 of everything before it

What a file claims is checked before memory goes for it: `bits.check_size` has the limits.
"""

import json
import math
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.bits import (
    byte_count,
    check_size,
    check_stack,
    iter_planes,
    iter_rows,
    pack_planes,
    stray_bits,
)
from paxray_lib.masks.coco import MAX_COCO_BYTES, decode_coco, encode_coco
from paxray_lib.masks.dicom_seg_reading import decode_dicom_seg
from paxray_lib.utils import atomic_write, naming_errors, open_file, parse_json, read_bytes

#: Of files that can be read as masks.
MASK_SUFFIXES = (".pxm", ".npy", ".json", ".seg.dcm")
_MAGIC = b"PAXMASK\n"
_VERSION = 1
_HEAD = struct.Struct("<8sHI")
_MAX_NPY_HEADER = 1 << 14  # NumPy takes 10,000 characters at most
_ONE_AT_A_TIME = threading.Lock()  # NumPy's parsing of headers may fail in threads of Python 3.11
_LabelSet = lru_cache(maxsize=8)(LabelSet)  # one object for many files: it caches what it derives


def read_masks(path: Path, labels: LabelSet | None) -> tuple[np.ndarray, LabelSet]:
    """Return the packed bits, (H, W, B) uint8, writable, and the labels of a mask file.

    `labels` are the expected ones, or None for those in the file. Errors are those of
    `PackedMasks.read`."""
    read_npy = partial(_read_npy, labels=labels)  # it has no names
    read_seg = partial(_read_dicom_seg, labels=labels)  # its names are cut
    formats: dict[str, Callable] = {".npy": read_npy, ".pxm": _read_pxm, ".json": _read_coco}
    read = _by_suffix(path, formats | {".dcm": read_seg})
    data, own = read(path)
    if labels is None or labels == own:
        return data, labels or own
    _check_count(path, len(own), labels, "wrong data file?")
    first = next(i for i, (a, b) in enumerate(zip(labels, own, strict=True)) if a != b)
    raise ValueError(
        f"{path}: label {first} is {own[first]!r} in the file but {labels[first]!r} is expected; "
        "wrong data file?"
    )


def write_masks(path: Path, data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> None:
    """Write (H, W, B) packed bits, resized (nearest) to `size`, atomically, by the suffix."""
    write = _by_suffix(path, {".npy": _write_npy, ".pxm": _write_pxm, ".json": _write_coco})
    size = (int(size[0]), int(size[1]))
    with naming_errors(path, "cannot be written"):
        check_size(*size, len(labels))
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        write(file, data, labels, size)


def _by_suffix(path: Path, functions: dict[str, Callable]) -> Callable:
    if path.suffix.lower() not in functions:
        other = repr(path.suffix) if path.suffix else "a name without suffix"
        raise ValueError(f"{path}: masks are files of {', '.join(functions)}, not {other}")
    return functions[path.suffix.lower()]


def _check_count(path: Path, count: int, labels: LabelSet, hint: str) -> None:
    if count != len(labels):
        raise ValueError(f"{path}: {count} masks, but {len(labels)} labels are expected; {hint}")


# -- .npy


def _read_npy(path: Path, labels: LabelSet | None) -> tuple[np.ndarray, LabelSet]:
    hint = "wrong data file?" if labels else "pass labels=, since it has no names"
    labels = labels or LABELS
    with open_file(path) as file:
        with naming_errors(path, "not a readable .npy stack, or cut short"):
            shape, is_fortran, dtype, offset = _npy_header(file)
        _check_count(path, shape[0] if shape else 0, labels, hint)
        try:
            check_stack(shape, dtype, len(labels))
            check_size(shape[1], shape[2], len(labels))
            _check_length(file, offset + math.prod(shape) * dtype.itemsize)
            planes = (_map_npy if is_fortran else _iter_npy)(file, offset, shape, dtype)
            return pack_planes(planes, shape[1:], labels.names), labels
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, whether the first index runs fastest, dtype, and where the data begin."""
    head = BytesIO(file.read(_MAX_NPY_HEADER))
    version = np.lib.format.read_magic(head)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format, which no stack of numbers needs")
    try:
        with _ONE_AT_A_TIME:
            shape, is_fortran, dtype = readers[version](head)
    except MemoryError as error:  # what Python's parser calls nesting: of 16 kB no memory is short
        raise ValueError("its header is nested too deeply") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    return shape, is_fortran, dtype, head.tell()


def _check_length(file: BinaryIO, expected: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != expected:
        problem = "cut short" if size < expected else "damaged"
        raise ValueError(f"{problem}: {size} bytes, but its header says {expected}; make it again")


def _iter_npy(
    file: BufferedReader, offset: int, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[np.ndarray]:
    """Yield the (H, W) planes; not by a memory map, which ends the process if the file shrinks."""
    plane = np.empty(shape[1:], dtype)
    file.seek(offset)
    for _ in range(shape[0]):
        if file.readinto(plane.data) != plane.nbytes:
            raise ValueError("cut short while it was read")
        yield plane


def _map_npy(
    file: BinaryIO, offset: int, shape: tuple[int, ...], dtype: np.dtype
) -> Iterable[np.ndarray]:
    """Return the (H, W) planes where the first index runs fastest: each is all over the file."""
    return np.memmap(file, dtype, "r", offset, shape, "F")


def _write_npy(file: BinaryIO, data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> None:
    header = {"descr": "|b1", "fortran_order": False, "shape": (len(labels), *size)}
    np.lib.format.write_array_header_1_0(file, header)
    for mask in iter_planes(data, len(labels), size):
        file.write(np.ascontiguousarray(mask).data)


# -- .pxm


def _write_pxm(file: BinaryIO, data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> None:
    # benchmarks/LOG.md has the other levels
    frame = zstandard.ZstdCompressor(level=6).compressobj(size=math.prod(size) * data.shape[2])
    body = [frame.compress(rows.data) for rows in map(np.ascontiguousarray, iter_rows(data, size))]
    body.append(frame.flush())
    header = {
        "shape": [len(labels), *size],
        "labels": list(labels.names),
        "body_bytes": sum(map(len, body)),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    content = b"".join((_HEAD.pack(_MAGIC, _VERSION, len(text)), text, *body))
    file.write(content + struct.pack("<I", zlib.crc32(content)))


def _read_pxm(path: Path) -> tuple[np.ndarray, LabelSet]:
    content = read_bytes(path)
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError(
            f"{path}: not a packed mask file (its magic word is missing); is the suffix right?"
        )
    is_short = len(content) < _HEAD.size + 4
    if is_short or content[-4:] != struct.pack("<I", zlib.crc32(content[:-4])):
        raise ValueError(
            f"{path}: damaged or cut short (its checksum does not match); write or fetch it again"
        )
    _, version, length = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise ValueError(
            f"{path}: packed format version {version}, but this program reads version {_VERSION}; "
            "update"
        )
    with naming_errors(path, "damaged packed mask file"):
        header = parse_json(content[_HEAD.size : _HEAD.size + length], "header")
        body = content[_HEAD.size + length : -4]
        if not isinstance(header["labels"], list):
            raise ValueError(f"labels {header['labels']!s:.80} are no list of names")
        labels = _LabelSet(tuple(header["labels"]))
        count, height, width = header["shape"]
        check_size(height, width, len(labels))
        if count != len(labels) or header["body_bytes"] != len(body):
            claims = f"{len(body)} of {header['body_bytes']!s:.20} bytes"
            raise ValueError(f"{count!s:.20} masks with {len(labels)} names, {claims}")
        data = np.empty((height, width, byte_count(count)), np.uint8)
        # into our own memory: writable for torch, and a frame that holds more cannot fill it
        frames = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
        with frames as reader:
            if reader.readinto(data.reshape(-1)) != data.nbytes or reader.read(1):
                raise ValueError(f"its body does not hold {count} masks of {height} x {width}")
        if stray_bits(data, count):
            raise ValueError(f"bits beyond label {count - 1} are set")
    return data, labels


# -- COCO RLE


def _write_coco(file: BinaryIO, data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> None:
    file.write(json.dumps(encode_coco(data, labels, size)).encode())


def _read_coco(path: Path) -> tuple[np.ndarray, LabelSet]:
    content = read_bytes(path, MAX_COCO_BYTES)
    try:
        data, names = decode_coco(parse_json(content, "content"))
        return data, _LabelSet(tuple(names))
    except KeyError as error:
        key = f"{error!s:.80}"
        raise ValueError(f"{path}: not a COCO RLE file ({key} is missing or unknown)") from error
    except MemoryError:
        raise
    except Exception as error:
        reason = f"{error!s:.200}"
        raise ValueError(f"{path}: not a COCO RLE file of one image ({reason})") from error


# -- DICOM Segmentations


def _read_dicom_seg(path: Path, labels: LabelSet | None) -> tuple[np.ndarray, LabelSet]:
    content = read_bytes(path)
    with naming_errors(path, "not a DICOM segmentation that can be read", "make it again"):
        data, names = decode_dicom_seg(content, list(labels.names) if labels else None)
        return data, labels or _LabelSet(tuple(names))
