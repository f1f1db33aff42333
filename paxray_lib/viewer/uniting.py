"""Masks of two origins over the labels of both, by name: what one lacks is not known there."""

import os
from collections.abc import Iterable
from pathlib import Path

from paxray_lib.labels import LabelSet
from paxray_lib.labels.matching import match, unite
from paxray_lib.masks import PackedMasks
from paxray_lib.viz.overlay import MasksLike, as_masks


def own_masks(masks: MasksLike, labels: LabelSet | None) -> PackedMasks:
    """Return masks with their own labels; `labels` are those of an array or a `.npy` file."""
    is_file = isinstance(masks, (str, os.PathLike))
    has_names = is_file and Path(str(masks)).suffix.lower() != ".npy"
    return as_masks(masks, None if has_names else labels)


def first_labels(files: Iterable[Path | None], labels: LabelSet | None) -> LabelSet:
    """Return the labels of the first mask file that can be read; if none can, `labels`.

    ValueError or OSError, why it cannot be read, if there are no such either.
    """
    trouble: ValueError | OSError = ValueError("no mask files")
    for path in files:
        try:
            if path is not None:
                return own_masks(path, labels).labels
        except (ValueError, OSError) as error:  # said, too, once its image is opened
            trouble = error
    if labels is None:
        raise trouble
    return labels


def onto(masks: PackedMasks, labels: LabelSet, where: object) -> PackedMasks:
    """Return masks over other labels, by name; ValueError if `labels` lack one of theirs."""
    places = match(masks.labels, labels)
    if (places < 0).any():
        missing = [name for name, k in zip(masks.labels, places, strict=True) if k < 0]
        raise ValueError(
            f"{where}: has masks of {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}, "
            "which those of the other images lack; show it by itself"
        )
    return masks.relabel(labels)


def united(
    first: PackedMasks | None, second: PackedMasks | None
) -> tuple[PackedMasks | None, PackedMasks | None]:
    """Return both over the labels of either, those of the first before what the second adds."""
    labels = unite(masks.labels for masks in (first, second) if masks is not None)
    return first and first.relabel(labels), second and second.relabel(labels)
