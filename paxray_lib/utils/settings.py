"""Settings checked and cast by their type hints, by pydantic, with errors in our words."""

import dataclasses
import functools
import re
import typing
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from paxray_lib.utils.errors import did_you_mean

# what the kind of a value is called, by the first word of pydantic's type of error
_KINDS = {
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

    Raises
    ------
    ValueError
        A value does not fit; the message names the field, the value and what fits.
    """
    for name, hint in field_types(type(config)).items():
        object.__setattr__(config, name, _validate(getattr(config, name), hint, name)[0])


def cast(value: Any, hint: Any, place: str) -> Any:
    """Return `value` as the type that `hint` asks for, as plain data (a tuple becomes a list).

    Numbers written as text are read, and whole floats become int where int is asked for. A hint may
    carry limits, as in `Annotated[int, Field(gt=0)]`; None takes anything.

    Raises
    ------
    ValueError
        The value does not fit; the message begins with `place`.

    >>> cast("1e-3", float, "demo.yaml: learning_rate")
    0.001
    """
    if hint is None or hint is Any:
        return value
    checked, adapter = _validate(value, hint, place)
    return adapter.dump_python(checked, mode="json")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], ignored: Collection[str] = ()
) -> list[str]:
    """Return name and both values of each setting that differs, but for the ignored ones.

    >>> differences({"epochs": 2, "seed": 0}, {"epochs": 3, "loss": "dice"}, ignored=["seed"])
    ['epochs (was 2, is 3)', "loss (was not set, is 'dice')"]
    """
    changed = []
    for key in sorted((old.keys() | new.keys()) - set(ignored)):
        before, after = (repr(some[key]) if key in some else "not set" for some in (old, new))
        if before != after:
            changed.append(f"{key} (was {before}, is {after})")
    return changed


@functools.cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True))


def _validate(value: Any, hint: Any, place: str) -> tuple[Any, TypeAdapter]:
    adapter = _adapter(hint)
    # true is no number, and 1 is not true
    strict = isinstance(value, bool) or bool in (hint, *typing.get_args(hint))
    try:
        return adapter.validate_python(value, strict=strict), adapter
    except ValidationError as error:
        raise ValueError(f"{place} {_explanation(error)}") from None


def _explanation(error: ValidationError) -> str:
    """Say what fits, what the value is, and which choice may have been meant."""
    errors = error.errors()
    kinds = [one["type"].partition("_")[0] for one in errors]
    wanted = [
        _KINDS.get(kind, one["msg"].removeprefix("Input should be "))
        for kind, one in zip(kinds, errors, strict=True)
    ]
    value, near = errors[0]["input"], ""
    if kinds[0] == "literal":
        near = did_you_mean(str(value), re.findall("'([^']*)'", errors[0]["ctx"]["expected"]))
    return f"must be {' or '.join(dict.fromkeys(wanted))}, not {value!r}{near}"
