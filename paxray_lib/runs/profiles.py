"""Profiles: one flat YAML file of settings, with `--set key=value` on top.

A profile holds fields of TrainConfig and parameters of the notebooks; `paxray train`, `run` and
`sweep` share it. Which keys exist, and of which types, is the caller's to say.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from paxray_lib.utils.errors import did_you_mean, shown
from paxray_lib.utils.settings import cast, field_types
from paxray_lib.utils.strict_yaml import parse_yaml, read_yaml

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
    try:
        settings = read_yaml(path)
    except FileNotFoundError:
        near = did_you_mean(Path(path).name, [p.name for p in Path(path).parent.glob("*.yaml")])
        raise FileNotFoundError(f"{path}: no such profile{near}") from None
    origins = dict.fromkeys(settings, str(path))
    for text in overrides:
        key, _, value = text.partition("=")
        key = key.strip()
        if "=" not in text or not key:
            raise ValueError(f"--set {shown(text)}: write it as key=value, such as epochs=3")
        settings[key], origins[key] = parse_yaml(value, f"--set {shown(text)}"), "--set"
    for key, value in settings.items():
        if isinstance(value, dict) and key != "external":  # one data set, a mapping by nature
            flat = "a profile is flat: one 'name: value' per line"
            raise ValueError(f"{origins[key]}: {key[:100]} is a mapping, but {flat}")
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
        raise ValueError(f"{origin}: unknown key {shown(key)}{did_you_mean(key, known)}")


def build_config(config_class: type[_Config], settings: Mapping[str, Any]) -> _Config:
    """Build a config dataclass from those of the settings that are its fields."""
    fields = field_types(config_class)
    return config_class(**{key: value for key, value in settings.items() if key in fields})
