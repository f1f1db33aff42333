"""Views and cases: what a file's name says about its image."""

import os
import re
from pathlib import Path

VIEWS = ("frontal", "lateral")
#: What tables and DICOM's ViewPosition call a view, in small letters.
VIEW_WORDS = dict.fromkeys(("frontal", "pa", "ap"), "frontal") | dict.fromkeys(
    ("lateral", "lat", "ll", "rl"), "lateral"
)
_IN_NAMES = ("frontal", "pa", "ap", "lateral", "lat")  # LL and RL may be anything there
_VIEW = re.compile(r"[ _.-]*(frontal|lateral)\Z", re.IGNORECASE)
_CASE_ENDS = re.compile(r"[ _.-]*(frontal|lateral)\Z|[ _.-]+(pa|ap|lat)\Z", re.IGNORECASE)


def view_of(path: str | os.PathLike) -> str | None:
    """Return "frontal", "lateral" or None, from the file stem.

    It ends in frontal or lateral, or one of these, pa, ap or lat is a word of its own in it. Words
    that contradict each other say nothing.

    >>> view_of("images/p012frontal.png"), view_of("p012_Lateral.npy"), view_of("p012.png")
    ('frontal', 'lateral', None)
    >>> view_of("p012-PA-2.png"), view_of("lat p012.dcm"), view_of("map.png"), view_of("pa_lat.png")
    ('frontal', 'lateral', None, None)
    """
    stem = Path(path).stem
    if match := _VIEW.search(stem):
        return match[1].lower()
    words = re.split(r"[\W_]+", stem.lower())
    views = {VIEW_WORDS[word] for word in words if word in _IN_NAMES}
    return views.pop() if len(views) == 1 else None


def case_of(path: str | os.PathLike) -> str:
    """Return the file stem without a view at its end, and its separator: the same for both views.

    >>> case_of("images/p012frontal.png"), case_of("p012_lateral.npy"), case_of("p012.png")
    ('p012', 'p012', 'p012')
    >>> case_of("p012_PA.png"), case_of("p012 lat.png"), case_of("p012map.png")
    ('p012', 'p012', 'p012map')
    """
    return _CASE_ENDS.sub("", Path(path).stem) or Path(path).stem
