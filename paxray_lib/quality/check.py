"""`paxray check`: every finding in a data set at once."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from paxray_lib.data.datafile import Datafile, read_datafile
from paxray_lib.quality.label_audit import audit
from paxray_lib.quality.survey import Finding, Survey, take_survey

MANY = {"error": 10, "warning": 3}  # findings of one cause that are still listed one by one
_EXAMPLES = 3


def check_dataset(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> list[Finding]:
    """Return all findings: errors first, each group in the order of the data file.

    Errors: images or targets that are missing, unreadable, of wrong shape or values; a case in two
    splits; an image listed twice; the same pixels in two splits; a label mostly outside its parent,
    in images without its parent, on the wrong side or out of its order along the body, and which
    names would fit; an image that seems mirrored. Warnings: unknown view, no target, a stack whose
    masks are all empty, labels that never occur, a packed file older than its `.npy`, a label
    partly out of its parent, the same pixels twice in a split.

    What many files have for the same cause is one finding, at the first of them, with their number
    and examples: more than `MANY` of a severity. `Survey.findings` of `take_survey` lists the files
    one by one.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data file itself cannot be read.
    """
    data = read_datafile(data_root, datafile)
    return check_survey(data, take_survey(data))


def check_survey(data: Datafile, survey: Survey) -> list[Finding]:
    """Return the same from a survey of the data that was taken before."""
    findings = _gather(data, [*survey.findings, *_check_splits(data), *audit(survey)])
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _gather(data: Datafile, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings, many of one cause about files or cases as one; those about labels stay, each
    in its place.
    """
    entries = [entry for split in data.splits.values() for entry in split]
    files = {place for entry in entries for place in (entry.image, entry.target, entry.case)}
    groups = defaultdict(list)
    for finding in findings:
        groups[_cause(finding) if finding.where in files else finding].append(finding)
    for group in groups.values():
        first, *others = group
        if len(group) <= MANY[first.severity]:
            yield from group
            continue
        also = ", ".join(finding.where for finding in others[: _EXAMPLES - 1])
        yield Finding(
            first.severity, first.where, f"{first.message} ({len(group)} such, also {also}, ...)"
        )


def _cause(finding: Finding) -> tuple[str, str]:
    """Return the severity and the message without what differs from file to file: its own name, and
    numbers.
    """
    message = finding.message.replace(PurePosixPath(finding.where).stem, "")
    return finding.severity, re.sub(r"\d+(\.\d+)?", "#", message)


def _check_splits(data: Datafile) -> Iterator[Finding]:
    splits_of, places = defaultdict(list), defaultdict(list)
    for split, entries in data.splits.items():
        for entry in entries:
            places[entry.image].append(split)
            if split not in splits_of[entry.case]:
                splits_of[entry.case].append(split)
    for case, splits in splits_of.items():
        if len(splits) > 1:
            yield Finding(
                "error", case, f"the case is in the splits {' and '.join(splits)}; split by case"
            )
    for image, splits in places.items():
        if len(splits) > 1:
            yield Finding("error", image, f"listed {len(splits)} times ({', '.join(splits)})")
