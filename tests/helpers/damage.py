"""Damage to files of any kind and to texts: pure functions of the bytes and a seed.

`grammars.py` adds what knows a format.
"""

import random
import re
import string
import struct
from collections.abc import Callable
from typing import NamedTuple

Change = Callable[[bytes, random.Random], bytes]


class Damage(NamedTuple):
    """Damaged bytes, the name of what was done, and whether checksums were made to fit again."""

    data: bytes
    name: str
    sealed: bool


def apply(data: bytes, seed: int, changes: dict[bool, list[Change]]) -> Damage:
    """Damage data by one change, sometimes two, of those for False or True: checksums mended."""
    rng = random.Random(seed)
    sealed = bool(changes[True]) and rng.random() < 0.5
    change = rng.choice(changes[sealed])
    data, name = change(data, rng), change.__name__
    if not sealed and rng.random() < 0.25:
        second = rng.choice(ANY)
        data, name = second(data, rng), f"{name} and {second.__name__}"
    return Damage(data, name, sealed)


def place(data: bytes, rng: random.Random) -> int:
    """Return a place in data: anywhere, or near its begin or end, where the headers are."""
    last = max(0, len(data) - 1)
    near = min(last, rng.choice((16, 64, 400)))
    start, stop = rng.choice(((0, last), (0, last), (0, near), (last - near, last)))
    return rng.randint(start, stop)


def stretch(data: bytes, rng: random.Random) -> slice:
    """Return a stretch of data, short ones as often as long ones."""
    start = place(data, rng)
    return slice(start, start + int(2 ** rng.uniform(0, 17)))


# -- any file


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)]


