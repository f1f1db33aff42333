"""What an image is: frontal or lateral, and whether it is an upright film of a chest at all.

All is told from the masks and the pixels in them, at most `_SIDE` pixels high and wide. `traits`
measures; the rules are in `recognize_view` and `Recognizer`. Their numbers were chosen on the first
thirty training films of wingspan and on phantoms, and tested on other films, see
`benchmarks/open_model/flags.py`. Columns of `report.csv`:

view              as told by `views`, the header, the file's name or `view`, else recognized
view_probability  of the recognized view; empty where it was told
flags             words between spaces, none for most films:
    not_a_chest_film  no quarter turn of it has lungs that are darker, or lighter, than the
                      mediastinum
    upside_down       they are so more clearly once it is turned by 180 degrees
    rotated           the same for 90 degrees to either side; or the spine and the line between the
                      lungs are turned by more than 13 degrees (of 25 degrees the masks show 19)
    inverted          lungs lighter than the mediastinum
    mirrored          the heart lies to the right of the patient

In a lateral film lungs lie over all else, so that only quarter turns of a frontal one and what has
no spine beside the heart are noticed there. Masks without lungs, heart, spine and mediastinum, and
those of another table than PAXRay's tell nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from paxray_lib.images.views import VIEWS
from paxray_lib.masks import PackedMasks
from paxray_lib.models.inference import Segmenter, segment
from paxray_lib.models.outlines import enlarge
from paxray_lib.prediction.doubt import Signs

FLAGS = ("not_a_chest_film", "upside_down", "rotated", "inverted", "mirrored")
_SIDE = 128
_NEEDED = ("lung_right", "lung_left", "heart", "spine", "mediastinum_overall")
_HELPFUL = ("diaphragm",)
# logistic regression on phantoms, by benchmarks/open_model/flags.py: intercept, overlap, apart
VIEW_COEFFICIENTS = (2.74, -6.56, 2.52)
# how well lungs and mediastinum can be told apart by their gray: 0.5 not at all, 1 without fail
_SURE, _CLEAR, _LEAST = 0.93, 0.86, 0.75
_GAIN = 0.05  # what a turn must add to that
_LEAST_EDGE = 0.03  # standard deviations of the image, from lungs to what is around them
_TILT = 13.0  # degrees
_ASIDE = -0.03  # of the width: the heart left of the middle of the lungs, in the image
_BESIDE = 0.12  # of the width: from the spine to the heart, seen from the side


@dataclass(frozen=True)
class Found:
    """What an image says of itself, what it was recognized as, and what is said of its masks.

    Attributes
    ----------
    told : the view by header or name, or None
    frontal : probability that it is frontal, or None
    flags : of `FLAGS`
    signs : of doubt, or None
    note : what the file says of itself and cannot be, or an empty text
    size : (height, width) of the image, (0, 0) if that is not known
    """

    told: str | None = None
    frontal: float | None = None
    flags: tuple[str, ...] = ()
    signs: Signs | None = None
    note: str = ""
    size: tuple[int, int] = (0, 0)

    def recognized(self) -> tuple[str | None, float]:
        """Return the likelier view and its probability, or None and NaN."""
        if self.frontal is None:
            return None, math.nan
        return ("frontal", self.frontal) if self.frontal >= 0.5 else ("lateral", 1 - self.frontal)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Found":
        """Undo `to_dict`; what is none of it is left out."""
        told, frontal, flags, note = map(values.get, ("told", "frontal", "flags", "note"))
        is_probability = isinstance(frontal, float) and 0 <= frontal <= 1
        size: Any = values.get("size")
        is_size = isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)
        return cls(
            told if told in VIEWS else None,
            frontal if is_probability else None,
            tuple(flag for flag in FLAGS if isinstance(flags, list) and flag in flags),
            Signs.from_dict(values.get("signs")),
            note if isinstance(note, str) else "",
            (size[0], size[1]) if is_size and size else (0, 0),
        )


@dataclass(frozen=True)
class Traits:
    """What masks and pixels of one image have to tell.

    Attributes
    ----------
    overlap : pixels of both lungs, as part of the smaller one
    apart : from the right lung's centroid to the left one's, as part of the width
    contrast : probability that a pixel of the mediastinum is brighter than one of the lung fields
    edge : brightness around the lung fields, less that of their border, in standard deviations
    tilt : of spine and lungs in degrees, positive clockwise for who looks at the image
    heart_to_spine, heart_to_middle : from the spine's line, and from the middle between the outer
        borders of the lungs, to the heart's centroid, positive to the right of the image, as part
        of the width
    """

    overlap: float
    apart: float
    contrast: float
    edge: float
    tilt: float
    heart_to_spine: float
    heart_to_middle: float

    @property
    def clarity(self) -> float:
        """Return how well lungs and mediastinum are told apart, in 0.5..1, inverted or not."""
        sign = 1 if self.contrast >= 0.5 else -1
        return max(self.contrast, 1 - self.contrast) if sign * self.edge > _LEAST_EDGE else 0.5


def traits(planes: Mapping[str, np.ndarray], gray: np.ndarray) -> Traits | None:
    """Measure masks, (h, w) bool by label, and gray, (h, w) floats; None if a part is missing."""
    right, left, heart, spine = (planes[name] for name in _NEEDED[:4])
    lungs, middle = right | left, planes["mediastinum_overall"] | heart
    fields = lungs & ~middle & ~spine & ~planes.get("diaphragm", np.zeros_like(lungs))
    if not all(mask.any() for mask in (right, left, heart, fields)) or spine.sum() < 2:
        return None
    width = lungs.shape[1]
    rows, columns = np.nonzero(spine)
    there = np.unique(rows)
    centres = [columns[rows == row].mean() for row in there] if len(there) > 1 else [0.0]
    slope, start = np.polyfit(there, centres, 1) if len(there) > 1 else (0.0, columns.mean())
    (right_y, right_x), (left_y, left_x), (heart_y, heart_x) = map(_centre, (right, left, heart))
    outer = np.flatnonzero(lungs.any(axis=0))
    # counterclockwise: the spine's foot goes to the right, the left lung up
    of_lungs = math.degrees(math.atan2(right_y - left_y, left_x - right_x))
    return Traits(
        overlap=float((right & left).sum() / min(right.sum(), left.sum())),
        apart=(left_x - right_x) / width,
        contrast=_contrast(gray[fields], gray[middle]),
        edge=_edge(fields, gray),
        tilt=-(math.degrees(math.atan(slope)) + of_lungs) / 2,
        heart_to_spine=float(heart_x - (slope * heart_y + start)) / width,
        heart_to_middle=(heart_x - (outer[0] + outer[-1]) / 2) / width,
    )


def _centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def _contrast(dark: np.ndarray, bright: np.ndarray) -> float:
    """Return the area under the ROC curve; equal values count half."""
    ordered = np.sort(dark)
    below = np.searchsorted(ordered, bright, "left") + np.searchsorted(ordered, bright, "right")
    return float(below.mean()) / 2 / len(ordered)


def _edge(fields: np.ndarray, gray: np.ndarray) -> float:
    mask, kernel = fields.astype(np.uint8), np.ones((7, 7), np.uint8)
    inside = fields & (cv2.erode(mask, kernel) == 0)
    outside = ~fields & (cv2.dilate(mask, kernel) > 0)
    spread = float(gray.std())
    if not (inside.any() and outside.any() and spread):
        return 0.0
    return float(gray[outside].mean() - gray[inside].mean()) / spread


def probability_frontal(found: Traits) -> float:
    """Return the probability that an image is frontal."""
    intercept, overlap, apart = VIEW_COEFFICIENTS
    return 1 / (1 + math.exp(-(intercept + overlap * found.overlap + apart * found.apart)))


class Recognizer:
    """Tells view and flags of one image after another, with further passes where it must.

    An image that is clearly upright and frontal takes no further pass; others are turned, too.

    Attributes
    ----------
    needed : indices of the labels that it wants to see; empty if it cannot tell anything
    """

    def __init__(self, model: Segmenter):
        self._model = model
        find = model.labels.find
        self.needed: list[int] = []
        if all(find(name) for name in _NEEDED):
            self.needed = [find(name)[0] for name in (*_NEEDED, *_HELPFUL) if find(name)]

    def __call__(
        self, inputs: np.ndarray, masks: PackedMasks | None, told: str | None = None
    ) -> Found:
        """Return what an image is.

        Parameters
        ----------
        inputs : (3, h, w) float32, what the network was given
        masks : what it made of them, of any size, with the labels that are `needed`, or None
        told : the view by header or name
        """
        if not self.needed or masks is None:
            return Found(told)
        upright = _measure(masks, inputs)
        if upright is None:
            return Found(told, flags=("not_a_chest_film",))
        frontal = probability_frontal(upright)
        if frontal >= 0.5 and upright.clarity >= _SURE:
            return Found(told, frontal, _signs(upright))
        turned = [self._turned(inputs, turns, masks.shape[1:]) for turns in (1, 2, 3)]
        clear = [0.0 if not found or found.apart < 0.1 else found.clarity for found in turned]
        best = int(np.argmax(clear))
        least = _CLEAR if frontal < 0.5 else max(_CLEAR, upright.clarity + _GAIN)
        if (found := turned[best]) and clear[best] >= least:
            flag = "upside_down" if best == 1 else "rotated"
            return Found(told, probability_frontal(found), _signs(found, flag))
        if not _is_film(upright):
            return Found(told, flags=("not_a_chest_film",))
        return Found(told, frontal, _signs(upright) if frontal >= 0.5 else ())

    def view(self, inputs: np.ndarray) -> str | None:
        """Return the view of an image of which there are no masks yet."""
        if not self.needed:
            return None
        found = self._turned(inputs, 0, inputs.shape[1:])
        if found is None or not _is_film(found):
            return None
        return Found(None, probability_frontal(found)).recognized()[0]

    def _turned(self, inputs: np.ndarray, turns: int, size: tuple[int, ...]) -> Traits | None:
        """Return the traits of an image of `size` turned by quarters."""
        height, width = size if turns % 2 == 0 else size[::-1]
        given = np.rot90(inputs, turns, (1, 2))
        if given.shape[1:] != inputs.shape[1:]:
            given = enlarge([np.ascontiguousarray(plane) for plane in given], inputs.shape[1:])
        scale = _SIDE / max(height, width, _SIDE)
        small = max(1, round(height * scale)), max(1, round(width * scale))
        (bits,) = segment(self._model, given[None], [None], [small], indices=self.needed)
        if bits is None:
            return None
        labels = type(self._model.labels)(self._model.labels.names[i] for i in self.needed)
        return _measure(PackedMasks(bits, labels), given)


def _measure(masks: PackedMasks, inputs: np.ndarray) -> Traits | None:
    """Return the traits of masks of any size; the gray is the network's input (3, h, w)."""
    height, width = masks.shape[1:]
    scale = _SIDE / max(height, width, _SIDE)
    small = masks.resize(max(1, round(height * scale)), max(1, round(width * scale)))
    gray = np.ascontiguousarray(inputs[0])
    gray = cv2.resize(gray, small.shape[:0:-1], interpolation=cv2.INTER_AREA)
    planes = {}
    for name in (*_NEEDED, *_HELPFUL):
        for i in small.labels.find(name):
            planes[name] = small.data[..., i // 8] & np.uint8(1 << i % 8) != 0
    return traits(planes, gray)


def _is_film(found: Traits) -> bool:
    """Tell whether it may be a film of a chest, as it lies."""
    if probability_frontal(found) >= 0.5:
        return found.clarity >= _LEAST
    return abs(found.heart_to_spine) >= _BESIDE


def _signs(found: Traits, *flags: str) -> tuple[str, ...]:
    """Return the flags of a frontal film, together with those that are known."""
    signs = {
        "rotated": abs(found.tilt) > _TILT,
        "inverted": found.contrast < 0.5,
        "mirrored": found.heart_to_middle < _ASIDE and found.heart_to_spine < 0,
    }
    names = {*flags, *(name for name, holds in signs.items() if holds)}
    return tuple(name for name in FLAGS if name in names)
