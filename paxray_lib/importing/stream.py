"""A JSON file of any size, read an element at a time.

The text has one character per byte, Latin-1, so that places in it are places in the file. What is
beyond ASCII can only stand in strings: who needs these parses the bytes of the element.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from paxray_lib.utils import open_file

_CHUNK = 1 << 22  # bytes
MAX_ELEMENT = 1 << 24  # bytes of text: uncompressed run lengths of 8 million runs
_SPACE = re.compile(r"[ \t\n\r]*")
_ENDS = (",", "]", "}", ":", " ", "\t", "\n", "\r")  # what comes after a value in an object
Place = tuple[int, int]  # the first byte in the file, and the one after the last


class JsonStream:
    """Walks through a JSON object; a window of the file is in memory.

    ValueError, naming the file and the place, if it is not JSON, cut short, or if one element is
    larger than `MAX_ELEMENT`.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[tuple[str, Any, Place]]:
        """Yield (key, value, place) of all elements of the lists in the object, in order.

        A value that is no list is yielded whole."""
        with open_file(self._path) as self._file:
            self._text, self._start, self._at = "", 0, 0
            self._expect("{")
            keys: set[str] = set()
            while (mark := self._next()) != "}":
                if keys:
                    self._expect(",")
                elif mark == ",":
                    raise self._error("no key")
                key, _ = self._value()
                if not isinstance(key, str) or key in keys:
                    raise self._error(f"key {key!s:.80} is no text, or stands twice")
                keys.add(key)
                self._expect(":")
                if self._next() == "[":
                    yield from ((key, *element) for element in self._list())
                else:
                    yield key, *self._value()
            self._expect("}")
            if self._next():
                raise self._error("more text after the end")

    def _list(self) -> Iterator[tuple[Any, Place]]:
        self._expect("[")
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._next() == "]":
                self._at += 1
                return
            self._expect(",")

    def _value(self) -> tuple[Any, Place]:
        self._next()
        while True:
            reason = "cut short, or no end of a value"
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # a number may go on beyond the window
                if self._text[end : end + 1] in _ENDS:
                    place = (self._start + self._at, self._start + end)
                    self._at = end
                    return value, place
            except json.JSONDecodeError as error:  # it may only be cut off by the window
                reason = f"{error.msg}, or it is cut short there"
            except (RecursionError, ValueError) as error:
                raise self._error("nested too deeply, or a number too long") from error
            if len(self._text) - self._at > MAX_ELEMENT or not self._read():
                raise self._error(reason)

    def _next(self) -> str:
        """Skip white space and return the next character, or an empty text at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise self._error(f"{mark!r} is missing, or it is cut short there")
        self._at += 1

    def _read(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._file.read(max(_CHUNK, len(rest))).decode("latin-1")
        self._text, self._start, self._at = rest + chunk, self._start + self._at, 0
        return bool(chunk)

    def _error(self, reason: str) -> ValueError:
        place = self._start + self._at
        return ValueError(f"{self._path}: not a JSON object of that kind (byte {place}: {reason})")
