"""Mask files: `.npy` (the published format), `.pxm` (packed) and `.json` (COCO RLE).

Packed file (`.pxm`), all integers little-endian:

    offset 0    8 bytes   magic word "PAXMASK\\n"
    offset 8    uint16    version, 1
    offset 10   uint32    length n of the header
    offset 14   n bytes   header, UTF-8 JSON:
                          {"shape": [L, H, W], "labels": [L names], "body_bytes": m}
    then        m bytes   zstandard frame of the C-ordered (H, W, ceil(L / 8)) uint8 array
    then        uint32    CRC-32 of everything before it
"""

import json
import math
import struct
import threading
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zstandard

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.bits import byte_count, iter_planes, iter_rows, pack_bits, stray_bits
from paxray_lib.utils import atomic_write, naming_errors

MASK_SUFFIXES = (".pxm", ".npy", ".json")
_MAGIC = b"PAXMASK\n"
_VERSION = 1
_HEAD = struct.Struct("<8sHI")
# a header that claims more (10,000 x 10,000 with 166 labels fit) is damaged or hostile
_MAX_BYTES = 1 << 31
_ONE_AT_A_TIME = threading.Lock()  # NumPy's parsing of headers may fail in threads of Python 3.11
_LabelSet = lru_cache(maxsize=8)(LabelSet)  # one object for many files: it caches what it derives


def read_masks(path: Path, labels: LabelSet | None) -> tuple[np.ndarray, LabelSet]:
    """Return the packed bits, (H, W, B) uint8, writable, and the labels of a mask file.

    `labels` are the expected ones, or None for those in the file. Errors are those of
    `PackedMasks.read`."""
    read_npy = partial(_read_npy, labels=labels)  # it has no names
    read = _by_suffix(path, {".npy": read_npy, ".pxm": _read_pxm, ".json": _read_coco})
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such mask file")
    if not path.is_file():
        raise ValueError(f"{path}: not a file; give one mask file")
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
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        write(file, data, labels, (int(size[0]), int(size[1])))


def _by_suffix(path: Path, functions: dict[str, Callable]) -> Callable:
    if path.suffix.lower() not in functions:
        other = repr(path.suffix) if path.suffix else "a name without suffix"
        raise ValueError(f"{path}: masks are files of {', '.join(MASK_SUFFIXES)}, not {other}")
    return functions[path.suffix.lower()]


def _check_count(path: Path, count: int, labels: LabelSet, hint: str) -> None:
    if count != len(labels):
        raise ValueError(f"{path}: {count} masks, but {len(labels)} labels are expected; {hint}")


def _check_size(height: int, width: int, labels: int) -> None:
    if height < 1 or width < 1 or height * width * byte_count(labels) > _MAX_BYTES:
        raise ValueError(f"it claims {labels} masks of {height} x {width}")


# -- .npy


def _read_npy(path: Path, labels: LabelSet | None) -> tuple[np.ndarray, LabelSet]:
    with _ONE_AT_A_TIME, naming_errors(path, "not a readable .npy stack, or cut short"):
        stack = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
        count = len(stack)
    hint = "wrong data file?" if labels else "pass labels=, since it has no names"
    labels = labels or LABELS
    _check_count(path, count, labels, hint)
    try:
        return pack_bits(stack, labels.names), labels
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


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
    content = path.read_bytes()
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
        header = json.loads(content[_HEAD.size : _HEAD.size + length])
        body = content[_HEAD.size + length : -4]
        labels = _LabelSet(tuple(header["labels"]))
        count, height, width = map(int, header["shape"])
        _check_size(height, width, len(labels))
        if count != len(labels) or header["body_bytes"] != len(body):
            claims = f"{len(body)} of {header['body_bytes']} bytes"
            raise ValueError(f"{count} masks with {len(labels)} names, {claims}")
        data = np.empty((height, width, byte_count(count)), np.uint8)
        # into our own memory: writable for torch, and a frame that holds more cannot fill it
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            if reader.readinto(data.reshape(-1)) != data.nbytes or reader.read(1):
                raise ValueError(f"its body does not hold {count} masks of {height} x {width}")
        if stray_bits(data, count):
            raise ValueError(f"bits beyond label {count - 1} are set")
    return data, labels


