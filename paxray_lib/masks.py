"""PackedMasks: a stack of overlapping binary masks, one bit for each label and pixel.

Bit `i % 8` (little order) of byte `i // 8` of a pixel is label `i`. For 166 labels a pixel is 21 bytes, so a stack of
512 x 512 takes 5.5 MB in memory, an eighth of the bool array; resize, crop and flip move whole pixels.

Packed file (`.pxm`), all integers little-endian:

    offset 0    8 bytes   magic word "PAXMASK\\n"
    offset 8    uint16    version, 1
    offset 10   uint32    length n of the header
    offset 14   n bytes   header, UTF-8 JSON: {"shape": [L, H, W], "labels": [L names], "body_bytes": m}
    then        m bytes   zstandard frame of the C-ordered (H, W, ceil(L / 8)) uint8 array
    then        uint32    CRC-32 of everything before it
"""

import io
import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import zstandard

from paxray_lib.common import atomic_write
from paxray_lib.labels import LABELS, LabelSet

MASK_SUFFIXES = (".pxm", ".npy", ".json")
_MAGIC = b"PAXMASK\n"
_VERSION = 1
_HEAD = struct.Struct("<8sHI")
_MAX_SIDE = 1 << 15  # a header that claims more is damaged or hostile
_LEVEL = 3  # level 9 saves a tenth of the size for four times the time


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """A (L, H, W) stack of binary masks, packed along the labels.

    Parameters
    ----------
    data : (H, W, ceil(L / 8)) uint8 array
        Label bits of each pixel, little bit order; the unused bits of the last byte are zero.
    labels : LabelSet
        The L label names.

    Raises
    ------
    ValueError
        If shape, dtype or unused bits do not fit the labels.

    Examples
    --------
    >>> masks = PackedMasks.pack(np.eye(3, dtype=bool)[None], LabelSet(["heart"]))
    >>> masks.shape, masks.counts().tolist()
    ((1, 3, 3), [3])
    """

    data: np.ndarray
    labels: LabelSet

    def __post_init__(self):
        data, width = self.data, -(-len(self.labels) // 8)
        if data.ndim != 3 or data.dtype != np.uint8 or data.shape[2] != width:
            raise ValueError(
                f"packed data of {len(self.labels)} labels must be (H, W, {width}) uint8, "
                f"got {data.shape} {data.dtype}; to pack a (L, H, W) stack use PackedMasks.pack"
            )

    # -- to and from plain arrays

    @classmethod
    def pack(cls, stack: np.ndarray, labels: LabelSet) -> "PackedMasks":
        """Pack a (L, H, W) array of bool, or of numbers that are all 0 or 1.

        Raises
        ------
        ValueError
            If the array has another number of labels or dimensions, or holds other values than 0 and 1.
        """
        stack = np.asanyarray(stack)
        if stack.ndim != 3 or len(stack) != len(labels):
            raise ValueError(f"a mask stack of {len(labels)} labels must be ({len(labels)}, H, W), got {stack.shape}")
        planes = np.zeros((-(-len(labels) // 8), *stack.shape[1:]), np.uint8)  # (B, H, W)
        for i, mask in enumerate(stack):
            planes[i // 8] |= _as_bits(mask, labels.names[i]) << np.uint8(i % 8)
        return cls(np.ascontiguousarray(planes.transpose(1, 2, 0)), labels)

    def unpack(self, names: str | Iterable[str] | None = None) -> np.ndarray:
        """Return a (L, H, W) bool array of all labels, or of those that `names` selects (see `LabelSet.select`)."""
        indices = range(len(self.labels)) if names is None else self.labels.select(names)
        planes = np.ascontiguousarray(self.data.transpose(2, 0, 1))  # (B, H, W)
        out = np.empty((len(indices), *self.data.shape[:2]), bool)
        for k, i in enumerate(indices):
            np.not_equal(planes[i // 8] & np.uint8(1 << i % 8), 0, out=out[k])
        return out

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, H, W)."""
        return len(self.labels), *self.data.shape[:2]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.data.nbytes

    def __eq__(self, other) -> bool:
        return isinstance(other, PackedMasks) and self.labels == other.labels and np.array_equal(self.data, other.data)

    __hash__ = None

    def __repr__(self) -> str:
        return f"PackedMasks(shape={self.shape}, {self.nbytes / 1e6:.1f} MB)"

    # -- reading

    def counts(self) -> np.ndarray:
        """Return the area of each label in pixels, (L,) int64."""
        planes = np.ascontiguousarray(self.data.reshape(-1, self.data.shape[2]).T)  # (B, H * W)
        histograms = np.stack([np.bincount(plane, minlength=256) for plane in planes])  # (B, 256)
        return (histograms @ _BIT_TABLE).ravel()[: len(self.labels)]

    def union(self, *names: str) -> np.ndarray:
        """Return the (H, W) bool union of the labels that `names` select (of all labels without names)."""
        indices = self.labels.select(*names) if names else range(len(self.labels))
        return (self.data & _byte_mask(indices, self.data.shape[2])).any(axis=2)

    def at(self, row: int, column: int) -> list[int]:
        """Return the indices of the labels at one pixel."""
        return np.flatnonzero(np.unpackbits(self.data[row, column], bitorder="little")).tolist()

    def select(self, indices: Iterable[int]) -> "PackedMasks":
        """Return the masks of some labels, in the given order."""
        indices = list(indices)
        return PackedMasks.pack(
            np.stack([(self.data[..., i // 8] >> (i % 8)) & 1 for i in indices]),
            LabelSet(self.labels.names[i] for i in indices),
        )

    # -- moving pixels

    def resize(self, height: int, width: int) -> "PackedMasks":
        """Resize to (height, width), nearest neighbour: source index = destination * in // out, in integers."""
        if height < 1 or width < 1:
            raise ValueError(f"cannot resize masks to {height} x {width}")
        rows = nearest_indices(self.data.shape[0], height)
        columns = nearest_indices(self.data.shape[1], width)
        return self.gather(rows, columns)

    def gather(self, rows: np.ndarray, columns: np.ndarray) -> "PackedMasks":
        """Return the pixels of the given source rows and columns: any resize, crop and flip in one step."""
        pixels = self._pixels()[rows[:, None], columns[None, :]]
        return PackedMasks(pixels.view(np.uint8).reshape(len(rows), len(columns), -1), self.labels)

    def crop(self, top: int, left: int, height: int, width: int) -> "PackedMasks":
        """Cut out a rectangle that lies inside; raises ValueError otherwise."""
        rows, columns = self.data.shape[:2]
        if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
            raise ValueError(f"crop of {height} x {width} at ({top}, {left}) leaves masks of {rows} x {columns}")
        return PackedMasks(np.ascontiguousarray(self.data[top : top + height, left : left + width]), self.labels)

    def flip(self, view: str) -> "PackedMasks":
        """Mirror left and right.

        A frontal image ("frontal") also swaps the left and right labels of the patient; a lateral one ("lateral") swaps
        nothing.

        Raises
        ------
        ValueError
            If the view is neither, or a frontal flip needs a label whose counterpart is not in the set.
        """
        if view not in ("frontal", "lateral"):
            raise ValueError(
                f"view {view!r} cannot be flipped: which labels to swap is known for 'frontal' and 'lateral'"
            )
        flipped = np.ascontiguousarray(self.data[:, ::-1])
        return PackedMasks(swap_sides(flipped, self.labels) if view == "frontal" else flipped, self.labels)

    def _pixels(self) -> np.ndarray:
        data = np.ascontiguousarray(self.data)
        return data.view(f"V{data.shape[2]}")[..., 0]  # one item a pixel: gathered in one move

    # -- files

    @classmethod
    def read(cls, path: str | os.PathLike, labels: LabelSet | None = None) -> "PackedMasks":
        """Read `.npy` (a (L, H, W) stack), `.pxm` (packed) or `.json` (COCO RLE), chosen by the suffix.

        Parameters
        ----------
        path : path
        labels : LabelSet, optional
            The expected labels. A `.npy` stack does not carry names: without `labels` it must have the 166 of `LABELS`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, cut short, or does not fit `labels`; the message names the file.
        """
        path = Path(path)
        readers = {".npy": _read_npy, ".pxm": _read_pxm, ".json": _read_coco}
        if path.suffix.lower() not in readers:
            raise ValueError(
                f"{path}: masks are read from {', '.join(MASK_SUFFIXES)}, not from {path.suffix or 'this'!r}"
            )
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such mask file")
        return readers[path.suffix.lower()](path, labels)

    def write(self, path: str | os.PathLike) -> None:
        """Write as `.npy` (bool, the published format), `.pxm` or `.json` (COCO RLE), atomically, chosen by the suffix."""
        path = Path(path)
        writers = {".npy": _npy_bytes, ".pxm": _pxm_bytes, ".json": _coco_bytes}
        if path.suffix.lower() not in writers:
            raise ValueError(
                f"{path}: masks are written as {', '.join(MASK_SUFFIXES)}, not as {path.suffix or 'this'!r}"
            )
        with atomic_write(path) as temporary:
            temporary.write_bytes(writers[path.suffix.lower()](self))


_BIT_TABLE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(
    np.int64
)  # (256, 8)


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Return the (target,) int64 source index of each destination index: destination * source // target, exactly.

    >>> nearest_indices(3, 6).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    return np.arange(target, dtype=np.int64) * source // target


def swap_sides(data: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Return (..., B) uint8 packed bits with each label's bit moved to its mirror label."""
    if labels.without_mirror:
        raise ValueError(
            f"cannot mirror these masks: the counterpart of {', '.join(labels.without_mirror[:3])} is not among the labels"
        )
    words = np.zeros((*data.shape[:-1], -(-data.shape[-1] // 8)), "<u8")
    words.view(np.uint8)[..., : data.shape[-1]] = data
    out = np.zeros_like(words)
    for source, target, shift, mask in _swap_plan(labels):
        bits = words[..., source] & mask
        out[..., target] |= bits << np.uint64(shift) if shift >= 0 else bits >> np.uint64(-shift)
    return np.ascontiguousarray(out.view(np.uint8)[..., : data.shape[-1]])


@lru_cache(maxsize=32)
def _swap_plan(labels: LabelSet) -> list[tuple[int, int, int, np.uint64]]:
    # bits that move by the same distance move together: some ten steps instead of 166
    plan: dict[tuple[int, int, int], int] = {}
    for i, j in enumerate(labels.mirror.tolist()):
        key = (i // 64, j // 64, j % 64 - i % 64)
        plan[key] = plan.get(key, 0) | 1 << i % 64
    return [(*key, np.uint64(mask)) for key, mask in plan.items()]


def _byte_mask(indices: Iterable[int], width: int) -> np.ndarray:
    mask = np.zeros(width, np.uint8)
    for i in indices:
        mask[i // 8] |= 1 << i % 8
    return mask


def _as_bits(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.dtype == bool:
        return mask.view(np.uint8)
    bits = np.asarray(mask == 1)
    if not np.array_equal(bits, mask != 0):
        other = mask[(mask != 0) & (mask != 1)].ravel()[0]
        hint = "; a 0/255 stack must be compared with > 0 first" if other == 255 else ""
        raise ValueError(f"mask of {name!r} holds {other}, but only 0 and 1 are allowed{hint}")
    return bits.view(np.uint8)


def _check_labels(path: Path, count: int, labels: LabelSet | None, found: LabelSet | None = None) -> LabelSet:
    if labels is None and found is None:
        if count != len(LABELS):
            raise ValueError(
                f"{path}: {count} masks without names (the published table has {len(LABELS)}); pass labels="
            )
        return LABELS
    expected = labels if labels is not None else found
    if count != len(expected):
        raise ValueError(f"{path}: {count} masks, but {len(expected)} labels are expected; wrong data file?")
    if labels is not None and found is not None and labels != found:
        first = next(i for i, (a, b) in enumerate(zip(labels, found, strict=True)) if a != b)
        raise ValueError(f"{path}: label {first} is {found[first]!r} in the file but {labels[first]!r} is expected")
    return expected


def _read_npy(path: Path, labels: LabelSet | None) -> PackedMasks:
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable .npy stack, or cut short ({error})") from error
    if not isinstance(stack, np.ndarray) or stack.ndim != 3 or stack.dtype.kind not in "biuf" or 0 in stack.shape:
        raise ValueError(f"{path}: expected a (L, H, W) stack of masks, got {getattr(stack, 'shape', '?')}")
    labels = _check_labels(path, len(stack), labels)
    try:
        return PackedMasks.pack(stack, labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _npy_bytes(masks: PackedMasks) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, masks.unpack(), allow_pickle=False)
    return buffer.getvalue()


def _pxm_bytes(masks: PackedMasks) -> bytes:
    body = zstandard.ZstdCompressor(level=_LEVEL).compress(np.ascontiguousarray(masks.data).tobytes())
    header = {"shape": list(masks.shape), "labels": list(masks.labels.names), "body_bytes": len(body)}
    text = json.dumps(header, separators=(",", ":")).encode()
    content = _HEAD.pack(_MAGIC, _VERSION, len(text)) + text + body
    return content + struct.pack("<I", zlib.crc32(content))


def _read_pxm(path: Path, labels: LabelSet | None) -> PackedMasks:
    content = path.read_bytes()
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{path}: not a packed mask file (its magic word is missing)")
    if len(content) < _HEAD.size + 4 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise ValueError(f"{path}: damaged or cut short (its checksum does not match); write or fetch it again")
    _, version, length = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise ValueError(f"{path}: packed format version {version}, but this program reads version {_VERSION}")
    return _decode_pxm(path, content[_HEAD.size : _HEAD.size + length], content[_HEAD.size + length : -4], labels)


def _decode_pxm(path: Path, header: bytes, body: bytes, labels: LabelSet | None) -> PackedMasks:
    try:
        fields = json.loads(header)
        count, height, width = (int(n) for n in fields["shape"])
        found = _same_set(tuple(fields["labels"]))
        if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE) or fields["body_bytes"] != len(body):
            raise ValueError(f"shape {fields['shape']}, body of {len(body)} bytes")
        shape = (height, width, -(-count // 8))
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=int(np.prod(shape)))
        data = np.frombuffer(raw, np.uint8).reshape(shape)
    except (ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise ValueError(f"{path}: damaged packed mask file ({error})") from error
    return PackedMasks(data, _check_labels(path, count, labels, found))


@lru_cache(maxsize=8)
def _same_set(names: tuple[str, ...]) -> LabelSet:
    return LabelSet(names)  # one object for many files: its derived tables are made once


def _coco_bytes(masks: PackedMasks) -> bytes:
    from pycocotools import mask as coco

    _, height, width = masks.shape
    annotations = []
    for i, area in enumerate(masks.counts().tolist()):
        if area:
            plane = (masks.data[..., i // 8] >> (i % 8)) & 1
            rle = coco.encode(np.asfortranarray(plane))
            box = coco.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode("ascii")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1,
                    "category_id": i,
                    "segmentation": rle,
                    "area": area,
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": i, "name": name, "supercategory": group}
        for i, (name, group) in enumerate(zip(masks.labels.names, masks.labels.group, strict=True))
    ]
    images = [{"id": 1, "height": height, "width": width}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


def _read_coco(path: Path, labels: LabelSet | None) -> PackedMasks:
    from pycocotools import mask as coco

    try:
        content = json.loads(path.read_bytes())
        (image,) = content["images"]
        height, width = int(image["height"]), int(image["width"])
        categories = sorted(content["categories"], key=lambda c: c["id"])
        places = {category["id"]: i for i, category in enumerate(categories)}
        found = _same_set(tuple(category["name"] for category in categories))
        data = np.zeros((height, width, -(-len(found) // 8)), np.uint8)
        for annotation in content["annotations"]:
            rle = annotation["segmentation"]
            if list(rle["size"]) != [height, width]:
                raise ValueError(f"annotation {annotation['id']} has size {rle['size']}, the image {[height, width]}")
            i = places[annotation["category_id"]]
            data[..., i // 8] |= coco.decode(rle) << (i % 8)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a COCO RLE file of one image ({error})") from error
    return PackedMasks(data, _check_labels(path, len(found), labels, found))
