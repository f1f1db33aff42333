"""One image with its masks, and how it travels to the browser.

Masks travel as the table of distinct label sets (packed bits, row 0 the empty set) and one table
row per pixel. Images travel as the rest that remains when each pixel is predicted from its
neighbours. Both are compressed by zlib, which browsers undo.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PilImage

from paxray_lib.masks import PackedMasks, as_words
from paxray_lib.viz.overlay import check_fit, compare, render, windowed


@dataclass(frozen=True)
class Scene:
    """One image with its masks.

    Attributes
    ----------
    name : str
    pixels : (H, W) or (H, W, 3) uint8 array
    target, prediction : PackedMasks of the image's height and width, or None
    view : "frontal", "lateral" or None
    spacing_mm : (row, column) spacing, or None
    """

    name: str
    pixels: np.ndarray
    target: PackedMasks | None
    prediction: PackedMasks | None
    view: str | None = None
    spacing_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_fit(self.pixels, self.target, self.prediction)

    @property
    def masks(self) -> PackedMasks | None:
        """The target, or else the prediction."""
        return self.prediction if self.target is None else self.target

    def draw(self, indices: Iterable[int], *, mode: str, **style: Any) -> np.ndarray:
        """Return (H, W, 3) uint8 pixels; the settings are those of `overlay.compare`."""
        if self.masks is None:  # a sample without a target
            return windowed(self.pixels, style["window"])
        if self.target is None or self.prediction is None:
            return render(self.pixels, self.masks, indices, **style)
        return compare(self.pixels, self.target, self.prediction, indices, mode=mode, **style)

    def reduced(self, part: float) -> "Scene":
        """Return it with height and width times `part`, masks by nearest neighbour."""
        height, width = (max(1, int(side * part)) for side in self.pixels.shape[:2])
        image = PilImage.fromarray(self.pixels).resize((width, height), PilImage.Resampling.BOX)
        return replace(
            self,
            pixels=np.asarray(image),
            target=self.target and self.target.resize(height, width),
            prediction=self.prediction and self.prediction.resize(height, width),
            spacing_mm=self.spacing_mm and (self.spacing_mm[0] / part, self.spacing_mm[1] / part),
        )

    def to_message(self) -> dict[str, Any]:
        """Return what the browser gets: plain values, and bytes of image, target, prediction."""
        height, width = self.pixels.shape[:2]
        message: dict[str, Any] = {
            "name": self.name,
            "view": self.view,
            "spacing": self.spacing_mm and [float(mm) for mm in self.spacing_mm],
            "width": width,
            "height": height,
            "channels": 3 if self.pixels.ndim == 3 else 1,
            "unknown": [] if self.target is None else np.flatnonzero(~self.target.known).tolist(),
            "sets": {},
            "image": pack_image(self.pixels),
        }
        for role, masks in (("target", self.target), ("prediction", self.prediction)):
            if masks is not None:
                message["sets"][role], message[role] = pack_masks(masks)
        return message


def pack_image(pixels: np.ndarray) -> bytes:
    """Return zlib data of (H, W) or (H, W, 3) uint8 pixels, plane by plane, less their prediction.

    The prediction is the median of left, up, and left + up - upper left, where outside the image
    is 0. The difference is taken modulo 256.
    """
    planes = np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.int16)  # (C, H, W)
    around = np.pad(planes, ((0, 0), (1, 0), (1, 0)))
    left, up, corner = around[:, 1:, :-1], around[:, :-1, 1:], around[:, :-1, :-1]
    guess = np.clip(left + up - corner, np.minimum(left, up), np.maximum(left, up))
    return zlib.compress((planes - guess).astype(np.uint8).tobytes())


def pack_masks(masks: PackedMasks) -> tuple[int, bytes]:
    """Return the number K of distinct label sets, and zlib data of (K, B) sets and (H, W) rows.

    The row of a pixel in the sets is little-endian uint16 for K <= 65536, else uint32.
    """
    pixels = masks.data.reshape(-1, masks.data.shape[2])
    pixels = np.insert(pixels, 0, 0, axis=0)  # the empty set comes first
    rows = np.zeros(len(pixels), np.int64)
    # sets are numbered by first appearance; faster than np.unique, which sorts
    for column in as_words(pixels).T:
        codes, values = pd.factorize(column)
        rows, _ = pd.factorize(rows * len(values) + codes)
    sets = np.empty((rows.max() + 1, pixels.shape[1]), np.uint8)
    sets[rows] = pixels
    ids = rows[1:].astype("<u2" if len(sets) <= 65536 else "<u4")
    return len(sets), zlib.compress(sets.tobytes() + ids.tobytes())
