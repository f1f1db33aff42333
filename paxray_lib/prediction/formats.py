"""Formats of predicted masks, and how outputs are named."""

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePath

from paxray_lib.images.files import IMAGE_SUFFIXES

FORMATS = {"packed": ".pxm", "npy": ".npy", "coco": ".json", "dicom-seg": ".seg.dcm"}


def output_names(names: Sequence[str], suffix: str, reserved: Collection[str] = ()) -> list[str]:
    """Return a distinct output name per input: its suffix replaced, or kept where names clash.

    Names that differ only in the case of letters clash, as they do on some file systems.

    Parameters
    ----------
    names : relative paths of the inputs
    suffix : of the outputs
    reserved : names that no output may have

    Raises
    ------
    ValueError
        If two inputs have one name.

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
            examples = [names[i] for i in clashes[:3]]
            raise ValueError(f"no distinct outputs for {examples}; are inputs listed twice?")
        for i in clashes:
            outputs[i] = full[i]
    return outputs


def _stem(name: str) -> str:
    # only the suffix of an image: the end of a UID, as DICOM files have for a name, is no suffix
    stem, suffix = os.path.splitext(PurePath(name).as_posix())
    return stem if suffix.lower() in IMAGE_SUFFIXES else stem + suffix


def _clashes(outputs: Sequence[str], reserved: Collection[str]) -> list[int]:
    """Return the positions of outputs that share a name, or have a reserved one."""
    positions = defaultdict(list)
    for i, output in enumerate(outputs):
        positions[output.casefold()].append(i)
    return sorted(
        i for name, where in positions.items() if len(where) > 1 or name in reserved for i in where
    )
