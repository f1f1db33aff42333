"""Views and cases: what a file's name says about its image."""

import os
import re
from pathlib import Path

from paxray_lib.utils.errors import check_choice

VIEWS = ("frontal", "lateral")
_STEM = re.compile(r"(?P<case>.*?)[ _.-]*(?P<view>frontal|lateral)", re.IGNORECASE)


def check_view(view: str) -> None:
    """Raise ValueError for an unknown view."""
    check_choice(view, VIEWS, "view")


def view_of(path: str | os.PathLike) -> str | None:
    """Return "frontal", "lateral" or None, from the end of the file stem.

    >>> view_of("images/p012frontal.png"), view_of("p012_Lateral.npy"), view_of("p012.png")
    ('frontal', 'lateral', None)
    """
    match = _STEM.fullmatch(Path(path).stem)
    return match["view"].lower() if match else None


def case_of(path: str | os.PathLike) -> str:
    """Return the file stem without view and separator: the same for both views of a case.

    >>> case_of("images/p012frontal.png"), case_of("p012_lateral.npy"), case_of("p012.png")
    ('p012', 'p012', 'p012')
    """
    stem = Path(path).stem
    match = _STEM.fullmatch(stem)
    return match["case"] or stem if match else stem
