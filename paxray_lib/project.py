"""`paxray project`: CTs with their segmentations to X-ray-like images and masks in the PAXRay layout.

Every case leaves two images, two packed mask files and `provenance/<case>.json`, written last: a case whose record
names the same input files and settings is done and is skipped by the next call. A record of another CT is kept: two
patients may have files of the same name.
"""

import datetime
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from paxray_lib.bits import byte_mask
from paxray_lib.body import body_mask, bounded, bounding_box
from paxray_lib.cases import Case
from paxray_lib.common import atomic_write, progress
from paxray_lib.ct import Scan, names_beside, read_scan, structure_files
from paxray_lib.dataset import SPLITS, Entry, read_datafile, write_datafile
from paxray_lib.derive import derive
from paxray_lib.download import sha256
from paxray_lib.images import write_png
from paxray_lib.labels import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.projection import (
    VIEWS,
    Exposure,
    cast_shadows,
    equalized,
    fit_pixel,
    hounsfield_sums,
    line_integrals,
    project_masks,
    radiograph,
)
from paxray_lib.runfolder import lock
from paxray_lib.structures import STRUCTURES, codes_of, is_in, read_names

FORMATIONS = ("attenuation", "published")
CT_EXPOSURE = Exposure(bone=2.0, scatter=0.3, local=0.45, detail=1.5)
"""Chosen by eye beside real X-rays: the slices of a CT blur its ribs, and a beam for the chest spares them more."""
MIN_SIZE, MAX_SIZE = 32, 4096
ABOVE_MM, BELOW_MM = 60.0, 120.0  # of the lungs: a chest X-ray shows no more of neck and abdomen
_VERSION = 4  # raise it when the same input gives other projections


@dataclass(frozen=True)
class Projected:
    """The projections of one scan.

    Attributes
    ----------
    views : dict of view to (image, masks)
        image : (size, size) uint8 array, masks : PackedMasks.
    pixel_mm : float
    absent : dict of label to reason
    cut : list of str
        Structures that reach the first or the last slice, so that a part of them may be outside the picture.
    cropped_mm : (above, below)
        What of the scan is left out, farther than 60 mm above the lungs and 120 mm below them.
    """

    views: dict[str, tuple[np.ndarray, PackedMasks]]
    pixel_mm: float
    absent: dict[str, str]
    cut: list[str]
    cropped_mm: tuple[float, float]


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


def project_scan(
    scan: Scan, size: int = 512, formation: str = "attenuation", exposure: Exposure = CT_EXPOSURE
) -> Projected:
    """Project a scan to a frontal and a lateral view of the chest: what is far above or below the lungs is left out.

    Parameters
    ----------
    scan : Scan
    size : int
        Height and width of the images; the body fits, pixels are isotropic and equal in both views.
    formation : "attenuation" or "published"
        Beer-Lambert attenuation with contrast agent and metal bounded, then `exposure`; or the recipe of the data set:
        sums of the CT numbers, equalised.
    exposure : Exposure
        For "attenuation".

    Raises
    ------
    ValueError
        If an argument is out of range, or the anatomy is inconsistent: a left label to the right of its counterpart.
    """
    _check_settings(size, formation)
    near, cropped_mm = _near_lungs(scan)
    scan = replace(scan, hu=scan.hu[near], structures=scan.structures[near])
    body = body_mask(scan.hu, scan.spacing)
    box = bounding_box(body)
    body, hu, structures = (np.ascontiguousarray(volume[box]) for volume in (body, scan.hu, scan.structures))
    cropped = replace(scan, hu=hu, structures=structures)
    pixel_mm = fit_pixel(hu.shape, scan.spacing, size)
    with ThreadPoolExecutor(1) as pool:
        pictures = pool.submit(_pictures, cropped, body, size, pixel_mm, formation, exposure)
        anatomy = derive(cropped)
        shadows = cast_shadows(anatomy.volumes)
        masks = {view: project_masks(shadows, hu.shape, scan.spacing, view, size, pixel_mm) for view in VIEWS}
        masks = {view: _without(several, anatomy.absent) for view, several in masks.items()}
        views = {view: (picture, masks[view]) for view, picture in pictures.result().items()}
    check_sides(masks["frontal"])
    return Projected(views, pixel_mm, anatomy.absent, _cut(structures), cropped_mm)


def _near_lungs(scan: Scan) -> tuple[slice, tuple[float, float]]:
    """Return the slices from 60 mm above the lungs to 120 mm below, and how many mm lie above and below these."""
    slices = np.flatnonzero(is_in(scan.structures, codes_of("lung")).any(axis=(1, 2)))
    slice_mm, last = scan.spacing[0], len(scan.structures)
    if not len(slices):
        return slice(0, last), (0.0, 0.0)
    first = max(0, int(slices[0]) - round(ABOVE_MM / slice_mm))
    end = min(last, int(slices[-1]) + 1 + round(BELOW_MM / slice_mm))
    return slice(first, end), (first * slice_mm, (last - end) * slice_mm)


