"""Profiles: one flat YAML file of settings, with `--set key=value` on top.

A profile holds fields of TrainConfig and parameters of the notebooks; `paxray train`, `run` and
`sweep` share it. Which keys exist, and of which types, is the caller's to say.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from paxray_lib.utils.errors import did_you_mean
from paxray_lib.utils.settings import cast, field_types

_Config = TypeVar("_Config")


def read_profile(
    path: str | os.PathLike, overrides: Iterable[str] = (), known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read a profile, lay the overrides over it, check the names and cast the values.

    Parameters
    ----------
    path : path of a YAML file: one mapping of names to plain values or lists of plain values
    overrides : texts such as "epochs=3"; each value is read as YAML and replaces the profile's
    known : mapping of names to type hints, optional
        Hint None takes any plain value. Without `known`, names and types are not checked.

    Returns
    -------
    Plain values (tuples arrive as lists), to be written as YAML or injected into a notebook.

    Raises
    ------
    FileNotFoundError : no such profile
    ValueError : not YAML, not flat, an unknown key (with near matches), a value of the wrong type
    """
    settings = _read_yaml(Path(path))
    origins = dict.fromkeys(settings, str(path))
    for text in overrides:
        key, _, value = text.partition("=")
        key = key.strip()
        if "=" not in text or not key:
            raise ValueError(f"--set {text!r}: write it as key=value, such as epochs=3")
        settings[key], origins[key] = _parse(value, f"--set {text!r}"), "--set"
    for key, value in settings.items():
        if isinstance(value, dict):
            flat = "a profile is flat: one 'name: value' per line"
            raise ValueError(f"{origins[key]}: {key} is a mapping, but {flat}")
    if known is None:
        return settings
    for key, origin in origins.items():
        check_key(key, known, origin)
    return {
        key: cast(value, known[key], f"{origins[key]}: {key}") for key, value in settings.items()
    }


def check_key(key: str, known: Iterable[str], origin: str) -> None:
    """Raise ValueError, with near matches and the key's origin, if it is not a known one."""
    if key not in known:
        raise ValueError(f"{origin}: unknown key {key!r}{did_you_mean(key, known)}")


def build_config(config_class: type[_Config], settings: Mapping[str, Any]) -> _Config:
    """Build a config dataclass from those of the settings that are its fields."""
    fields = field_types(config_class)
    return config_class(**{key: value for key, value in settings.items() if key in fields})


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = _parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.yaml")])
        raise FileNotFoundError(f"{path}: no such profile{near}") from None
    data = {} if data is None else data
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ValueError(f"{path}: a profile is lines of 'name: value', got {type(data).__name__}")
    return data


def _parse(text: str | bytes, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_ProfileLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{origin}: not readable as YAML: {why}") from error


class _ProfileLoader(yaml.SafeLoader):
    """SafeLoader that reads 5e-3 as a number, as YAML 1.2 does, and refuses a repeated key.

    PyYAML alone takes 5e-3, which has no point, for text, and silently keeps the last of two keys.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key_node, deep=True) for key_node, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                place = node.value[number][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=place)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
_ProfileLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
