"""Formats in which predicted masks are written, each at the image's own height and width, and how
outputs are named.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from paxray_lib.images.files import IMAGE_SUFFIXES
from paxray_lib.masks.dicom_seg import write_dicom_seg
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils.errors import did_you_mean

FORMATS = {"packed": ".pxm", "npy": ".npy", "coco": ".json", "dicom-seg": ".seg.dcm"}


def check_format(format: str) -> None:
    """Raise ValueError for an unknown format."""
    if format not in FORMATS:
        raise ValueError(
            f"unknown format {format!r}{did_you_mean(format, FORMATS)} (one of {', '.join(FORMATS)})"
        )


def write_output(
    path: Path, masks: PackedMasks, size: tuple[int, int], format: str, source: Path, algorithm: str
) -> None:
    """Write masks of the network's size as masks of `size` (nearest), atomically and a part at a
    time.

    Parameters
    ----------
    path : the output, with the suffix of its format
    masks : PackedMasks of the network's size
    size : (H, W) of the image
    format : a key of FORMATS
    source : the image's file
    algorithm : name of the model

    Raises
    ------
    ValueError
        If the format does not fit the source.
    """
    if format == "dicom-seg":
        write_dicom_seg(path, masks, size, source, algorithm)
    else:
        masks.write(path, size)


def output_names(names: Sequence[str], suffix: str, reserved: Collection[str] = ()) -> list[str]:
    """Return a distinct output name for each input name: its suffix replaced, or kept where two
    would be the same.

    Names that differ in the case of letters alone count as the same, as they are on some file
    systems.

    Parameters
    ----------
    names : relative paths of the inputs
    suffix : of the outputs
    reserved : names that no output may have

    Examples
    --------
    >>> output_names(["a/s.png", "a/t.png", "a/S.jpg"], ".pxm")
    ['a/s.png.pxm', 'a/t.pxm', 'a/S.jpg.pxm']
    """
    outputs = [_stem(name) + suffix for name in names]
    full = [PurePath(name).as_posix() + suffix for name in names]
    while clashes := _clashes(outputs, reserved):
        if all(outputs[i] == full[i] for i in clashes):
            if len(set(outputs)) == len(outputs) and not set(outputs) & set(reserved):
                break  # a.png and a.PNG: this file system tells them apart
            raise ValueError(
                f"no distinct outputs for {[names[i] for i in clashes[:3]]}; are inputs listed twice?"
            )
        outputs = [full[i] if i in clashes else output for i, output in enumerate(outputs)]
    return outputs


def _stem(name: str) -> str:
    # only the suffix of an image: the end of a UID, as DICOM files have for a name, is no suffix
    stem, suffix = os.path.splitext(PurePath(name).as_posix())
    return stem if suffix.lower() in IMAGE_SUFFIXES else PurePath(name).as_posix()


def _clashes(outputs: Sequence[str], reserved: Collection[str]) -> list[int]:
    places: dict[str, list[int]] = {}
    for i, output in enumerate(outputs):
        places.setdefault(output.casefold(), []).append(i)
    return sorted(
        i for name, where in places.items() if len(where) > 1 or name in reserved for i in where
    )
