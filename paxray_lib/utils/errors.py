"""Error texts that list near matches, or name a file."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path


class Stopped(RuntimeError):
    """Work had to stop before its end; what is done is recorded, and can be resumed."""


def is_disk_full(error: OSError) -> bool:
    """Tell whether no space or quota is left: the next file could not be written either."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def shown(value: object) -> str:
    """Return how an error shows a value: as `repr` does, cut where that is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the tail of an error message that lists near matches, or an empty string.

    >>> did_you_mean("hart", ["heart", "aorta"])
    "; did you mean 'heart'?"
    """
    near = difflib.get_close_matches(word, sorted(set(candidates)), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def first_line(text: str) -> str:
    """Return the first line that is not empty, or an empty text."""
    return text.strip().partition("\n")[0].strip()


def check_choice(value: str, choices: Iterable[str], name: str) -> None:
    """Raise ValueError, with near matches and all choices, if `value` is none of them.

    >>> check_choice("dise", ["dice", "iou"], "score")
    Traceback (most recent call last):
    ValueError: score 'dise': unknown; did you mean 'dice'? (one of dice, iou)
    """
    choices = list(choices)
    if value not in choices:
        near = did_you_mean(str(value), choices)
        raise ValueError(f"{name} {shown(value)}: unknown{near} (one of {', '.join(choices)})")


@contextlib.contextmanager
def naming_errors(
    path: Path, problem: str, remedy: str = "fetch or export it again"
) -> Iterator[None]:
    """Turn what decoders raise for broken data into a ValueError that names the file.

    Too little memory and a package that is not installed are no fault of the file, and pass.
    """
    try:
        yield
    except (MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]  # some show the data
        raise ValueError(f"{path}: {problem} ({reason}); {remedy}") from error
