"""`paxray check`: every finding in a data set at once."""

import os
from collections import defaultdict
from collections.abc import Iterator

from paxray_lib.audit import audit
from paxray_lib.dataset import Datafile, read_datafile
from paxray_lib.survey import Finding, Survey, take_survey

__all__ = ["Finding", "check_dataset", "check_survey"]


def check_dataset(data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json") -> list[Finding]:
    """Return all findings: errors first, each group in the order of the data file.

    Errors: images or targets that are missing, unreadable, of wrong shape or values; a case in two splits; an image
    listed twice; the same pixels in two splits; a label mostly outside its parent, in images without its parent, on the
    wrong side or out of its order along the body, and which names would fit; an image that seems mirrored. Warnings:
    unknown view, no target, an image of one value, a stack whose masks are all empty, labels that never occur, a packed
    file older than its `.npy`, a label partly out of its parent, the same pixels twice in a split.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data file itself cannot be read.
    """
    data = read_datafile(data_root, datafile)
    return check_survey(data, take_survey(data))


def check_survey(data: Datafile, survey: Survey) -> list[Finding]:
    """Return the same from a survey of the data that was taken before."""
    findings = [*survey.findings, *_check_splits(data), *audit(survey)]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _check_splits(data: Datafile) -> Iterator[Finding]:
    splits_of, places = defaultdict(list), defaultdict(list)
    for split, entries in data.splits.items():
        for entry in entries:
            places[entry.image].append(split)
            if split not in splits_of[entry.case]:
                splits_of[entry.case].append(split)
    for case, splits in splits_of.items():
        if len(splits) > 1:
            yield Finding("error", case, f"the case is in the splits {' and '.join(splits)}; split by case")
    for image, splits in places.items():
        if len(splits) > 1:
            yield Finding("error", image, f"listed {len(splits)} times ({', '.join(splits)})")
