"""Which CT belongs to which segmentation: the pairs that `paxray project` works on."""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paxray_lib.ct.nifti import SUFFIXES, nifti_files, stem_of
from paxray_lib.utils import check_file

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

    - Two files, or a file and a folder of one mask per structure, are one case.
    - Of two folders, those belong together whose names are the same without .nii or .nii.gz and
      without an ending of _ct or _0000 (CT) and of _seg, _segmentation, _totalseg or _labels
      (segmentation); a segmentation may be a folder of masks.
    - A folder that holds ct.nii.gz is the CT of that folder's name, and its folder
      `segmentations` the segmentation, as in TotalSegmentator's own data set, or else its file
      segmentations.nii.gz, totalseg.nii.gz, labels.nii.gz or seg.nii.gz. A single CT of that name
      is named after its folder, too.
    - In one folder for both, a segmentation is what has an ending of one, or lies beside a CT of
      its name with _ct or _0000.

    Capital and small letters of these names and endings are the same. Hidden files are none of
    them.

    Returns the cases by name, and one message per CT or segmentation that has no counterpart.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a folder holds no CT.
    ValueError
        If two files of a folder have the same name by this rule, or names that some file systems
        do not tell apart: images of both cases would be one file there.
    """
    ct, segmentation = Path(ct), Path(segmentation)
    for path in (ct, segmentation):
        if not path.is_dir():
            check_file(path)
    if ct.is_file():
        parent = os.path.basename(os.path.dirname(os.path.abspath(ct)))
        name = parent if _is_ct(ct) else _case_name(ct, _CT_ENDINGS)
        return [Case(name or "ct", ct, segmentation)], []
    if not segmentation.is_dir():
        raise ValueError(f"{segmentation}: --ct is a folder, so --segmentation must be one too")
    shared = ct.resolve() == segmentation.resolve()
    files = [path for path in nifti_files(ct) if not _is_segmentation(path, shared)]
    inner = [(path.parent.name, path) for path in nifti_files(ct, "*/*") if _is_ct(path)]
    scans = _by_name([*((_case_name(path, _CT_ENDINGS), path) for path in files), *inner])
    masks = _by_name(_list_segmentations(segmentation, shared))
    if not scans:
        raise FileNotFoundError(f"{ct}: no .nii or .nii.gz file in this folder")
    cases = [Case(name, scans[name], masks[name]) for name in sorted(scans.keys() & masks.keys())]
    return cases, [
        f"{paths[name]}: no {counterpart} named {name}"
        for paths, others, counterpart in ((scans, masks, "segmentation"), (masks, scans, "CT"))
        for name in sorted(paths.keys() - others.keys())
    ]


def folded(name: str) -> str:
    """Return a name as file systems see it that do not tell capital letters or Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _by_name(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    by_folded: dict[str, Path] = {}
    for name, path in named:
        other = by_folded.setdefault(folded(name), path)
        if other is not path:
            raise ValueError(f"{path}: the same case {name!r} as {other}; rename one of them")
        paths[name] = path
    return paths


def _list_segmentations(folder: Path, shared: bool) -> Iterable[tuple[str, Path]]:
    """Yield the segmentations of a folder with the names of their cases; see `find_cases`."""
    for path in nifti_files(folder):
        ambiguous = not shared and not stem_of(path).lower().endswith("_ct")
        if ambiguous or _is_segmentation(path, shared):
            yield _case_name(path, _SEGMENTATION_ENDINGS), path
    for case in sorted(path for path in folder.glob("[!.]*") if path.is_dir()):
        masks = case / "segmentations"
        files = (p for p in nifti_files(case) if stem_of(p).lower() in _SEGMENTATION_STEMS)
        # a folder of masks, one file of all, or masks themselves
        inner = masks if masks.is_dir() else next(files, case)
        if inner.is_file() or any(not _is_ct(path) for path in nifti_files(inner)):
            yield _case_name(case, _SEGMENTATION_ENDINGS), inner


def _case_name(path: Path, endings: Iterable[str]) -> str:
    stem = stem_of(path)
    fitting = (end for end in endings if stem.lower().endswith(end) and len(stem) > len(end))
    return stem[: len(stem) - len(next(fitting, ""))]


def _is_ct(path: Path) -> bool:
    return stem_of(path).lower() == "ct"


def _is_segmentation(path: Path, shared: bool) -> bool:
    """Tell by its name whether a file is a segmentation; `shared`: by its neighbours, too."""
    stem = stem_of(path)
    cts = (path.with_name(stem + ending + suffix) for ending in _CT_ENDINGS for suffix in SUFFIXES)
    return stem.lower().endswith(_SEGMENTATION_ENDINGS) or (
        shared and any(os.path.exists(ct) for ct in cts)  # unlike a Path, for a name too long, too
    )