def _without(masks: PackedMasks, absent: Iterable[str]) -> PackedMasks:
    """Return masks in which absent labels are empty: a whole of which parts alone are known has their union before."""
    absent = [i for name in absent for i in LABELS.index(name)]
    return PackedMasks(masks.data & ~byte_mask(absent, masks.data.shape[-1]), masks.labels)


def _check_settings(size: int, formation: str) -> None:
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {size}")
    if formation not in FORMATIONS:
        raise ValueError(f"formation must be one of {', '.join(FORMATIONS)}, got {formation!r}")


def _pictures(
    scan: Scan, body: np.ndarray, size: int, pixel_mm: float, formation: str, exposure: Exposure
) -> dict[str, np.ndarray]:
    """Return the (size, size) uint8 image of each view."""
    if formation == "published":
        hu = np.where(body, scan.hu, np.int16(-1024))
        levels = {view: equalized(hounsfield_sums(hu, scan.spacing, view, size, pixel_mm)) for view in VIEWS}
    else:
        hu = bounded(scan.hu, scan.structures, body, scan.spacing)
        depths = {view: line_integrals(hu, scan.spacing, view, size, pixel_mm, exposure.bone) for view in VIEWS}
        levels = {view: radiograph(depth, exposure) for view, depth in depths.items()}
    return {view: np.rint(level * 255).astype(np.uint8) for view, level in levels.items()}


def check_sides(masks: PackedMasks) -> None:
    """Raise ValueError if, in frontal masks, a left label lies to the right of its counterpart."""
    areas, mirror = masks.counts(), masks.labels.mirror
    left = [i for i, side in enumerate(masks.labels.side) if side == "left" and areas[i] and areas[mirror[i]]]
    stack = masks.unpack()
    for i in left:
        here, other = (stack[k].sum(axis=0) @ np.arange(stack.shape[2]) / areas[k] for k in (i, mirror[i]))
        if here < other:
            names = masks.labels.names
            raise ValueError(
                f"{names[i]} lies to the right of {names[mirror[i]]}: are left and right exchanged in the segmentation?"
            )


def _cut(structures: np.ndarray) -> list[str]:
    codes = np.union1d(structures[0], structures[-1])
    return [STRUCTURES[code - 1].name for code in codes.tolist() if code]


def project_cases(
    cases: Iterable[Case],
    out: str | os.PathLike,
    names: str | os.PathLike | None = None,
    size: int = 512,
    formation: str = "attenuation",
    split: str | None = None,
) -> list[Outcome]:
    """Project cases into a data set, which is made, or appended to if it is there.

    A case that fails does not stop the others. What was projected before from the same files with the same settings is
    skipped; with another segmentation, names or settings it is made again. Another CT under the name of a case that is
    there fails. Cases go to `split`; without it a case stays in the split that lists it, and a new one goes to "test".

    Raises
    ------
    ValueError
        If a setting is out of range, `names` is no table of names, `out` holds a data set of other labels, or another
        process works in it.
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
        return [_project_case(case, out, names, settings, split) for case in progress(list(cases), "projecting")]


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
    return Outcome(case.name, "skipped" if done else "ok", moved_from=moved_from, names_not_used=tuple(unknown))


def _inputs(case: Case, names) -> dict[str, dict]:
    """Return name and SHA-256 of each input; of a folder, of the list of its files' names and sums."""
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
    return [Entry(f"images/{case}{view}.png", f"labels/{case}{view}.pxm", case, view) for view in VIEWS]


def _record_path(out: Path, case: str) -> Path:
    return out / "provenance" / f"{case}.json"


def _is_done(out: Path, record: dict) -> bool:
    path, entries = _record_path(out, record["case"]), _entries(record["case"])
    files = [out / name for entry in entries for name in (entry.image, entry.target)]
    if not path.is_file():
        taken = next((file for file in files if file.exists()), None)
        if taken is not None and _split_of(out, record["case"]):
            raise ValueError(f"{taken}: belongs to another case of the data set; rename the CT, or use another --out")
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
    return all(found.get(key) == record[key] for key in record) and all(file.is_file() for file in files)


def _split_of(out: Path, case: str) -> str:
    """Return the split that lists a case, or an empty string."""
    data = _read_existing(out)
    splits = {} if data is None else data.splits
    return next((name for name, entries in splits.items() if any(entry.case == case for entry in entries)), "")


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
    present = sorted({i for _, masks in projected.views.values() for i in np.flatnonzero(masks.counts()).tolist()})
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
    new = {name: tuple(entry for entry in entries if entry.case != case) for name, entries in old.items()}
    new[split] = (*new.get(split, ()), *_entries(case))
    if (
        data is None
        or set(new[split]) != set(old.get(split, ()))
        or any(len(new[name]) != len(old[name]) for name in old)
    ):
        write_datafile(out / "paxray.json", LABELS, new, {"name": "projected CTs"} if data is None else data.extra)
