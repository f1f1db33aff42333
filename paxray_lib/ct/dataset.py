"""`paxray project`: cases of CT and segmentation projected into a data set.

Every case leaves two images, two packed mask files and `provenance/CASE.json`. The record is begun
before the files are written and complete after them. It is for people, and for the next call: a
case whose complete record has the same inputs, by their SHA-256 and wherever they lie now, and the
same settings is done. What has a record of another CT, or none, is kept: two patients may have
files of the same name.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.ct.nifti import nifti_files
from paxray_lib.ct.pairing import Case, folded
from paxray_lib.ct.project import CT_EXPOSURE, check_settings, project_scan
from paxray_lib.ct.scan import read_scan
from paxray_lib.ct.segmentation import names_file, read_names
from paxray_lib.data import SPLITS, Datafile, Entry, exact_names, read_datafile, write_datafile
from paxray_lib.images.read import write_png
from paxray_lib.images.views import VIEWS
from paxray_lib.labels import LABELS
from paxray_lib.utils import (
    check_choice,
    check_file,
    inside,
    is_disk_full,
    lock,
    now,
    progress,
    read_json,
    sha256,
    write_text,
)

_VERSION = 4  # raise it when the same input gives other projections
_MAX_NAME = 255  # bytes, of a file


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Its status is "ok", "skipped" (done before) or "failed" for a `reason`; `moved_from` is the
    split that listed the case before, if it is another one than now. What is not used of its
    segmentation: `names_not_used` are in no row of totalseg.csv, `values_without_name` in no table.
    """

    case: str
    status: str
    reason: str = ""
    moved_from: str = ""
    names_not_used: tuple[str, ...] = ()
    values_without_name: tuple[int, ...] = ()


def project_cases(
    cases: Iterable[Case],
    out: str | os.PathLike,
    *,
    names: str | os.PathLike | None = None,
    size: int = 512,
    formation: str = "attenuation",
    split: str | None = None,
) -> list[Outcome]:
    """Project cases into a data set, which is made, or appended to if it is there.

    A case that fails does not stop the others. What was projected before from the same files with
    the same settings is skipped; with another segmentation, names or settings it is made again.
    Another CT under the name of a case that is there fails. Cases go to `split`; without it a case
    stays in the split that lists it, and a new one goes to "test".

    Raises
    ------
    ValueError
        If a setting is out of range, `names` is no table of names, `out` holds a data set of other
        labels, or another process works in it.
    OSError
        If `names` cannot be read, or the disk is full: what is done is kept, the same call goes on.
    """
    out = Path(out)
    check_settings(size, formation)
    if split is not None:
        check_choice(split, SPLITS, "split")
    if names is not None:
        read_names(names)  # a wrong table would fail every case
    exposure = {"exposure": asdict(CT_EXPOSURE)} if formation == "attenuation" else {}
    settings = {"size": size, "formation": formation, "version": _VERSION} | exposure
    with lock(out):
        _read_existing(out)
        return [
            _project_case(case, out, names, settings, split)
            for case in progress(list(cases), "projecting")
        ]