# -- COCO RLE


def _write_coco(file: BinaryIO, data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> None:
    from pycocotools import mask as coco

    annotations: list[dict[str, Any]] = []
    for i, mask in enumerate(iter_planes(data, len(labels), size)):
        if area := int(np.count_nonzero(mask)):
            rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1,
                    "category_id": i,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                    "bbox": coco.toBbox(rle).tolist(),
                    "area": area,
                    "iscrowd": 0,
                }
            )
    content = {
        "images": [{"id": 1, "height": size[0], "width": size[1]}],
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name, "supercategory": group}
            for i, (name, group) in enumerate(zip(labels.names, labels.group, strict=True))
        ],
    }
    file.write(json.dumps(content).encode())


def _read_coco(path: Path) -> tuple[np.ndarray, LabelSet]:
    try:
        return _decode_coco(json.loads(path.read_bytes()))
    except KeyError as error:
        raise ValueError(f"{path}: not a COCO RLE file ({error} is missing or unknown)") from error
    except Exception as error:
        raise ValueError(f"{path}: not a COCO RLE file of one image ({error})") from error


def _decode_coco(content: dict) -> tuple[np.ndarray, LabelSet]:
    if len(content["images"]) != 1:
        raise ValueError(f"it has {len(content['images'])} images; split it, one file per image")
    height, width = (int(content["images"][0][side]) for side in ("height", "width"))
    # other tools count from 1 or leave gaps: the order of the ids is the order of the labels
    categories = sorted(content["categories"], key=lambda category: category["id"])
    channels = {category["id"]: i for i, category in enumerate(categories)}
    if len(channels) != len(categories):
        raise ValueError("two categories have the same id")
    labels = _LabelSet(tuple(category["name"] for category in categories))
    _check_size(height, width, len(labels))
    # runs go down the columns
    planes = np.zeros((byte_count(len(labels)), width * height), np.uint8)
    for annotation in content["annotations"]:
        byte, bit = divmod(channels[annotation["category_id"]], 8)
        planes[byte] |= _decode_segmentation(annotation["segmentation"], height, width) << bit
    return np.ascontiguousarray(planes.reshape(-1, width, height).transpose(2, 1, 0)), labels


def _decode_segmentation(rle: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return the (W * H,) uint8 mask, column after column."""
    if isinstance(rle, list):
        raise ValueError("it holds polygons; convert them to RLE, for instance with pycocotools")
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"a mask of size {rle['size']} in an image of {[height, width]}")
    counts = rle["counts"]
    runs = np.asarray(counts if isinstance(counts, list) else _runs_of_text(counts), np.int64)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths that do not add up to {height} x {width}")
    return np.repeat(np.arange(len(runs)).astype(np.uint8) & 1, runs)


def _runs_of_text(text: str) -> np.ndarray:
    """Return the run lengths in COCO's compressed text (`rleFrString` of pycocotools).

    Not `pycocotools.mask.decode`: it returns uninitialised memory where the runs stop early."""
    # a digit has six bits: "more follow", then five of the number
    digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.append(0, ends[:-1] + 1)
    if (
        not len(ends)
        or ends[-1] != len(digits) - 1
        or ((digits < 0) | (digits > 63)).any()
        or max(ends - starts) > 6
    ):
        raise ValueError("run lengths that are not COCO's compressed text")
    digit = np.arange(len(digits)) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((digits & 31) << 5 * digit, starts)
    runs -= np.where(digits[ends] & 16, 1 << 5 * (ends - starts + 1), 0)  # two's complement
    # from the fourth on, each is the difference to the one before the last
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs
