"""Formats in which predicted masks are written, each at the image's own height and width."""

from pathlib import Path

from paxray_lib.common import did_you_mean
from paxray_lib.masks import PackedMasks

FORMATS = {"packed": ".pxm", "npy": ".npy", "coco": ".json"}


def check_format(format: str) -> None:
    """Raise ValueError for an unknown format."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}{did_you_mean(format, FORMATS)} (one of {', '.join(FORMATS)})")


def write_output(path: Path, masks: PackedMasks, size: tuple[int, int], format: str, source: Path) -> None:
    """Write masks of the network's size as masks of `size` (nearest), atomically.

    Parameters
    ----------
    path : the output, with the suffix of its format
    masks : PackedMasks of the network's size
    size : (H, W) of the image
    format : a key of FORMATS
    source : the image's file

    Raises
    ------
    ValueError
        If the format does not fit the source.
    """
    masks.resize(*size).write(path)
