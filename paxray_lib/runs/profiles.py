"""Profiles: one flat YAML file of settings, with `--set key=value` on top, checked by name and cast
by type.

A profile holds fields of TrainConfig and parameters of the notebooks; `paxray train`, `run` and
`sweep` share it. Which keys exist and of which type they are is the caller's to say, as a mapping
of names to type hints."""

import dataclasses
import os
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

import yaml

from paxray_lib.utils.errors import did_you_mean


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
    places = dict.fromkeys(settings, str(path))
    for override in overrides:
        key, value = _parse_override(override)
        settings[key], places[key] = value, "--set"
    if known is None:
        return settings
    for key in settings:
        check_key(key, known, places[key])
    return {
        key: cast(value, known[key], f"{places[key]}: {key}") for key, value in settings.items()
    }


def check_key(key: str, known: Iterable[str], place: str) -> None:
    """Raise ValueError with near matches if `key` is not among the `known` ones; `place` names the
    source.
    """
    if key not in known:
        raise ValueError(f"{place}: unknown key {key!r}{did_you_mean(key, known)}")


def field_types(config_class: type) -> dict[str, Any]:
    """Return name and type hint of each field of a dataclass that can be set."""
    hints = typing.get_type_hints(config_class)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(config_class) if field.init
    }


def build_config(config_class: type, settings: Mapping[str, Any]) -> Any:
    """Build a config dataclass from the settings that it knows; the others are meant for someone
    else.
    """
    types = field_types(config_class)
    return config_class(
        **{key: _to_hint(settings[key], types[key]) for key in types if key in settings}
    )


def cast(value: Any, hint: Any, place: str) -> Any:
    """Return `value` as the type that `hint` asks for, as plain YAML data.

    Numbers written as text are read, whole floats become int where int is asked for.

    Raises
    ------
    ValueError
        The value does not fit; the message begins with `place`.

    >>> cast("1e-3", float, "demo.yaml: learning_rate")
    0.001
    """
    try:
        return _cast(value, hint)
    except (ValueError, TypeError):
        raise ValueError(f"{place} must be {describe(hint)}, not {value!r}") from None


def describe(hint: Any) -> str:
    """Say in words what a type hint takes."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, args))
    if (origin or hint) in (list, tuple):
        return "a list such as [1, 2]"
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        NoneType: "null",
    }
    return words.get(hint, getattr(hint, "__name__", str(hint)))


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
    nested = [key for key, value in data.items() if isinstance(value, dict)]
    if nested:
        raise ValueError(
            f"{path}: {nested[0]} is a mapping, but a profile is flat: one 'name: value' a line"
        )
    return data


class _ProfileLoader(yaml.SafeLoader):
    """SafeLoader that reads 5e-3 as a number, as YAML 1.2 does, and refuses a key that stands
    twice.

    PyYAML alone takes 5e-3 for text, since it has no point, and keeps the last of two keys
    silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, (key_node, _) in enumerate(node.value):
            if keys[position] in keys[:position]:
                message = f"key {keys[position]!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
_ProfileLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {text!r}: write it as key=value, such as epochs=3")
    try:
        parsed = yaml.load(value, Loader=_ProfileLoader)
    except yaml.YAMLError:
        raise ValueError(f"--set {text!r}: the value is not readable as YAML") from None
    if isinstance(parsed, dict):
        raise ValueError(f"--set {text!r}: the value is a mapping, but a profile is flat")
    return key.strip(), parsed


def _cast(value: Any, hint: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is Any:
        return value
    if origin in (typing.Union, UnionType):
        return _cast_union(value, args)
    if origin is typing.Literal:
        return args[args.index(value)]
    if (origin or hint) in (list, tuple):
        return _cast_list(value, origin, args)
    if hint is NoneType:
        return _require(value, value is None)
    return _cast_scalar(value, hint)


def _cast_union(value: Any, args: tuple) -> Any:
    # exact types first, so that "3" for int | str stays text
    for arg in sorted(args, key=lambda arg: not (isinstance(arg, type) and type(value) is arg)):
        try:
            return _cast(value, arg)
        except (ValueError, TypeError):
            continue
    raise ValueError(value)


def _cast_list(value: Any, origin: type, args: tuple) -> list:
    _require(value, isinstance(value, (list, tuple)))
    if not args:
        return list(value)
    if origin is list or args[-1] is Ellipsis:
        return [_cast(item, args[0]) for item in value]
    return [_cast(item, arg) for item, arg in zip(value, args, strict=True)]


def _cast_scalar(value: Any, hint: type) -> Any:
    if hint is bool:
        return _require(value, isinstance(value, bool))
    if hint is int:
        number = _number(value)
        return int(_require(number, isinstance(number, int) or number.is_integer()))
    if hint is float:
        return float(_number(value))
    if hint is str or (isinstance(hint, type) and issubclass(hint, os.PathLike)):
        _require(value, isinstance(value, (str, int, float)) and not isinstance(value, bool))
        return str(value)
    return value


def _number(value: Any) -> Any:
    _require(value, isinstance(value, (int, float, str)) and not isinstance(value, bool))
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError(value)
    return value


def _to_hint(value: Any, hint: Any) -> Any:
    """Turn plain YAML data into what the dataclass holds: tuples and paths."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    options = args if origin in (typing.Union, UnionType) else (hint,)
    if isinstance(value, list) and any(
        (typing.get_origin(option) or option) is tuple for option in options
    ):
        return tuple(value)
    if isinstance(value, str) and str not in options and Path in options:
        return Path(value)
    return value
