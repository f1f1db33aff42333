"""A folder of mask pictures for each structure, as JSRT with SCR, Montgomery and Shenzhen have it.

The mask of an image has its name, with another suffix or not, or that name and `_mask`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from paxray_lib.images.files import find_images
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.importing.names import item_name
from paxray_lib.importing.pictures import PICTURE_SUFFIXES, read_mask
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import byte_count, check_size
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import naming_errors, read_bytes


def mask_folders(
    images: str | os.PathLike, masks: Sequence[tuple[str, str | os.PathLike]], ignore: int | None
) -> Source:
    """Return the source of a folder of images and, for each structure, (name, folder of masks).

    A label whose mask is missing is not known in that image; so is one whose mask has a pixel of
    the value `ignore`. An image without any mask fails, as does a mask without an image.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder is missing or empty, or a name is no name of a label.
    """
    labels = LabelSet(name for name, _ in masks)
    images = Path(images)
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder; check the path")
    found = [_masks_in(Path(folder)) for _, folder in masks]
    items, failed, stems = [], [], set()
    for path in find_images(images):
        stem = item_name(path.name)
        stems.add(stem)
        own = [by_stem.get(stem) for by_stem in found]
        if any(own):
            name = item_name(path.relative_to(images).as_posix())
            items.append(Item(name, None, partial(_open, path, own, labels, ignore)))
        else:
            failed.append(f"{path}: no mask in any folder; draw one, or leave the image out")
    for by_stem in found:
        failed += [
            f"{path}: no image of that name" for s, path in by_stem.items() if s not in stems
        ]
    return Source(labels, items, {"ignore": ignore}, tuple(failed))


def _masks_in(folder: Path) -> Mapping[str, Path]:
    """Return the mask pictures in a folder by the name of their image."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; check the path")
    masks: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith("."):
            stem = re.sub(r"[_-]mask\Z", "", path.stem, flags=re.IGNORECASE)
            if stem in masks:
                raise ValueError(f"{path}: {masks[stem].name} is of the same image; remove one")
            masks[stem] = path
    if not masks:
        raise FileNotFoundError(f"{folder}: no PNG, JPEG or GIF in this folder; check the path")
    return masks


def _open(path: Path, masks: Sequence[Path | None], labels: LabelSet, ignore: int | None) -> Opened:
    parts = tuple(read_bytes(mask, MAX_BYTES) if mask else b"" for mask in masks)

    def draw(size: tuple[int, int]) -> PackedMasks:
        data, known = None, np.zeros(len(labels), bool)
        for i, (mask_path, part) in enumerate(zip(masks, parts, strict=True)):
            mask = read_mask(part, mask_path, ignore) if mask_path else None
            if mask is None:
                continue
            if data is None:
                with naming_errors(path, "masks too large"):
                    check_size(mask.shape[0], mask.shape[1], len(labels))
                data = np.zeros((*mask.shape, byte_count(len(labels))), np.uint8)
            if mask.shape != data.shape[:2]:
                other = "{} x {}".format(*data.shape[:2])
                raise ValueError(f"{mask_path}: not {other}, as the other masks of the image are")
            data[..., i // 8] |= mask.view(np.uint8) << np.uint8(i % 8)
            known[i] = True
        if data is None:
            data = np.zeros((*size, byte_count(len(labels))), np.uint8)  # nothing is known
        return PackedMasks(data, labels).knowing(known)

    return Opened(path, parts, draw)
