"""Which CT belongs to which segmentation: the pairs that `paxray project` works on."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paxray_lib.ct.scan import SUFFIXES, stem_of, structure_files

_CT_ENDINGS = ("_ct", "_0000")
_SEGMENTATION_ENDINGS = ("_segmentation", "_totalseg", "_labels", "_seg")
_SEGMENTATION_STEMS = ("segmentations", "segmentation", "totalseg", "labels", "seg")


@dataclass(frozen=True)
class Case:
    """A CT with its segmentation, under the name that its images will have."""

    name: str
    ct: Path
    segmentation: Path


def find_cases(
    ct: str | os.PathLike, segmentation: str | os.PathLike
) -> tuple[list[Case], list[str]]:
    """Pair CTs with segmentations.

    Two files, or a file and a folder of one mask for each structure, are one case. Of two folders,
    those belong together whose names are the same without .nii or .nii.gz and without an ending of
    _ct or _0000 (CT) and of _seg, _segmentation, _totalseg or _labels (segmentation); a
    segmentation may be a folder of masks. A folder that holds ct.nii.gz is the CT of that folder's
    name, and its folder `segmentations` the segmentation, as in TotalSegmentator's own data set, or
    else its file segmentations.nii.gz, totalseg.nii.gz, labels.nii.gz or seg.nii.gz; a single CT of
    that name is named after its folder, too. In one folder for both, a segmentation is what has an
    ending of one, or lies beside a CT of its name with _ct or _0000. Capital and small letters of
    these names and endings are the same.

    Returns
    -------
    cases : list of Case, by name
    unmatched : list of str
        One message for each CT or segmentation that has no counterpart.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a folder holds no CT.
    ValueError
        If two files of a folder have the same name by this rule.
    """
    ct, segmentation = Path(ct), Path(segmentation)
    for path in (ct, segmentation):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    if ct.is_file():
        name = ct.absolute().parent.name if _is_ct(ct) else _case_name(ct, _CT_ENDINGS)
        return [Case(name or "ct", ct, segmentation)], []
    if not segmentation.is_dir():
        raise ValueError(f"{segmentation}: --ct is a folder, so --segmentation must be one too")
    shared = ct.resolve() == segmentation.resolve()
    files = structure_files(ct)
    scans = _named([path for path in files if not _is_segmentation(path, shared)], _CT_ENDINGS)
    for path in (
        file for folder in _folders(ct) for file in structure_files(folder) if _is_ct(file)
    ):
        _add(scans, path.parent.name, path)
    labels = _listed_segmentations(segmentation, shared)
    if not scans:
        raise FileNotFoundError(f"{ct}: no .nii or .nii.gz file in this folder")
    cases = [
        Case(name, path, labels[name]) for name, path in sorted(scans.items()) if name in labels
    ]
    unmatched = [
        f"{path}: no segmentation named {name}"
        for name, path in sorted(scans.items())
        if name not in labels
    ]
    unmatched += [
        f"{path}: no CT named {name}" for name, path in sorted(labels.items()) if name not in scans
    ]
    return cases, unmatched


def _case_name(path: Path, endings: Iterable[str]) -> str:
    stem = stem_of(path)
    return next(
        (stem[: -len(e)] for e in endings if stem.lower().endswith(e) and len(stem) > len(e)), stem
    )


def _is_ct(path: Path) -> bool:
    return stem_of(path).lower() == "ct"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _named(paths: Iterable[Path], endings: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        _add(found, _case_name(path, endings), path)
    return found


def _is_segmentation(path: Path, shared: bool) -> bool:
    """Tell by its name whether a file is a segmentation; `shared`: by what lies beside it, too."""
    stem = stem_of(path)
    beside = (
        path.with_name(stem + ending + suffix) for ending in _CT_ENDINGS for suffix in SUFFIXES
    )
    return stem.lower().endswith(_SEGMENTATION_ENDINGS) or (
        shared and any(file.exists() for file in beside)
    )


def _listed_segmentations(folder: Path, shared: bool) -> dict[str, Path]:
    """Return the segmentations of a folder by case; in a shared one the CTs are told apart by their
    names.
    """
    files = structure_files(folder)
    chosen = [
        p
        for p in files
        if _is_segmentation(p, shared) or not (shared or stem_of(p).lower().endswith("_ct"))
    ]
    found = _named(chosen, _SEGMENTATION_ENDINGS)
    for path in _folders(folder):
        inner = _inner_segmentation(path)
        if inner.is_file() or any(not _is_ct(file) for file in structure_files(inner)):
            _add(found, _case_name(path, _SEGMENTATION_ENDINGS), inner)
    return found


def _inner_segmentation(folder: Path) -> Path:
    """Return the segmentation in a case's folder: a folder of masks, one file of all, or the folder
    itself.
    """
    if (folder / "segmentations").is_dir():
        return folder / "segmentations"
    return next(
        (p for p in structure_files(folder) if stem_of(p).lower() in _SEGMENTATION_STEMS), folder
    )


def _add(found: dict[str, Path], name: str, path: Path) -> None:
    if name in found:
        raise ValueError(f"{path}: the same case {name!r} as {found[name]}; rename one of them")
    found[name] = path
