"""DICOM Segmentations of X-rays, as `predict` writes them and other tools correct them.

Which X-ray one is of, it says itself: by the UID of the image, whatever the files are named.
"""

import os
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from paxray_lib.images.dicom import looks_like_dicom
from paxray_lib.images.dicom_file import read_header
from paxray_lib.images.files import find_images
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.importing.common import Item, Opened, Source
from paxray_lib.importing.names import item_name
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.dicom_seg_reading import decode_dicom_seg
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import naming_errors, open_file, read_bytes

_REMEDY = "export it again, as BINARY and not compressed"


def segmentation_source(images: str | os.PathLike, segmentations: str | os.PathLike) -> Source:
    """Return the source of a folder of DICOM images and one of their segmentations.

    The labels are those of all segments, by name; of equal names in one file the first is one label
    and the second another. A label without a segment in a file is not known in its image; one with
    an empty segment is absent. An image without a segmentation is left out and counted. A
    segmentation of no image fails, and so do a second one of an image and images of one UID.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder is missing, or holds no segmentation that can be read.
    """
    found, labels, failed = _segmentations(segmentations)
    items, without = [], 0
    for uid, paths in _images(images, failed).items():
        own = found.pop(uid, [])
        named = ", ".join(map(str, paths))
        if not own:
            without += len(paths)
        elif len(paths) > 1:
            failed.append(f"{named}: {len(paths)} images of one UID, {uid:.64}; keep one of them")
        elif len(own) > 1:
            several = ", ".join(map(str, own))
            failed.append(f"{named}: has {len(own)} segmentations, {several}; keep one of them")
        else:
            name = item_name(paths[0].relative_to(images).as_posix())
            items.append(Item(name, None, partial(_open, paths[0], own[0], labels)))
    failed += [
        f"{path}: is of the image {uid:.64}, which is not in {images}; add that image"
        for uid, paths in found.items()
        for path in paths
    ]
    notes = (f"{without} images without a segmentation left out",) if without else ()
    return Source(labels, items, failed=tuple(failed), notes=notes)


def _segmentations(
    folder: str | os.PathLike,
) -> tuple[dict[str, list[Path]], LabelSet, list[str]]:
    """Return the segmentations of each UID of an image, their labels, and what cannot be read."""
    found: dict[str, list[Path]] = {}
    names: list[str] = []
    failed: list[str] = []
    for path in _files(folder):
        try:
            header = _header(path)
            if header.get("SOPClassUID") != SegmentationStorage:
                continue  # an image, beside which predictions may lie
            with naming_errors(path, "not a DICOM segmentation of one image", _REMEDY):
                own = LabelSet(str(segment.SegmentLabel) for segment in header.SegmentSequence)
                found.setdefault(_image_of(header), []).append(path)
        except (ValueError, OSError) as error:
            failed.append(str(error))
            continue
        missing = Counter(names)
        for name in own:
            missing[name] -= 1
            if missing[name] < 0:
                names.append(name)
    if not names:
        raise ValueError(
            "; ".join(failed[:3]) or f"{folder}: no DICOM segmentation; check the path"
        )
    return found, LabelSet(names), failed


def _images(folder: str | os.PathLike, failed: list[str]) -> dict[str, list[Path]]:
    """Return the images of each UID; add to `failed` what cannot be read."""
    found: dict[str, list[Path]] = {}
    for path in _files(folder):
        try:
            header = _header(path)
        except (ValueError, OSError) as error:
            failed.append(str(error))
            continue
        if header.get("SOPClassUID") != SegmentationStorage:
            found.setdefault(str(header.get("SOPInstanceUID") or ""), []).append(path)
    return found


def _files(folder: str | os.PathLike) -> Iterable[Path]:
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; check the path")
    return find_images(folder)


def _header(path: Path) -> Dataset:
    with open_file(path) as file:
        if not looks_like_dicom(file.read(1 << 12)):
            return Dataset()
    content = read_bytes(path, MAX_BYTES)
    with naming_errors(path, "DICOM that cannot be read", _REMEDY):
        return read_header(content)


def _image_of(header: Dataset) -> str:
    """Return the UID of the one image that a segmentation refers to, or raise ValueError."""
    series = header.get("ReferencedSeriesSequence", ())
    referred = [instance for one in series for instance in one.ReferencedInstanceSequence]
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in header.get(name, ()):
            for derivation in group.get("DerivationImageSequence", ()):
                referred += derivation.get("SourceImageSequence", ())
    uids = {str(instance.ReferencedSOPInstanceUID or "") for instance in referred} - {""}
    if len(uids) != 1:
        raise ValueError(f"it refers to {len(uids)} images")
    return uids.pop()


def _open(image: Path, path: Path, labels: LabelSet) -> Opened:
    content = read_bytes(path, MAX_BYTES)

    def draw(size: tuple[int, int]) -> PackedMasks:
        with naming_errors(path, "not a DICOM segmentation that can be read", _REMEDY):
            data, names = decode_dicom_seg(content, None)
            if data.shape[:2] != size:
                rows, columns = data.shape[:2]
                raise ValueError(
                    f"it is of {rows} x {columns}, but {image} of {size[0]} x {size[1]}"
                )
            return PackedMasks(data, LabelSet(names)).relabel(labels)

    return Opened(image, (content,), draw)
