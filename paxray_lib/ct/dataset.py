"""Cases of CT and segmentation projected into a data set."""

import datetime
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from paxray_lib.ct.pairing import Case
from paxray_lib.ct.project import CT_EXPOSURE, Projected, _check_settings, project_scan
from paxray_lib.ct.scan import Scan, names_beside, read_scan, structure_files
from paxray_lib.ct.structures import read_names
from paxray_lib.data.dataset import SPLITS, Entry, read_datafile, write_datafile
from paxray_lib.images.read import write_png
from paxray_lib.labels.table import LABELS
from paxray_lib.projection.rays import VIEWS
from paxray_lib.utils.files import atomic_write, sha256
from paxray_lib.utils.locks import lock
from paxray_lib.utils.progress import progress

_VERSION = 4  # raise it when the same input gives other projections


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes
    ----------
    case : str
    status : "ok", "skipped" (done before) or "failed"
    reason : str
        Why it failed.
    moved_from : str
        The split that listed it before, if it is another one than now.
    names_not_used : tuple of str
        Names in its segmentation that are in no row of totalseg.csv.
    """

    case: str
    status: str
    reason: str = ""
    moved_from: str = ""
    names_not_used: tuple[str, ...] = ()


def project_cases(
    cases: Iterable[Case],
    out: str | os.PathLike,
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
    _check_settings(size, formation)
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if names is not None:
        read_names(names)  # a wrong table would fail every case
    with lock(out):
        _read_existing(out)
        settings = {"size": size, "formation": formation, "version": _VERSION}
        if formation == "attenuation":
            settings["exposure"] = asdict(CT_EXPOSURE)
        return [
            _project_case(case, out, names, settings, split)
            for case in progress(list(cases), "projecting")
        ]


def _project_case(case: Case, out: Path, names, settings: dict, split: str | None) -> Outcome:
    try:
        record = {"case": case.name, "inputs": _inputs(case, names), "settings": settings}
        done = _is_done(out, record)
        unknown = [] if done else _write_case(case, out, names, record)["scan"]["names_not_used"]
        before = _split_of(out, case.name)
        after = split or before or "test"
        _list_case(out, case.name, after)
    except (ValueError, OSError, MemoryError) as error:
        return Outcome(case.name, "failed", str(error) or "not enough memory")
    moved_from = before if before and before != after else ""
    return Outcome(
        case.name, "skipped" if done else "ok", moved_from=moved_from, names_not_used=tuple(unknown)
    )


def _inputs(case: Case, names) -> dict[str, dict]:
    """Return name and SHA-256 of each input; of a folder, of the list of its files' names and
    sums.
    """
    inputs = {"ct": case.ct, "segmentation": case.segmentation}
    if names is not None or names_beside(case.segmentation).is_file():
        inputs["names"] = names_beside(case.segmentation) if names is None else Path(names)
    return {key: {"name": path.name, "sha256": _digest(path)} for key, path in inputs.items()}


def _digest(path: Path) -> str:
    if not path.is_dir():
        return sha256(path)
    lines = [f"{file.name} {sha256(file)}\n" for file in structure_files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _entries(case: str) -> list[Entry]:
    return [
        Entry(f"images/{case}{view}.png", f"labels/{case}{view}.pxm", case, view) for view in VIEWS
    ]


def _record_path(out: Path, case: str) -> Path:
    return out / "provenance" / f"{case}.json"


def _is_done(out: Path, record: dict) -> bool:
    path, entries = _record_path(out, record["case"]), _entries(record["case"])
    files = [out / name for entry in entries for name in (entry.image, entry.target)]
    if not path.is_file():
        taken = next((file for file in files if file.exists()), None)
        if taken is not None and _split_of(out, record["case"]):
            raise ValueError(
                f"{taken}: belongs to another case of the data set; rename the CT, or use another --out"
            )
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        before = found["inputs"]["ct"]["sha256"]
    except (ValueError, KeyError, TypeError):  # damaged: made again
        return False
    if before != record["inputs"]["ct"]["sha256"]:
        raise ValueError(
            f"{record['inputs']['ct']['name']}: the case {record['case']!r} of this data set was made from another CT "
            f"({path.relative_to(out)}); rename the CT or its folder, or use another --out"
        )
    return all(found.get(key) == record[key] for key in record) and all(
        file.is_file() for file in files
    )


def _split_of(out: Path, case: str) -> str:
    """Return the split that lists a case, or an empty string."""
    data = _read_existing(out)
    splits = {} if data is None else data.splits
    return next(
        (name for name, entries in splits.items() if any(entry.case == case for entry in entries)),
        "",
    )


def _write_case(case: Case, out: Path, names, record: dict) -> dict:
    """Write the files of a case, and return its record of provenance."""
    path = _record_path(out, case.name)
    scan = read_scan(case.ct, case.segmentation, names)
    projected = project_scan(scan, record["settings"]["size"], record["settings"]["formation"])
    path.unlink(missing_ok=True)  # from here on the files are of neither version
    for entry in _entries(case.name):
        image, masks = projected.views[entry.view]
        write_png(out / entry.image, image, projected.pixel_mm)
        masks.write(out / entry.target)
    provenance = _provenance(record, scan, projected)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(provenance, indent=1), encoding="utf-8")
    return provenance


def _provenance(record: dict, scan: Scan, projected: Projected) -> dict:
    present = sorted(
        {
            i
            for _, masks in projected.views.values()
            for i in np.flatnonzero(masks.counts()).tolist()
        }
    )
    return {
        **record,
        "scan": scan.facts,
        "pixel_mm": projected.pixel_mm,
        "labels_present": len(present),
        "labels_absent": projected.absent,
        "cut_by_the_scan": projected.cut,
        "cropped_mm": list(projected.cropped_mm),
        "program": f"paxray {version('paxray-lib')}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _read_existing(out: Path):
    if not (out / "paxray.json").is_file():
        return None
    data = read_datafile(out)
    if data.labels != LABELS:
        raise ValueError(
            f"{data.path}: has {len(data.labels)} other labels than the table of PAXRay; use another --out"
        )
    return data


def _list_case(out: Path, case: str, split: str) -> None:
    """Add a case to a split of paxray.json, and take it out of any other."""
    data = _read_existing(out)
    old = dict.fromkeys(SPLITS, ()) if data is None else data.splits
    new = {
        name: tuple(entry for entry in entries if entry.case != case)
        for name, entries in old.items()
    }
    new[split] = (*new.get(split, ()), *_entries(case))
    if (
        data is None
        or set(new[split]) != set(old.get(split, ()))
        or any(len(new[name]) != len(old[name]) for name in old)
    ):
        write_datafile(
            out / "paxray.json",
            LABELS,
            new,
            {"name": "projected CTs"} if data is None else data.extra,
        )
