"""COCO: the masks of one image as run lengths or polygons, in the layout of COCO's JSON.

A file has at most 256 MiB, a mask 8 million runs, its polygons an outline of 4 million pixels; the
sizes of images are those of `bits.check_size`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_count, check_size, iter_planes

MAX_COCO_BYTES = 1 << 28
_MAX_RUNS = 1 << 23  # of a mask: noise has as many in 16 million pixels, no part of a body has
_MAX_OUTLINE = 1 << 22  # pixels, of the polygons of a mask; pycocotools takes 60 bytes for each
_MAX_DRAWN = 1 << 34  # annotations times pixels: half a minute


def encode_coco(data: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> dict[str, Any]:
    """Return the content of a file: (H, W, B) packed bits, resized (nearest) to `size`."""
    found = enumerate(iter_annotations(data, len(labels), size), 1)
    return {
        "images": [{"id": 1, "height": size[0], "width": size[1]}],
        "annotations": [{"id": i, "image_id": 1, **annotation} for i, annotation in found],
        "categories": coco_categories(labels),
    }


def coco_categories(labels: LabelSet) -> list[dict[str, Any]]:
    """Return the categories of labels: the id is the index, so that equal names stay apart."""
    return [
        {"id": i, "name": name, "supercategory": group}
        for i, (name, group) in enumerate(zip(labels.names, labels.group, strict=True))
    ]


def iter_annotations(
    data: np.ndarray, labels: int, size: tuple[int, int], *, polygons: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield what COCO says of each mask that is not empty, without ids of it and of its image.

    A mask is an RLE in compressed text; with `polygons` it is a list of these instead if they are
    drawn as the very same bits, see `_exact_polygons`.
    """
    from pycocotools import mask as coco

    for i, mask in enumerate(iter_planes(data, labels, size)):
        if area := int(np.count_nonzero(mask)):
            rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
            text = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
            yield {
                "category_id": i,
                "segmentation": (polygons and _exact_polygons(mask, text)) or text,
                "bbox": coco.toBbox(rle).tolist(),
                "area": area,
                "iscrowd": 0,
            }