def _project_case(
    case: Case,
    out: Path,
    names: str | os.PathLike | None,
    settings: dict[str, Any],
    split: str | None,
) -> Outcome:
    facts: dict[str, Any] = {}
    try:
        data = _read_existing(out)
        listed = [
            (name, entry)
            for name, part in (data.splits if data else {}).items()
            for entry in part
            if entry.case == case.name
        ]
        before = listed[0][0] if listed else ""
        after = split or before or "test"
        files = _output_files(case.name, out, data)
        record = {"case": case.name, "inputs": _inputs(case, names), "settings": settings}
        done = _is_done(files, record)
        if not done:
            facts = _write_case(case, files, names, record)
        entries = _entries(case.name, read_json(files[0])["labels_absent"])
        if set(listed) != {(after, entry) for entry in entries}:
            _list_case(out, data, after, entries)
    except (ValueError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        return Outcome(case.name, "failed", str(error) or "not enough memory")
    return Outcome(
        case.name,
        "skipped" if done else "ok",
        moved_from=before if before != after else "",
        names_not_used=tuple(facts.get("names_not_used", ())),
        values_without_name=tuple(facts.get("values_without_name", ())),
    )


def _entries(case: str, absent: Collection[str] = ()) -> list[Entry]:
    """Return the two images of a case with their masks; labels that are `absent` are not known."""
    known = exact_names(LABELS, [name not in absent for name in LABELS]) if absent else None
    return [Entry(f"images/{case}{v}.png", f"labels/{case}{v}.pxm", case, v, known) for v in VIEWS]


def _output_files(case: str, out: Path, data: Datafile | None) -> list[Path]:
    """Return the record of a case, and for each view its image and its masks.

    ValueError if the name of the case cannot be that of files in this data set.
    """
    parts = (name for entry in _entries(case) for name in (entry.image, str(entry.target)))
    files = [inside(out, name) for name in (f"provenance/{case}.json", *parts)]
    if max(len(os.fsencode(file.name)) for file in files) > _MAX_NAME:
        raise ValueError(f"the name of the case is too long for files; shorten {case[:40]!r}...")
    listed = {entry.case for part in (data.splits if data else {}).values() for entry in part}
    if alike := [other for other in listed - {case} if folded(other) == folded(case)]:
        raise ValueError(
            f"{out}: has the case {alike[0]!r}, which some file systems do not tell from {case!r}; "
            "rename the CT, or use another --out"
        )
    return files


def _inputs(case: Case, names: str | os.PathLike | None) -> dict[str, dict[str, str]]:
    """Return name and SHA-256 of each input."""
    inputs = {"ct": case.ct, "segmentation": case.segmentation}
    beside = names_file(case.segmentation)
    if names is not None or os.path.lexists(beside):
        inputs["names"] = beside if names is None else Path(names)
    return {key: {"name": path.name, "sha256": _digest(path)} for key, path in inputs.items()}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the list of its files and their sums."""
    if not path.is_dir():
        return sha256(path)
    lines = "".join(f"{file.name} {sha256(file)}\n" for file in nifti_files(path))
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def _is_done(files: list[Path], record: dict[str, Any]) -> bool:
    """Tell whether the files of a case are there, made of the same; the first is its record."""
    path, *others = files
    if not os.path.lexists(path):
        if taken := next((file for file in others if os.path.lexists(file)), None):
            raise ValueError(
                f"{taken}: belongs to another case of the data set, or to none; rename the CT, "
                "move that file, or use another --out"
            )
        return False
    check_file(path)
    try:
        earlier = read_json(path)
        earlier_ct = earlier["inputs"]["ct"]["sha256"]
    except (ValueError, KeyError, TypeError):  # damaged: made again
        return False
    ct = record["inputs"]["ct"]
    if earlier_ct != ct["sha256"]:
        raise ValueError(
            f"{ct['name']}: the case {record['case']!r} of this data set was made from another CT "
            f"({path.parent.name}/{path.name}); rename the CT or its folder, or use another --out"
        )
    is_complete = "date" in earlier and all(file.is_file() for file in others)
    return is_complete and earlier == earlier | record


def _write_case(
    case: Case, files: list[Path], names: str | os.PathLike | None, record: dict[str, Any]
) -> dict[str, Any]:
    """Write the files of a case, and return the facts of its scan."""
    scan = read_scan(case.ct, case.segmentation, names)
    if _inputs(case, names) != record["inputs"]:
        raise ValueError(f"{case.ct}: it or its segmentation changed while it was read; run again")
    projected = project_scan(scan, record["settings"]["size"], record["settings"]["formation"])
    path, *others = files
    write_text(path, json.dumps(record))  # from here on the files are of neither version
    for view, image_path, masks_path in zip(VIEWS, others[::2], others[1::2], strict=True):
        image, masks = projected.views[view]
        write_png(image_path, image, projected.pixel_mm)
        masks.write(masks_path)
    present = sum(masks.counts() for _, masks in projected.views.values()) > 0
    provenance = {
        "scan": scan.facts,
        "pixel_mm": projected.pixel_mm,
        "labels_present": int(np.count_nonzero(present)),
        "labels_absent": projected.absent,
        "cut_by_the_scan": projected.cut,
        "cropped_mm": list(projected.cropped_mm),
        "program": f"paxray {version('paxray-lib')}",
        "date": now(),
    }
    write_text(path, json.dumps(record | provenance, indent=1))
    return scan.facts


def _read_existing(out: Path) -> Datafile | None:
    there = os.path.lexists(out / "paxray.json")
    data = read_datafile(out, check_file(out / "paxray.json").name) if there else None
    if data and data.labels != LABELS:
        raise ValueError(
            f"{data.path}: has {len(data.labels)} other labels than the table of PAXRay; use "
            "another --out"
        )
    return data


def _list_case(out: Path, data: Datafile | None, split: str, entries: list[Entry]) -> None:
    """Add a case to a split of paxray.json, and take it out of any other."""
    splits = dict.fromkeys(SPLITS, ()) | (data.splits if data else {})
    kept = {n: tuple(e for e in part if e.case != entries[0].case) for n, part in splits.items()}
    kept[split] += tuple(entries)
    write_datafile(
        out / "paxray.json", LABELS, kept, data.extra if data else {"name": "projected CTs"}
    )
