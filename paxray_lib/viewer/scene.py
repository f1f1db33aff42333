"""One image with its masks, and how it travels to the browser.

Masks travel as the table of distinct label sets (packed bits, row 0 the empty set) and one table
row per pixel. Images travel as the rest that remains when each pixel is predicted from its
neighbours. Both are compressed by zlib, which browsers undo.
"""

import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PilImage

from paxray_lib.masks import PackedMasks, Probabilities, as_words, moments
from paxray_lib.masks.bits import unpack_bits
from paxray_lib.quality.anatomy_rules import broken_rules
from paxray_lib.viz.heat import draw_heat
from paxray_lib.viz.overlay import check_fit, compare, render, windowed

_MOST = 256  # pixels, to which larger masks are thinned out for the rules of anatomy
#: The name of a label, and thresholds of labels that have another than 0.5.
HeatStyle = tuple[str, Mapping[str, float]]


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
    probabilities : those of some labels of the masks, or None
    """

    name: str
    pixels: np.ndarray
    target: PackedMasks | None
    prediction: PackedMasks | None
    view: str | None = None
    spacing_mm: tuple[float, float] | None = None
    probabilities: Probabilities | None = None

    def __post_init__(self) -> None:
        check_fit(self.pixels, self.target, self.prediction)
        if self.probabilities is not None:
            for name in self.probabilities.labels:
                if self.masks is None or name not in self.masks.labels.names:
                    raise ValueError(f"{self.name}: probabilities of {name!r}, which no mask has")

    @property
    def masks(self) -> PackedMasks | None:
        """The target, or else the prediction."""
        return self.prediction if self.target is None else self.target

    def draw(
        self, indices: Iterable[int], *, mode: str, heat: HeatStyle, **style: Any
    ) -> np.ndarray:
        """Return (H, W, 3) uint8 pixels; the settings are those of `overlay.compare`.

        Mode "probability" is the heat map of a label, or else of the first one that has one;
        "beside" is for two panels, of which this draws the first.
        """
        if mode == "probability" and self.probabilities is not None:
            return self._draw_heat(self.probabilities, heat, **style)
        mode = "target" if mode in ("beside", "probability") else mode
        if self.masks is None:  # a sample without a target
            return windowed(self.pixels, style["window"])
        if self.target is None or self.prediction is None:
            return render(self.pixels, self.masks, indices, **style)
        return compare(self.pixels, self.target, self.prediction, indices, mode=mode, **style)

    def _draw_heat(self, probabilities: Probabilities, heat: HeatStyle, **style: Any) -> np.ndarray:
        canvas, (name, thresholds) = windowed(self.pixels, style.pop("window")), heat
        names = probabilities.labels.names
        plane = names.index(name) if name in names else 0
        target = None
        if self.target is not None:
            label = self.target.labels.find(names[plane])[0]
            if self.target.known[label]:
                target = unpack_bits(self.target.data, [label])[0]
        threshold = thresholds.get(names[plane], 0.5)
        draw_heat(canvas, probabilities.values[plane], threshold, target, **style)
        return canvas

    def broken_rules(self, *roles: str) -> list[list]:
        """Return [role, *rule] for each rule of anatomy that masks of some roles break.

        The roles are "target" and "prediction"; by default the prediction, or else the target.
        """
        broken: list[list] = []
        for role in roles or ["target" if self.prediction is None else "prediction"]:
            masks: PackedMasks | None = getattr(self, role)
            if masks is not None:
                step = max(1, max(masks.shape[1:]) // _MOST)
                found = moments(PackedMasks(masks.data[::step, ::step], masks.labels))
                broken += [[role, *rule] for rule in broken_rules(found, masks.labels, self.view)]
        return broken

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
            probabilities=self.probabilities and self.probabilities.reduced(part),
        )

    def to_message(
        self, heat_of: Collection[str] | None = None, broken: list[list] | None = None
    ) -> dict[str, Any]:
        """Return what the browser gets: plain values, and bytes of image, masks, probabilities.

        `heat_of` are the labels whose probabilities it gets; by default all that there are.
        `broken` are the `broken_rules` that it lists; by default those of `broken_rules()`.
        """
        height, width = self.pixels.shape[:2]
        message: dict[str, Any] = {
            "name": self.name,
            "view": self.view,
            "spacing": self.spacing_mm and [float(mm) for mm in self.spacing_mm],
            "width": width,
            "height": height,
            "channels": 3 if self.pixels.ndim == 3 else 1,
            "unknown": _unknown(self.target),
            "lacking": _unknown(self.prediction),
            "broken": self.broken_rules() if broken is None else broken,
            "sets": {},
            "image": pack_planes(np.atleast_3d(self.pixels).transpose(2, 0, 1)),
        }
        for role, masks in (("target", self.target), ("prediction", self.prediction)):
            if masks is not None:
                message["sets"][role], message[role] = pack_masks(masks)
        if self.probabilities is not None:
            values, names = self.probabilities.values, self.probabilities.labels.names
            sent = [i for i, name in enumerate(names) if heat_of is None or name in heat_of] or [0]
            message["heat"] = {"names": [names[i] for i in sent], "size": list(values.shape[1:])}
            message["probabilities"] = pack_planes(values[sent])
        return message


def _unknown(masks: PackedMasks | None) -> list[int]:
    """Return the labels that masks do not know, by index."""
    return [] if masks is None else np.flatnonzero(~masks.known).tolist()


def pack_planes(planes: np.ndarray) -> bytes:
    """Return zlib data of (C, H, W) uint8 planes, each less its prediction from itself.

    The prediction is the median of left, up, and left + up - upper left, where outside the image
    is 0. The difference is taken modulo 256.
    """
    planes = planes.astype(np.int16)
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