def _exact_polygons(mask: np.ndarray, rle: dict[str, Any]) -> list[Any]:
    """Return polygons along the edges of pixels that are drawn as this (H, W) mask, or none.

    A mask with a hole has none: polygons of COCO are united."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    part = mask[y : y + height, x : x + width].view(np.uint8)
    # of doubled pixels, the middles of the outermost ones round to the edges of the pixels
    outlines, tree = cv2.findContours(
        part.repeat(2, 0).repeat(2, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    if (tree[0, :, 3] >= 0).any():  # an outline that lies in another one
        return []
    polygons = [((line[:, 0] + 1) // 2 + (x, y)).ravel().tolist() for line in outlines]
    try:
        return polygons if _rle_of_polygons(polygons, *mask.shape) == rle else []
    except ValueError:  # too long to be read again
        return []


def decode_coco(content: Any) -> tuple[np.ndarray, list[str]]:
    """Return the (H, W, B) packed bits and the names of the labels, which are not checked yet.

    Whatever does not fit the layout raises an error, of any kind."""
    if len(content["images"]) != 1:
        raise ValueError(f"it has {len(content['images'])} images; split it, one file per image")
    image = content["images"][0]
    own = image.get("id")
    height, width = image["height"], image["width"]
    # other tools count from 1 or leave gaps: the order of the ids is the order of the labels
    categories = sorted(content["categories"], key=lambda category: category["id"])
    channels = {category["id"]: i for i, category in enumerate(categories)}
    if len(channels) != len(categories):
        raise ValueError("two categories have the same id")
    drawn: list[tuple[int, Any]] = []
    for annotation in content["annotations"]:
        other = annotation.get("image_id", own)
        if own is not None and other != own:
            raise ValueError(f"a mask of image {other!s:.80}, but the file is of image {own!s:.80}")
        drawn.append((channels[annotation["category_id"]], annotation["segmentation"]))
    data = draw_coco(drawn, len(categories), height, width)
    return data, [category["name"] for category in categories]


def draw_coco(drawn: Iterable[tuple[int, Any]], labels: int, height: int, width: int) -> np.ndarray:
    """Return (H, W, B) packed bits from (index of the label, segmentation) pairs.

    A segmentation is an RLE, compressed or not, or a list of polygons; several of a label are
    united. Whatever does not fit raises an error, of any kind."""
    check_size(height, width, labels)
    rows: list[list[tuple[int, Any]]] = [[] for _ in range(byte_count(labels))]
    for i, segmentation in drawn:
        rows[i // 8].append((i % 8, segmentation))
    if (count := sum(map(len, rows))) * height * width > _MAX_DRAWN:
        raise ValueError(f"{count} masks of {height} x {width}; unite them by label")
    data = np.zeros((height, width, len(rows)), np.uint8)
    for byte, segmentations in enumerate(rows):
        if segmentations:
            plane = np.zeros(width * height, np.uint8)  # runs go down the columns
            for bit, segmentation in segmentations:
                runs = _runs_of(segmentation, height, width)
                values = np.zeros(len(runs), np.uint8)
                values[1::2] = 1 << bit
                plane |= np.repeat(values, runs)
            data[..., byte] = plane.reshape(width, height).T
    return data


def _runs_of(rle: Any, height: int, width: int) -> np.ndarray:
    """Return the run lengths of a mask, int64: they add up to its pixels."""
    if isinstance(rle, list):
        rle = _rle_of_polygons(rle, height, width)
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"a mask of size {rle['size']!s:.80} in an image of {[height, width]}")
    counts = rle["counts"]
    runs = np.asarray(counts) if isinstance(counts, list) else _runs_of_text(counts)
    are_lengths = runs.ndim == 1 and runs.dtype == np.int64 and 0 < len(runs) <= _MAX_RUNS
    # each by itself first: the sum of large ones wraps around
    are_parts = are_lengths and 0 <= runs.min() <= runs.max() <= height * width
    if not are_parts or runs.sum() != height * width:
        raise ValueError(f"{runs.size} run lengths that do not add up to {height} x {width}")
    return runs


def _rle_of_polygons(polygons: list, height: int, width: int) -> dict[str, Any]:
    """Return the RLE of polygons, each [x, y, x, y, ...] in pixels, as pycocotools draws them."""
    from pycocotools import mask as coco

    points = [np.array(polygon) for polygon in polygons]
    if not points or any(p.ndim != 1 or p.dtype.kind not in "iuf" for p in points):
        raise ValueError("polygons that are no lists of numbers")
    if any(len(p) < 6 or len(p) % 2 for p in points):
        raise ValueError("a polygon without pairs of x and y, three at least")
    pairs = [p.astype(float).reshape(-1, 2) for p in points]
    # drawn in integers, which would overflow
    most = (2 * width, 2 * height)
    if not all(((-p <= most) & (p <= most)).all() for p in pairs):
        raise ValueError(f"a polygon far outside of {height} x {width}")
    outline = sum(np.abs(p - np.roll(p, 1, axis=0)).max(axis=1).sum() for p in pairs)
    if outline > _MAX_OUTLINE:
        raise ValueError(f"polygons with an outline of {outline:.0f} pixels")
    lists = [p.ravel().tolist() for p in pairs]
    rle = coco.merge(coco.frPyObjects(lists, height, width))
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _runs_of_text(text: str) -> np.ndarray:
    """Return the run lengths in COCO's compressed text (`rleFrString` of pycocotools).

    Not `pycocotools.mask.decode`: it returns uninitialised memory where the runs stop early."""
    # a digit has six bits: "more follow", then five of the number
    digits = np.frombuffer(text.encode("ascii"), np.uint8) - np.uint8(48)
    ends = np.flatnonzero(digits & 32 == 0)
    lengths = np.diff(ends, prepend=-1)
    if (
        not 0 < len(ends) <= _MAX_RUNS
        or ends[-1] != len(digits) - 1
        or digits.max() > 63
        or lengths.max() > 7
    ):
        raise ValueError("run lengths that are not COCO's compressed text")
    runs, last = np.zeros(len(ends), np.int64), digits[ends]
    numbers = np.arange(len(ends))
    for place in range(lengths.max()):  # from the lowest digit on
        numbers = numbers[lengths[numbers] > place]
        digit = digits[ends[numbers] - lengths[numbers] + 1 + place]
        runs[numbers] |= (digit & 31).astype(np.int64) << 5 * place
    runs -= np.where(last & 16, 1 << 5 * lengths, 0)  # two's complement
    # from the fourth on, each is the difference to the one before the last
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs
