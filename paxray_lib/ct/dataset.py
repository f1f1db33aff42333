"""`paxray project`: cases of CT and segmentation projected into a data set.

Every case leaves two images, two packed mask files and `provenance/CASE.json`, written last. The
record is for people, and for the next call: a case whose record has the same inputs, by their
SHA-256 and wherever they lie now, and the same settings is done. A record of another CT is kept:
two patients may have files of the same name.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paxray_lib.ct.nifti import nifti_files
from paxray_lib.ct.pairing import Case
from paxray_lib.ct.project import CT_EXPOSURE, check_settings, project_scan
from paxray_lib.ct.scan import read_scan
from paxray_lib.ct.segmentation import names_file, read_names
from paxray_lib.data.datafile import SPLITS, Datafile, Entry, read_datafile, write_datafile
from paxray_lib.images.read import write_png
from paxray_lib.images.views import VIEWS
from paxray_lib.labels import LABELS
from paxray_lib.utils import check_choice, lock, now, progress, sha256, write_text

_VERSION = 4  # raise it when the same input gives other projections


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Its status is "ok", "skipped" (done before) or "failed" for a `reason`; `moved_from` is the
    split that listed the case before, if it is another one than now; `names_not_used` are the names
    in its segmentation that are in no row of totalseg.csv.
    """

    case: str
    status: str
    reason: str = ""
    moved_from: str = ""
    names_not_used: tuple[str, ...] = ()


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
        If `names` cannot be read.
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
    try:
        data, entries = _read_existing(out), _entries(case.name)
        listed = [
            (name, entry)
            for name, part in (data.splits if data else {}).items()
            for entry in part
            if entry.case == case.name
        ]
        before = listed[0][0] if listed else ""
        after = split or before or "test"
        path = out / "provenance" / f"{case.name}.json"
        record = {"case": case.name, "inputs": _inputs(case, names), "settings": settings}
        done = _is_done(out, path, record, bool(listed))
        unknown = () if done else _write_case(case, out, path, names, record)
        if set(listed) != {(after, entry) for entry in entries}:
            _list_case(out, data, after, entries)
    except (ValueError, OSError, MemoryError) as error:
        return Outcome(case.name, "failed", str(error) or "not enough memory")
    return Outcome(
        case.name,
        "skipped" if done else "ok",
        moved_from=before if before != after else "",
        names_not_used=tuple(unknown),
    )


def _entries(case: str) -> list[Entry]:
    """Return the two images of a case with their masks."""
    return [Entry(f"images/{case}{v}.png", f"labels/{case}{v}.pxm", case, v) for v in VIEWS]


def _inputs(case: Case, names: str | os.PathLike | None) -> dict[str, dict[str, str]]:
    """Return name and SHA-256 of each input."""
    inputs = {"ct": case.ct, "segmentation": case.segmentation}
    beside = names_file(case.segmentation)
    if names is not None or beside.is_file():
        inputs["names"] = beside if names is None else Path(names)
    return {key: {"name": path.name, "sha256": _digest(path)} for key, path in inputs.items()}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the list of its files and their sums."""
    if not path.is_dir():
        return sha256(path)
    lines = "".join(f"{file.name} {sha256(file)}\n" for file in nifti_files(path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _is_done(out: Path, path: Path, record: dict[str, Any], is_listed: bool) -> bool:
    """Tell whether the files of a case are there, made of the same; `path` is its record."""
    entries = _entries(record["case"])
    files = [out / name for entry in entries for name in (entry.image, str(entry.target))]
    if not path.is_file():
        taken = next((file for file in files if file.exists()), None)
        if taken and is_listed:
            raise ValueError(
                f"{taken}: belongs to another case of the data set; rename the CT, or use another "
                "--out"
            )
        return False
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        earlier_ct = earlier["inputs"]["ct"]["sha256"]
    except (ValueError, KeyError, TypeError):  # damaged: made again
        return False
    ct = record["inputs"]["ct"]
    if earlier_ct != ct["sha256"]:
        raise ValueError(
            f"{ct['name']}: the case {record['case']!r} of this data set was made from another CT "
            f"({path.relative_to(out)}); rename the CT or its folder, or use another --out"
        )
    return earlier == earlier | record and all(file.is_file() for file in files)


def _write_case(
    case: Case, out: Path, path: Path, names: str | os.PathLike | None, record: dict[str, Any]
) -> list[str]:
    """Write the files of a case, and return the names in its segmentation that are not used."""
    scan = read_scan(case.ct, case.segmentation, names)
    projected = project_scan(scan, record["settings"]["size"], record["settings"]["formation"])
    path.unlink(missing_ok=True)  # from here on the files are of neither version
    for entry in _entries(case.name):
        image, masks = projected.views[str(entry.view)]
        write_png(out / entry.image, image, projected.pixel_mm)
        masks.write(out / str(entry.target))
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
    return scan.facts["names_not_used"]


def _read_existing(out: Path) -> Datafile | None:
    data = read_datafile(out) if (out / "paxray.json").is_file() else None
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
