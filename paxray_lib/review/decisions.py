"""`review.csv`: what was decided on each image, by whom, with a note.

It is written whole with each decision, so that work goes on where it stopped. Several people may
decide in one folder: what one of them did is kept, and not written over unseen.
"""

import getpass
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from paxray_lib.utils import check_choice, did_you_mean, lock, now, read_table, write_table

VERDICTS = ("accept", "doubt", "reject")
#: Verdicts on two masks side by side.
PREFERENCES = ("left", "equal", "right")
REVIEW = "review.csv"
_COLUMNS = ["image", "verdict", "note", "reviewer", "time"]
_LONGEST_NOTE = 10_000  # characters


@dataclass(frozen=True)
class Decision:
    """A row of `review.csv`: a verdict, a note, who decided, and when (UTC, ISO 8601).

    The verdict is one of `VERDICTS` or `PREFERENCES`.
    """

    verdict: str
    note: str = ""
    reviewer: str = ""
    time: str = ""


def account() -> str:
    """Return the name of the account, or "unknown" where the system cannot tell it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a user of that number
        return "unknown"


def read_review(folder: str | os.PathLike) -> dict[str, Decision]:
    """Return the decisions in a folder by the name of the image; none if there is no review yet.

    Raises ValueError, naming file and row, if `review.csv` was damaged.
    """
    path = Path(folder) / REVIEW
    if not os.path.lexists(path):
        return {}
    table = read_table(path, as_text=True)
    if list(table.columns) != _COLUMNS:
        raise ValueError(f"{path}: its columns must be {', '.join(_COLUMNS)}; correct them")
    decisions: dict[str, Decision] = {}
    for number, row in enumerate(table.to_dict("records"), 2):
        name = row.pop("image")
        check_choice(row["verdict"], VERDICTS + PREFERENCES, f"{path}: row {number}: verdict")
        if name in decisions:
            raise ValueError(f"{path}: row {number}: {name[:200]!r} stands twice; remove one")
        decisions[name] = Decision(**row)
    return decisions


class Review:
    """A review of some images, with its decisions in a folder.

    Parameters
    ----------
    folder : holds `review.csv`; made with the first decision
    names : of the images, in the order of the review
    reviewer : who decides
    verdicts : `VERDICTS` on each image, or `PREFERENCES` among two masks of it

    Raises
    ------
    ValueError
        If a name stands twice, or `review.csv` was damaged or has verdicts of the other kind.

    Examples
    --------
    >>> import tempfile
    >>> review = Review(tempfile.mkdtemp(), ["a", "b"], "Ada")
    >>> review.decide("b", "doubt", "rib 6 is rib 5")
    >>> review.progress, review.pending
    ('1 of 2', ['a'])
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        names: Sequence[str],
        reviewer: str = "",
        verdicts: Sequence[str] = VERDICTS,
    ):
        self.folder, self.names, self.reviewer = Path(folder), list(names), reviewer
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"{twice[:200]!r} stands twice among the images to review")
        self.decisions, self.verdicts = read_review(folder), tuple(verdicts)
        for name, decision in self.decisions.items():
            where = f"{self.folder / REVIEW}: verdict on {name[:200]!r} in a review of another kind"
            check_choice(decision.verdict, self.verdicts, where)

    def __repr__(self) -> str:
        return f"Review({self.folder}, {self.progress})"

    @property
    def pending(self) -> list[str]:
        """Names of the images without a decision, in order."""
        return [name for name in self.names if name not in self.decisions]

    @property
    def progress(self) -> str:
        """Such as "41 of 300"."""
        return f"{len(self.names) - len(self.pending)} of {len(self.names)}"

    def decide(self, name: str, verdict: str, note: str = "") -> None:
        """Decide on an image, again if need be, and write that down.

        Raises
        ------
        ValueError
            If the image or the verdict is unknown, or someone else decided on the image since this
            review last read `review.csv`: their decision is read now, and can be replaced.
        OSError
            If it cannot be written; nothing changes.
        """
        check_choice(verdict, self.verdicts, "verdict")
        if name not in self.names:
            raise ValueError(f"{name[:200]!r} is not in review{did_you_mean(name, self.names)}")
        if len(note) > _LONGEST_NOTE or "\0" in note:
            raise ValueError(f"a note of {len(note)} characters, of {_LONGEST_NOTE}; shorten it")
        with lock(self.folder, ".review.lock"):
            before, self.decisions = self.decisions.get(name), read_review(self.folder)
            other = self.decisions.get(name)
            if other != before:
                did = f"{other.verdict!r} by {other.reviewer!r}" if other else "removed"
                raise ValueError(
                    f"{self.folder / REVIEW}: {name[:200]!r} was decided meanwhile: {did}; "
                    "look again, and decide once more to replace that"
                )
            made = Decision(verdict, note, self.reviewer, now())
            _write(self.folder / REVIEW, self.decisions | {name: made})
            self.decisions = read_review(self.folder)


def _write(path: Path, decisions: dict[str, Decision]) -> None:
    from pandas import DataFrame  # which takes a while

    rows = [{"image": name, **asdict(decision)} for name, decision in decisions.items()]
    write_table(path, DataFrame(rows, columns=_COLUMNS))
