"""What the labels of other data are in a model's: by a map file, or by equal names.

A map (see `labels.map_files`) says what a name of the data is in the model's labels.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from paxray_lib.labels.expressions import Expression, single_label
from paxray_lib.labels.map_files import find_map, map_names, parse_lines, read_lines
from paxray_lib.labels.matching import match
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.masks.bits import Bits, combine_bits
from paxray_lib.utils.errors import did_you_mean, shown


@dataclass(frozen=True)
class LabelMap:
    """Structures that a model and other data have in common.

    Attributes
    ----------
    labels : LabelSet
        Their names in the data.
    predicted, expected : tuple of Expression
        What each is in the labels of the model, and in those of the data.
    info : dict for the summary of an evaluation: where they are from, and what is left out
    """

    labels: LabelSet
    predicted: tuple[Expression, ...]
    expected: tuple[Expression, ...]
    info: dict[str, Any]

    @cached_property
    def singles(self) -> np.ndarray:
        """(K,) int64: the model's label that each structure is, or -1 for a compound."""
        found = map(single_label, self.predicted)
        return np.array([-1 if index is None else index for index in found], np.int64)

    def in_terms_of(self, model: LabelSet) -> "LabelMap":
        """Return the map with other names: the model's label, or for a compound its expression."""
        texts = self.info["map"].values()
        names = [
            text if single < 0 else model.names[single]
            for text, single in zip(texts, self.singles, strict=True)
        ]
        return replace(self, labels=LabelSet(names))

    def map_prediction(self, bits: Bits) -> Bits:
        """Return (..., B) uint8 bits of the structures, from those of the model's labels."""
        return combine_bits(bits, self.predicted)

    def map_target(self, masks: PackedMasks) -> PackedMasks:
        """Return the masks of the structures; one is known where all its labels are."""
        known = [masks.known[[*indices]].all() for ((_, indices),) in self.expected]
        bits = combine_bits(masks.data, self.expected)
        return PackedMasks(bits, self.labels).knowing(np.array(known))


def read_map(map: str | os.PathLike, model: LabelSet, data: LabelSet) -> LabelMap:
    """Read a map between the labels of a model and of data.

    Parameters
    ----------
    map : path of a YAML file, or a name of `map_names`, whose lines for what the data lack are
        left out
    model, data : LabelSet
        A line's name stands for all labels of the data that bear it.

    Raises
    ------
    FileNotFoundError
        If there is no such file, with near matches of names.
    ValueError
        If the file is no YAML of names and texts or has no line, a name is not among the data's
        labels or stands twice, or an expression selects no label of the model; the message names
        file and line.
    """
    path, lines = find_map(map), read_lines(map)
    if str(map) in map_names():  # of a whole data set, of which a part may have been imported
        lines = {name: text for name, text in lines.items() if name in data}
    if not lines:
        raise ValueError(
            f"{path}: no line for a label of the data ({shown(data.names)}); write one as in "
            "'left_lung: lung_left - heart'"
        )
    for name in lines:
        if name not in data:
            near = did_you_mean(name, data) or f"; it has {shown(data.names)}"
            raise ValueError(f"{path}: {shown(name)} is no label of the data{near}")
    predicted = parse_lines(lines, model, path)
    expected = [((True, tuple(data.index(name))),) for name in lines]
    info = {"map": lines, "left_out": _without(data, expected)}
    return LabelMap(LabelSet(lines), tuple(predicted.values()), tuple(expected), info)


def match_names(model: LabelSet, data: LabelSet) -> LabelMap:
    """Return the labels of the data that the model has by the same name.

    Of several of one name the first is compared with the first, and so on. ValueError if there is
    none.
    """
    places = match(data, model)
    shared = np.flatnonzero(places >= 0).tolist()
    if not shared:
        raise ValueError(
            f"the model has no label of the data ({shown(data.names)}); give a map that says "
            "what they are in the model's, such as wingspan"
        )
    predicted, expected = (
        tuple(((True, (i,)),) for i in indices) for indices in (places[shared].tolist(), shared)
    )
    info = {"left_out": _without(data, expected), "left_out_of_model": _without(model, predicted)}
    return LabelMap(LabelSet(data.names[i] for i in shared), predicted, expected, info)


def _without(labels: LabelSet, expressions: Iterable[Expression]) -> list[str]:
    """Return the names of labels that no expression has."""
    used = {i for expression in expressions for _, indices in expression for i in indices}
    return [name for i, name in enumerate(labels) if i not in used]
