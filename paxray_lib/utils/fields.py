"""Frozen dataclasses whose fields are checked against their annotations."""

import functools
import typing
from typing import Any

from pydantic import TypeAdapter, ValidationError

from paxray_lib.utils.errors import check_choice


def check_fields(config: Any) -> None:
    """Check and convert every field of a dataclass by its annotation; call it in `__post_init__`.

    Raises
    ------
    ValueError
        If a value does not fit, in one line with its name, near matches and what is allowed.
    """
    for name, (hint, adapter) in _adapters(config.__class__).items():
        value = getattr(config, name)
        if typing.get_origin(hint) is typing.Literal:
            check_choice(value, typing.get_args(hint), name)
        try:
            # the dataclass is frozen for everyone else
            object.__setattr__(config, name, adapter.validate_python(value))
        except ValidationError as error:
            limit = error.errors()[0]["msg"].replace("Input should", "it must")
            raise ValueError(f"{name} is {value!r}; {limit}") from None


@functools.cache
def _adapters(config_class: type) -> dict[str, tuple[Any, TypeAdapter]]:
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {name: (hint, TypeAdapter(hint)) for name, hint in hints.items()}
