"""Settings checked and cast by their type hints, by pydantic, with errors in our words."""

import dataclasses
import functools
import re
import typing
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from paxray_lib.utils.errors import did_you_mean, shown

# what the kind of a value is called, by pydantic's type of error or the first word of that
_KINDS = {
    "string_too_short": "text that is not empty",
    "finite": "a finite number",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as [1, 2]",
    "list": "a list such as [1, 2]",
    "too": "a shorter list",
    "missing": "a longer list",
    "path": "text",
    "is": "text",
}


def field_types(config_class: type) -> dict[str, Any]:
    """Return name and type hint, limits included, of each field of a dataclass that can be set."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(config_class) if field.init
    }


def check_fields(config: Any) -> None:
    """Check and cast the fields of a dataclass by their hints; for its `__post_init__`.

    ValueError if a value does not fit; the message names the field, the value and what fits.
    """
    for name, hint in field_types(type(config)).items():
        object.__setattr__(config, name, _validate(getattr(config, name), hint, name))


def cast(value: Any, hint: Any, place: str) -> Any:
    """Return `value` as the type that `hint` asks for, as plain data (a tuple becomes a list).

    Numbers written as text are read, and whole floats become int where int is asked for. A hint may
    carry limits, as in `Annotated[int, Field(gt=0)]`; None takes anything. ValueError, with a
    message that begins with `place`, if the value does not fit.

    >>> cast("1e-3", float, "demo.yaml: learning_rate")
    0.001
    """
    if hint is None or hint is Any:
        return value
    return _adapter(hint).dump_python(_validate(value, hint, place), mode="json")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], ignored: Collection[str] = ()
) -> list[str]:
    """Return name and both values of each setting that differs, but for the ignored ones.

    >>> differences({"epochs": 2, "seed": 0}, {"epochs": 3, "loss": "dice"}, ignored=["seed"])
    ['epochs (was 2, is 3)', "loss (was not set, is 'dice')"]
    """
    pairs = {
        key: [shown(some[key]) if key in some else "not set" for some in (old, new)]
        for key in sorted((old.keys() | new.keys()) - set(ignored))
    }
    return [f"{key} (was {was}, is {now})" for key, (was, now) in pairs.items() if was != now]


@functools.cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False))


def _validate(value: Any, hint: Any, place: str) -> Any:
    # true is no number, and 1 is not true
    strict = isinstance(value, bool) or bool in (hint, *typing.get_args(hint))
    try:
        return _adapter(hint).validate_python(value, strict=strict)
    except ValidationError as error:
        errors = error.errors()
    if errors[0]["type"] == "value_error":  # of a validator of ours
        raise ValueError(f"{place} {errors[0]['ctx']['error']}")
    wanted = dict.fromkeys(map(_wanted, errors))
    value, choices = errors[0]["input"], str(errors[0].get("ctx", {}).get("expected", ""))
    near = did_you_mean(str(value), re.findall("'([^']*)'", choices))
    raise ValueError(f"{place} must be {' or '.join(wanted)}, not {shown(value)}{near}")


def _wanted(error: Mapping[str, Any]) -> str:
    kind, said = error["type"], error["msg"].removeprefix("Input should be ")
    return _KINDS.get(kind) or _KINDS.get(kind.partition("_")[0], said)
