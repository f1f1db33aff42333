"""Error texts that list near matches."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the tail of an error message that lists near matches, or an empty string.

    >>> did_you_mean("hart", ["heart", "aorta"])
    "; did you mean 'heart'?"
    """
    near = difflib.get_close_matches(word, sorted(set(candidates)), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
