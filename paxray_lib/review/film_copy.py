"""The film of corrected masks, copied as it is into their folder."""

import os
from pathlib import Path

from paxray_lib.images.files import IMAGE_SUFFIXES
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.images.read import decode_image
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import atomic_write, inside, read_bytes


class FilmCopy:
    """The film of corrected masks; `name` is its path in the folder."""

    def __init__(self, folder: Path, name: str, source: Path, masks: PackedMasks):
        suffix = source.suffix.lower() if source.suffix.lower() in IMAGE_SUFFIXES else ""
        self.name = f"images/{name}{suffix}"
        self.path = inside(folder, self.name)
        self._content = read_bytes(source, MAX_BYTES)
        shape = decode_image(self._content, source).pixels.shape
        if shape != masks.shape[1:]:
            raise ValueError(f"{source}: of {shape}, but its masks are of {masks.shape[1:]}")

    def write(self) -> None:
        """Write it, unless it is there; ValueError if another film is."""
        if os.path.lexists(self.path):
            if read_bytes(self.path, MAX_BYTES) != self._content:
                raise ValueError(f"{self.path}: is another film of that name; use another folder")
            return
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(self._content)
