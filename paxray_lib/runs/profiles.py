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
    path : path of a YAML file
        One mapping of names to plain values or lists of plain values.
    overrides : texts such as "epochs=3"
        Each value is read as YAML and replaces the profile's.
    known : mapping of names to type hints, optional
        Hint None takes any plain value. Without `known`, names and types are not checked.

    Returns
    -------
    dict
        Plain values only (tuples arrive as lists), so that it can be written as YAML or injected
        into a notebook.

    Raises
    ------
    FileNotFoundError
        No such profile.
    ValueError
        Not YAML, not flat, an unknown key (with near matches), or a value of the wrong type.
    """
    settings = _read_yaml(Path(path))
    origins = dict.fromkeys(settings, str(path))
    for override in overrides:
        key, value = _parse_override(override)
        settings[key], origins[key] = value, "--set"
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
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_ProfileLoader)
    except FileNotFoundError:
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.yaml")])
        raise FileNotFoundError(f"{path}: no such profile{near}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    data = {} if data is None else data
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ValueError(f"{path}: a profile is lines of 'name: value', got {type(data).__name__}")
    for key, value in data.items():
        _check_flat(value, f"{path}: {key}")
    return data


def _parse_override(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if "=" not in text or not key.strip():
        raise ValueError(f"--set {text!r}: write it as key=value, such as epochs=3")
    try:
        parsed = yaml.load(value, Loader=_ProfileLoader)
    except yaml.YAMLError:
        raise ValueError(f"--set {text!r}: the value is not readable as YAML") from None
    _check_flat(parsed, f"--set {text!r}")
    return key.strip(), parsed


def _check_flat(value: Any, origin: str) -> None:
    if isinstance(value, dict):
        raise ValueError(
            f"{origin} is a mapping, but a profile is flat: one 'name: value' per line"
        )


class _ProfileLoader(yaml.SafeLoader):
    """SafeLoader that reads 5e-3 as a number, as YAML 1.2 does, and refuses a repeated key.

    PyYAML alone takes 5e-3, which has no point, for text, and silently keeps the last of two keys.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                message = f"key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
_ProfileLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
