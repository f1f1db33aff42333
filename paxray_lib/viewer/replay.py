"""Strokes that a page without a kernel handed out as a file, made into corrections."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paxray_lib.utils import parse_json, read_bytes
from paxray_lib.utils.errors import did_you_mean
from paxray_lib.viewer.corrections import Corrections
from paxray_lib.viewer.sources import Source

_MAX_BYTES = 256 << 20
#: The records of strokes by the name of the image, in order.
Strokes = Mapping[str, list[dict[str, Any]]]


def read_strokes(path: str | os.PathLike) -> Strokes:
    """Read a file that the button Download strokes made; ValueError, naming it, if it is none."""
    records, path = parse_json(read_bytes(path, _MAX_BYTES), path), Path(path)
    strokes: dict[str, list[dict[str, Any]]] = {}
    for record in records if isinstance(records, list) else [None]:
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise ValueError(f"{path}: no list of strokes with their images; download them again")
        strokes.setdefault(record["image"], []).append(record)
    if not strokes:
        raise ValueError(f"{path}: has no strokes")
    return strokes


def save_strokes(
    strokes: Strokes, source: Source, folder: str | os.PathLike, who: str
) -> tuple[list[str], list[str]]:
    """Apply strokes to the masks of their images, and save these in a folder of corrections.

    Masks that are in the folder are what is corrected; strokes that are in them are not applied
    again. Returns the names of the images that are done, and why others failed: no image bears the
    name, it is another film or has other labels, a stroke is none, or someone is at it.
    """
    done, failed = list[str](), list[str]()
    corrections = Corrections(source, folder)
    for name, records in strokes.items():
        try:
            if name not in source.names:
                raise ValueError(f"no image is called that{did_you_mean(name, source.names)}")
            position = source.names.index(name)
            kept = [corrections.add(position, record) for record in records]
            if any(kept):
                corrections.save(position, who)
            done.append(name)
        except (ValueError, OSError) as error:
            failed.append(f"{name[:200]}: {error}")
    return done, failed
