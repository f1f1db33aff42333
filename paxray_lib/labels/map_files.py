"""Map files: what the structures of another data set are in our labels.

A map is a YAML file with a line for each structure, an expression of our labels (see `expressions`)
for its name:

    left_lung: lung_left - diaphragm - mediastinum_overall - heart
    heart: heart

Those in the folder `maps` are known by their names.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from paxray_lib.labels.expressions import Expression, parse_expression
from paxray_lib.labels.table import LabelSet
from paxray_lib.utils.errors import did_you_mean, shown
from paxray_lib.utils.strict_yaml import read_yaml

_MAPS = Path(__file__).with_name("maps")


def parse_lines(lines: Mapping[str, str], labels: LabelSet, path: Path) -> dict[str, Expression]:
    """Return the expression of each name in the lines of a map.

    ValueError if one selects no label; the message names file and line.
    """
    found = {}
    for name, text in lines.items():
        try:
            found[name] = parse_expression(text, labels)
        except ValueError as error:
            raise ValueError(f"{path}: {shown(name)}: {error}") from error
    return found


def read_lines(map: str | os.PathLike) -> dict[str, str]:
    """Return the text of each name in a map.

    Parameters
    ----------
    map : path of a YAML file, or a name of `map_names`

    Raises
    ------
    FileNotFoundError
        If there is no such file, with near matches of names.
    ValueError
        If the file is no YAML of names and texts or has no line, or a name stands twice; the
        message names the file.
    """
    path = find_map(map)
    lines = read_yaml(path)
    if not lines:
        raise ValueError(f"{path}: no line; write one as in 'left_lung: lung_left - heart'")
    for name, text in lines.items():
        if not isinstance(text, str):
            raise ValueError(
                f"{path}: {shown(name)}: {shown(text)} is no text such as 'lung_left - heart'"
            )
    return lines


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
