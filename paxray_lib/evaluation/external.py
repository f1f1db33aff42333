"""Other data to evaluate a model on, as notebook 03 and profiles name it.

external: {root: data/wingspan, split: val, map: wingspan}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from paxray_lib.labels.map_files import find_map
from paxray_lib.utils.errors import check_choice, shown
from paxray_lib.utils.settings import check_fields, field_types
from paxray_lib.utils.strict_yaml import read_yaml

_Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class ExternalData:
    """A split of a data set, and the map of its labels, as for `evaluate`."""

    root: _Text
    datafile: _Text = "paxray.json"
    split: _Text = "test"
    map: _Text | None = None

    def __post_init__(self) -> None:
        check_fields(self)


def read_external(
    external: Mapping[str, Any] | str | os.PathLike, base: str | os.PathLike = "."
) -> ExternalData:
    """Check a mapping of the fields of `ExternalData`, or a YAML file of it.

    Paths are relative to `base`. FileNotFoundError or ValueError, naming the key, if one is not
    known or has a wrong value, or if file, folder or map are missing.
    """
    if isinstance(external, str | os.PathLike):
        content, place = read_yaml(Path(base) / external), f"external {external}"
    else:
        content, place = dict(external) if isinstance(external, Mapping) else {}, "external"
    if "root" not in content:
        form = "{root, datafile, split, map}, where root is needed"
        raise ValueError(f"{place}: must be a file or a mapping of {form}, not {shown(external)}")
    for key in content:
        check_choice(key, field_types(ExternalData), f"{place}: key")
    try:
        data = ExternalData(**content)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if not (Path(base) / data.root).is_dir():
        raise FileNotFoundError(f"{place}: {data.root}: no such data folder; check the path")
    if data.map is not None:
        find_map(data.map, base)
    return data
