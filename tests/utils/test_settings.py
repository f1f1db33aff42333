"""Settings by type hint: what is read, what is refused, and what the errors say."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from paxray_lib.utils.settings import cast, check_fields, field_types

Zoom = Annotated[float, Field(ge=0, lt=1)]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (2.5, int, "whole number, not 2.5"),
        ("2.5", int, "whole number, not '2.5'"),
        (True, int, "whole number, not True"),
        (True, float, "number, not True"),
        (float("inf"), int, "finite number, not inf"),
        (1, bool, "true or false, not 1"),
        ("yes", bool | None, "true or false, not 'yes'"),
        (False, Path, "not False"),
        (False, str, "text, not False"),
        ("x", float | None, "number, not 'x'"),
        ("60,90", tuple[int, ...], r"list such as \[1, 2\], not '60,90'"),
        ([1, "a"], tuple[int, ...], "whole number, not 'a'"),
        (3, tuple[int, int] | None, r"list such as \[1, 2\], not 3"),
        ([1, 2, 3], tuple[int, int], "shorter list"),
        ("bath", Literal["both", "one"], "'both' or 'one', not 'bath'; did you mean 'both'"),
        (-0.1, Zoom, "greater than or equal to 0"),
        (float("nan"), Zoom, "not nan"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(value, hint, expected):
    with pytest.raises(ValueError, match=f"p.yaml: x must be .*{expected}"):
        cast(value, hint, "p.yaml: x")


@pytest.mark.parametrize(
    ("value", "hint", "plain"),
    [
        ((1, 2), tuple[int, ...], [1, 2]),
        ("a/b", Path, "a/b"),
        (5, str, "5"),
        (5, Path | str, "5"),
        (5, float | None, 5.0),
        (None, str | None, None),
        (True, bool, True),
    ],
)
def test_values_arrive_as_plain_data(value, hint, plain):
    assert cast(value, hint, "x") == plain
    assert type(cast(value, hint, "x")) is type(plain)


@given(st.integers(-(10**9), 10**9))
def test_whole_numbers_survive_every_spelling(number):
    for spelling in (number, str(number), float(number)):
        assert cast(spelling, int, "x") == number
    assert cast(str(number), int | str, "x") == str(number)  # text stays text where text is allowed


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_as_text(number):
    assert cast(repr(number), float, "x") == number
    assert cast(repr(number), float | None, "x") == number


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers())))
def test_no_hint_takes_anything(value):
    assert cast(value, None, "x") == value == cast(value, Any, "x")


@dataclasses.dataclass(frozen=True)
class Config:
    epochs: Annotated[int, Field(gt=0)] = 1
    milestones: tuple[int, ...] = ()
    root: Path = Path()
    derived: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        check_fields(self)


def test_a_dataclass_checks_its_own_fields():
    config = Config("3", [1, 2], "data")
    assert config == Config(3, (1, 2), Path("data"))
    assert isinstance(config.root, Path)
    assert set(field_types(Config)) == {"epochs", "milestones", "root"}
    with pytest.raises(ValueError, match="epochs must be greater than 0, not 0"):
        Config(epochs=0)
