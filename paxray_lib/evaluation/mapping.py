"""What the labels of other data are in a model's: by a map file, or by equal names.

A map has a line for each structure to compare, an expression of the model's labels (see
`labels.expressions`) for a name of the data:

    left_lung: lung_left - diaphragm - mediastinum_overall - heart
    heart: heart

The maps in the folder `maps` are known by their names.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.labels.expressions import Expression, parse_expression, single_label
from paxray_lib.labels.matching import match
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.masks.bits import Bits, combine_bits
from paxray_lib.utils.errors import did_you_mean, shown
from paxray_lib.utils.strict_yaml import read_yaml

_MAPS = Path(__file__).with_name("maps")


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
    path = find_map(map)
    lines = read_yaml(path)
    if path.parent == _MAPS:  # of a whole data set, of which a part may have been imported
        lines = {name: text for name, text in lines.items() if name in data}
    if not lines:
        raise ValueError(
            f"{path}: no line for a label of the data ({shown(data.names)}); write one as in "
            "'left_lung: lung_left - heart'"
        )
    predicted, expected = [], []
    for name, text in lines.items():
        if name not in data:
            near = did_you_mean(name, data) or f"; it has {shown(data.names)}"
            raise ValueError(f"{path}: {shown(name)} is no label of the data{near}")
        expected.append(((True, tuple(data.index(name))),))
        try:
            if not isinstance(text, str):
                raise ValueError(f"{shown(text)} is no text such as 'lung_left - heart'")
            predicted.append(parse_expression(text, model))
        except ValueError as error:
            raise ValueError(f"{path}: {shown(name)}: {error}") from error
    info = {"map": lines, "left_out": _without(data, expected)}
    return LabelMap(LabelSet(lines), tuple(predicted), tuple(expected), info)


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


def map_names() -> list[str]:
    """Return the names of the maps that come with the package."""
    return sorted(path.stem for path in _MAPS.glob("*.yaml"))


def find_map(map: str | os.PathLike, base: str | os.PathLike = ".") -> Path:
    """Return the file of a map, given by its name or a path relative to `base`.

    FileNotFoundError, with near matches of names, if there is none.
    """
    names, path = map_names(), Path(base) / map
    if str(map) in names:
        return _MAPS / f"{map}.yaml"
    if not os.path.lexists(path):
        near = did_you_mean(path.stem, names)
        raise FileNotFoundError(
            f"{map}: no such map{near}; give a path, or one of {', '.join(names)}"
        )
    return path


def _without(labels: LabelSet, expressions: Iterable[Expression]) -> list[str]:
    """Return the names of labels that no expression has."""
    used = {i for expression in expressions for _, indices in expression for i in indices}
    return [name for i, name in enumerate(labels) if i not in used]
