"""`paxray check`: every finding in a data set at once."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from paxray_lib.data.datafile import Datafile, read_datafile
from paxray_lib.quality.label_audit import audit
from paxray_lib.quality.survey import Finding, Survey, take_survey

# findings of one cause that are still listed one by one; chosen by eye
LISTED = {"error": 10, "warning": 3}


def check_dataset(
    data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json"
) -> list[Finding]:
    """Return all findings: errors first, each group in the order of the data file.

    Errors: no image at all; images or targets that are missing, unreadable, outside of the data
    root, of wrong shape or values; a case in two splits; an image listed twice, or with the target
    of another; the same pixels in two splits; a label mostly outside its parent, in images without
    its parent, on the wrong side or out of its order along the body, and which names would fit; an
    image that seems mirrored. Warnings: unknown view, no target, a stack whose masks are all empty,
    labels that never occur, a packed file older than its `.npy`, a label partly out of its parent,
    the same pixels twice in a split.

    What more than `LISTED` files have for the same cause is one finding, at the first of them, with
    their number and examples. `Survey.findings` of `take_survey` lists the files one by one.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data file itself cannot be read.
    """
    data = read_datafile(data_root, datafile)
    return check_survey(data, take_survey(data))


def check_survey(data: Datafile, survey: Survey) -> list[Finding]:
    """Return the findings of `check_dataset` from a survey of the data that was taken before."""
    if survey.images.empty:
        return [Finding("error", data.path.name, "no split has an image")]
    findings = _group_by_cause(data, [*survey.findings, *_check_splits(data), *audit(survey)])
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _group_by_cause(data: Datafile, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield one finding for many of one cause about files or cases; those about labels stay."""
    entries = [entry for split in data.splits.values() for entry in split]
    files = {name for entry in entries for name in (entry.image, entry.target, entry.case)}
    groups: dict[object, list[Finding]] = defaultdict(list)
    for finding in findings:
        # without what differs from file to file: its name and numbers
        message = finding.message.replace(PurePosixPath(finding.where).stem, "")
        cause = (finding.severity, re.sub(r"\d+(\.\d+)?", "#", message))
        groups[cause if finding.where in files else finding].append(finding)
    for group in groups.values():
        first = group[0]
        if len(group) <= LISTED[first.severity]:
            yield from group
        else:
            also = ", ".join(finding.where for finding in group[1:3])
            message = f"{first.message} ({len(group)} such, also {also}, ...)"
            yield Finding(first.severity, first.where, message)


def _check_splits(data: Datafile) -> Iterator[Finding]:
    cases, images, targets = (defaultdict(list) for _ in range(3))
    for split, entries in data.splits.items():
        for entry in entries:
            cases[entry.case].append(split)
            images[entry.image].append(split)
            targets[entry.target or ""].append(entry.image)
    for case, splits in cases.items():
        if len(set(splits)) > 1:
            names = " and ".join(dict.fromkeys(splits))
            yield Finding("error", case, f"the case is in the splits {names}; split by case")
    for image, splits in images.items():
        if len(splits) > 1:
            yield Finding("error", image, f"listed {len(splits)} times ({', '.join(splits)})")
    for target, of in targets.items():
        if target and len(several := list(dict.fromkeys(of))) > 1:
            message = f"the target of {', '.join(several[:3])}; each needs masks of its own"
            yield Finding("error", target, message)
