"""Views and cases: what a file's name says about its image."""

import os
import re
from pathlib import Path

VIEWS = ("frontal", "lateral")
_VIEW = re.compile(r"[ _.-]*(frontal|lateral)\Z", re.IGNORECASE)


def view_of(path: str | os.PathLike) -> str | None:
    """Return "frontal", "lateral" or None, from the end of the file stem.

    >>> view_of("images/p012frontal.png"), view_of("p012_Lateral.npy"), view_of("p012.png")
    ('frontal', 'lateral', None)
    """
    match = _VIEW.search(Path(path).stem)
    return match[1].lower() if match else None


def case_of(path: str | os.PathLike) -> str:
    """Return the file stem without view and separator: the same for both views of a case.

    >>> case_of("images/p012frontal.png"), case_of("p012_lateral.npy"), case_of("p012.png")
    ('p012', 'p012', 'p012')
    """
    return _VIEW.sub("", Path(path).stem) or Path(path).stem
