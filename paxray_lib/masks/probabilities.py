"""Probabilities of chosen labels, 8 bit, at the network's size, and the files that keep them.

A file `x.probabilities.npz` beside the masks `x.pxm` is what `numpy.savez_compressed` writes:

    probabilities   (K, h, w) uint8: 0 is a probability of 0, 255 of 1
    labels          (K,) text: the names

    >>> with numpy.load("x.probabilities.npz") as file:  # doctest: +SKIP
    ...     heart = file["probabilities"][file["labels"] == "heart"] / 255

They cover the whole image, whatever its size and aspect ratio: pixel (r, c) is of the part of the
image from r / h to (r + 1) / h of its height. At an image's own size they would take three to
eight times as much and say no more, since they are enlarged from these.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from PIL import Image as PilImage

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.files import MASK_SUFFIXES
from paxray_lib.utils import atomic_write, naming_errors
from paxray_lib.utils.arrays import read_arrays

SUFFIX = ".probabilities.npz"
_FORMS = {"probabilities": ("u", "lhw"), "labels": ("U", "l")}


@dataclass(frozen=True, eq=False)
class Probabilities:
    """How probable each of K labels is, pixel by pixel.

    Parameters
    ----------
    values : (K, h, w) uint8 array, 255 for a probability of 1
    labels : LabelSet of the K names

    Raises
    ------
    ValueError
        If shape or dtype do not fit.
    """

    values: np.ndarray
    labels: LabelSet

    def __post_init__(self) -> None:
        values, count = self.values, len(self.labels)
        fits = values.ndim == 3 and values.dtype == np.uint8 and len(values) == count
        if not fits or values.size == 0:
            raise ValueError(
                f"probabilities of {count} labels must be ({count}, h, w) uint8, got "
                f"{values.shape} {values.dtype}"
            )

    def __repr__(self) -> str:
        return f"Probabilities(shape={self.values.shape}, {', '.join(self.labels.names):.80})"

    def reduced(self, part: float) -> "Probabilities":
        """Return them with height and width times `part`, averaged."""
        height, width = (max(1, round(side * part)) for side in self.values.shape[1:])
        planes = [
            PilImage.fromarray(plane).resize((width, height), PilImage.Resampling.BOX)
            for plane in self.values
        ]
        return Probabilities(np.stack([np.asarray(plane) for plane in planes]), self.labels)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Probabilities":
        """Read a file; FileNotFoundError, or ValueError if it is damaged, naming it."""
        path, remedy = Path(path), "predict again, or remove it"
        arrays = read_arrays(path, _FORMS, remedy)
        with naming_errors(path, "not probabilities of labels", remedy):
            if missing := sorted(_FORMS.keys() - arrays.keys()):
                raise ValueError(f"{', '.join(missing)} missing")
            return cls(arrays["probabilities"], LabelSet(arrays["labels"].tolist()))

    def write(self, path: str | os.PathLike) -> None:
        """Write a file, atomically, of a name that ends in `SUFFIX`; see the module."""
        if not os.fspath(path).endswith(SUFFIX):
            raise ValueError(f"{path}: probabilities are files of {SUFFIX}")
        labels = np.array(self.labels.names, dtype=np.str_)
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, probabilities=self.values, labels=labels)


def probabilities_name(masks: str | os.PathLike) -> PurePath:
    """Return the name of the file of probabilities beside a mask file.

    >>> probabilities_name("a/x.seg.dcm").as_posix(), probabilities_name("x.png.pxm").as_posix()
    ('a/x.probabilities.npz', 'x.png.probabilities.npz')
    """
    path = PurePath(masks)
    suffix = next((s for s in MASK_SUFFIXES if path.name.lower().endswith(s)), "")
    return path.with_name(path.name[: len(path.name) - len(suffix)] + SUFFIX)
