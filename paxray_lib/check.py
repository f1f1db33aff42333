"""`paxray check`: every finding in a data set at once."""

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from paxray_lib.common import progress
from paxray_lib.dataset import Datafile, Entry, read_datafile
from paxray_lib.images import read_image
from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks

EXCHANGED = 0.2  # a label with more than this part of its pixels outside its parent is an error, not just noise


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set: severity "error" or "warning", the file or label, and a message."""

    severity: str
    where: str
    message: str


@dataclass
class _Item:
    """What one image contributes: its own findings, label areas, and pixels of children outside their parents."""

    findings: list[Finding] = field(default_factory=list)
    areas: np.ndarray | None = None  # (L,)
    outside: np.ndarray | None = None  # (number of child-parent pairs,)


def check_dataset(data_root: str | os.PathLike, datafile: str | os.PathLike = "paxray.json") -> list[Finding]:
    """Return all findings: errors first, each group in the order of the data file.

    Errors: images or targets that are missing, unreadable, of wrong shape or values; a case in two splits; an image
    listed twice; a label mostly outside its parent (exchanged names?). Warnings: unknown view, no target, a stack whose
    masks are all empty, labels that never occur, a packed file older than its `.npy`, a label partly out of its parent.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data file itself cannot be read.
    """
    data = read_datafile(data_root, datafile)
    pairs = _pairs(data.labels)
    entries = [(split, entry) for split, items in data.splits.items() for entry in items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda item: _check_entry(data, *item, pairs), entries)
        items = list(progress(work, "checking", len(entries)))
    findings = [finding for item in items for finding in item.findings]
    findings += _check_splits(data) + _check_labels(data.labels, items, pairs)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _pairs(labels: LabelSet) -> list[tuple[int, int]]:
    return [(child, parent) for child, parents in enumerate(labels.parents) for parent in parents]


def _check_entry(data: Datafile, split: str, entry: Entry, pairs: list[tuple[int, int]]) -> _Item:
    item = _Item()

    def found(severity: str, where: str, message: str) -> None:
        item.findings.append(Finding(severity, where, message))

    shape = None
    try:
        shape = read_image(data.root / entry.image).pixels.shape
    except (ValueError, OSError) as error:
        found("error", entry.image, _reason(error, entry.image))
    if entry.view is None:
        found(
            "warning", entry.image, "unknown view: the name ends neither in 'frontal' nor in 'lateral'; never flipped"
        )
    path = data.target_path(entry)
    if path is None:
        found("warning", entry.image, f"no target in split {split!r}")
        return item
    try:
        masks = PackedMasks.read(path, data.labels)
    except (ValueError, OSError) as error:
        found("error", entry.target, _reason(error, entry.target))
        return item
    listed = data.root / entry.target
    if path != listed and listed.is_file() and listed.stat().st_mtime > path.stat().st_mtime:
        found("warning", entry.target, f"newer than its packed file {path.name}, which is read; run 'paxray pack'")
    if shape is not None and masks.shape[1:] != shape:
        found("error", entry.target, f"masks of {masks.shape[1:]} do not fit the image of {shape}")
    item.areas = masks.counts()
    item.outside = _outside(masks, pairs, item.areas)
    if not item.areas.any():
        found("warning", entry.target, "every mask is empty")
    return item


def _reason(error: Exception, name: str) -> str:
    text = str(error)
    _, found, rest = text.partition(f"{name}: ")
    return rest if found else text


def _outside(masks: PackedMasks, pairs: list[tuple[int, int]], areas: np.ndarray) -> np.ndarray:
    planes = np.ascontiguousarray(masks.data.transpose(2, 0, 1))  # (B, H, W)
    outside = np.zeros(len(pairs), np.int64)
    for k, (child, parent) in enumerate(pairs):
        if areas[child]:
            inside = (planes[child // 8] >> np.uint8(child % 8)) & (planes[parent // 8] >> np.uint8(parent % 8)) & 1
            outside[k] = areas[child] - np.count_nonzero(inside)
    return outside


def _check_splits(data: Datafile) -> list[Finding]:
    findings, splits_of, places = [], defaultdict(list), defaultdict(list)
    for split, entries in data.splits.items():
        for entry in entries:
            places[entry.image].append(split)
            if split not in splits_of[entry.case]:
                splits_of[entry.case].append(split)
    for case, splits in splits_of.items():
        if len(splits) > 1:
            findings.append(Finding("error", case, f"the case is in the splits {' and '.join(splits)}; split by case"))
    for image, splits in places.items():
        if len(splits) > 1:
            findings.append(Finding("error", image, f"listed {len(splits)} times ({', '.join(splits)})"))
    return findings


def _check_labels(labels: LabelSet, items: Iterable[_Item], pairs: list[tuple[int, int]]) -> list[Finding]:
    read = [item for item in items if item.areas is not None]
    if not read:
        return []
    areas = np.stack([item.areas for item in read])  # (N, L)
    outside = np.stack([item.outside for item in read])  # (N, pairs)
    findings = []
    never = [f"{labels.names[i]} ({i})" for i in np.flatnonzero(~areas.any(axis=0))]
    if never:
        findings.append(Finding("warning", "labels", f"{len(never)} never occur: {', '.join(never)}"))
    for k, (child, parent) in enumerate(pairs):
        if outside[:, k].any():
            part = outside[:, k].sum() / areas[:, child].sum()
            findings.append(
                Finding(
                    "error" if part > EXCHANGED else "warning",
                    f"{labels.names[child]} ({child})",
                    f"{part:.1%} of its pixels lie outside its parent {labels.names[parent]} ({parent}), "
                    f"in {np.count_nonzero(outside[:, k])} of {len(read)} images",
                )
            )
    return findings