def change_byte(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + bytes(b ^ rng.randrange(1, 256) for b in data[at : at + 1]) + data[at + 1 :]


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + bytes(b ^ 1 << rng.randrange(8) for b in data[at : at + 1]) + data[at + 1 :]


def fill(data: bytes, rng: random.Random) -> bytes:
    part = stretch(data, rng)
    filling = rng.choice((b"\0", b"\xff")) * len(data[part])
    return data[: part.start] + filling + data[part.stop :]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + rng.randbytes(int(2 ** rng.uniform(0, 12))) + data[at:]


def leave_out(data: bytes, rng: random.Random) -> bytes:
    part = stretch(data, rng)
    return data[: part.start] + data[part.stop :]


def double(data: bytes, rng: random.Random) -> bytes:
    part = stretch(data, rng)
    return data[: part.stop] + data[part] + data[part.stop :]


def move(data: bytes, rng: random.Random) -> bytes:
    part = stretch(data, rng)
    rest = data[: part.start] + data[part.stop :]
    at = place(rest, rng)
    return rest[:at] + data[part] + rest[at:]


def append(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((data, b"\0" * 4096, rng.randbytes(100)))


def change_number(data: bytes, rng: random.Random) -> bytes:
    """Change an aligned integer, which may be a length."""
    kind = rng.choice(("<H", "<I", "<Q", ">H", ">I", ">Q"))
    size = struct.calcsize(kind)
    return change_field(data, rng, [(place(data, rng) // size * size, kind)])


ANY: list[Change] = [
    *(cut, cut, change_byte, change_byte, flip_bit, fill, fill, insert, leave_out, double, move),
    *(append, change_number, change_number),
]


# -- fields whose place and type are known


def change_field(data: bytes, rng: random.Random, fields: list[tuple[int, str]]) -> bytes:
    """Give one of the fields (offset, format of `struct`) a value that may be fatal."""
    fields = [(at, kind) for at, kind in fields if at + struct.calcsize(kind) <= len(data)]
    if not fields:
        return data
    at, kind = rng.choice(fields)
    size = struct.calcsize(kind)
    (value,) = struct.unpack_from(kind, data, at)
    if kind[-1] in "fde":
        new = rng.choice((0.0, -value, value * 2, value * 1000, 1e30, float("nan"), float("inf")))
    else:
        most = 2 ** (8 * size) - 1
        new = rng.choice(
            (0, 1, 2, 3, most, most // 2, most // 2 + 1, value * 2, value - 1, value + 1)
        )
        kind, new = kind.upper(), new % (most + 1)
    return data[:at] + struct.pack(kind, new) + data[at + size :]


# -- texts

NUMBERS = (
    *("-1", "0", "1e999", "-1e999", "1e300", "NaN", "nan", "Infinity", ".inf", "0.5", "1e-300"),
    *("9" * 30, "9" * 5000, "-" + "9" * 30, "9223372036854775807", "18446744073709551616", "1_0"),
    *("0x10", "007", "true", "null", '"1"', "[]", "{}", '""', "~"),
)
TEXTS = (
    *("", "x" * 70_000, "../x", "/etc/passwd", "a\\u0000b", "\\ud800", "=1+1", "\\u001b[2J", "."),
    *("$x_{1$", "<script>", "-", "*a", "&a [*a, *a]", "!!python/name:os.system", "con", "a\\nb"),
)


def _replace(text: str, match: re.Match, new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


def _some(pattern: str, text: str, rng: random.Random) -> re.Match | None:
    matches = list(re.finditer(pattern, text))
    return rng.choice(matches) if matches else None


def _on_text(function: Callable[[str, random.Random], str]) -> Change:
    def change(data: bytes, rng: random.Random) -> bytes:
        return function(data.decode("utf-8", "surrogateescape"), rng).encode(
            "utf-8", "surrogateescape"
        )

    change.__name__ = function.__name__
    return change


@_on_text
def number(text: str, rng: random.Random) -> str:
    found = _some(r"(?<![\w\"/])-?\d+(\.\d+)?(e[-+]?\d+)?(?![\w/])", text, rng)
    return _replace(text, found, rng.choice(NUMBERS)) if found else text


@_on_text
def words(text: str, rng: random.Random) -> str:
    found = _some(r"(?<=\")[^\"\n]*(?=\")", text, rng) or _some(r"\w+", text, rng)
    return _replace(text, found, rng.choice(TEXTS)) if found else text


@_on_text
def nest(text: str, rng: random.Random) -> str:
    """Put brackets around a value, or a value of nothing but brackets in its place."""
    found = _some(r"(?<=: )[^\n,{}\[\]]+", text, rng) or _some(r"\w+", text, rng)
    if not found:
        return text
    depth = rng.choice((1, 2, 50, 1_000, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ("[", ""), ("{", "}"), ("- ", "")))
    return _replace(text, found, opening * depth + found[0] + closing * depth)


@_on_text
def key_twice(text: str, rng: random.Random) -> str:
    found = _some(r"\"[^\"]*\": ?(\"[^\"]*\"|[-\w.]+)", text, rng)
    if found:
        return _replace(text, found, f"{found[0]}, {found[0]}")
    found = _some(r"(?m)^\w+:.*\n", text, rng)
    return _replace(text, found, found[0] * 2) if found else text


@_on_text
def unquote(text: str, rng: random.Random) -> str:
    found = _some(r"[\"'\[\]{}:,\n]", text, rng)
    return _replace(text, found, rng.choice(("", found[0] * 2, " ", '"'))) if found else text


@_on_text
def wrong_kind(text: str, rng: random.Random) -> str:
    """Put a value of another kind in the place of a text, number, list or object."""
    found = _some(r"\"[^\"\n]*\"|\[[^\[\]]*\]|\{[^{}]*\}|(?<=: )[-\w.]+", text, rng)
    return (
        _replace(text, found, rng.choice((*NUMBERS, '"x"', "[1]", '{"a": 1}'))) if found else text
    )


@_on_text
def letters(text: str, rng: random.Random) -> str:
    """Insert a letter, a control character or a byte that is no UTF-8."""
    at = rng.randint(0, len(text))
    strange = "\0\x1b\x85\ufeff\u2028\u202e\udcff\t\r%#&*!|>'\"\\`@"
    return text[:at] + rng.choice(strange + string.ascii_letters) + text[at:]


TEXT: list[Change] = [number, words, nest, key_twice, unquote, wrong_kind, letters]
