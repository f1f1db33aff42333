"""`paxray project`: CTs with their segmentations to X-ray-like images and masks in the PAXRay
layout.

Every case leaves two images, two packed mask files and `provenance/<case>.json`, written last: a
case whose record names the same input files and settings is done and is skipped by the next call. A
record of another CT is kept: two patients may have files of the same name."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from paxray_lib.ct.body import body_mask, bounded, bounding_box
from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES, codes_of, is_in
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.bits import byte_mask
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.projection.radiograph import (
    Exposure,
    equalized,
    hounsfield_sums,
    line_integrals,
    radiograph,
)
from paxray_lib.projection.rays import VIEWS, cast_shadows, fit_pixel, project_masks

FORMATIONS = ("attenuation", "published")
CT_EXPOSURE = Exposure(bone=2.0, scatter=0.3, local=0.45, detail=1.5)
"""Chosen by eye beside real X-rays: the slices of a CT blur its ribs, and a beam for the chest
spares them more.
"""
MIN_SIZE, MAX_SIZE = 32, 4096
ABOVE_MM, BELOW_MM = 60.0, 120.0  # of the lungs: a chest X-ray shows no more of neck and abdomen


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
        Structures that reach the first or the last slice, so that a part of them may be outside the
        picture.
    cropped_mm : (above, below)
        What of the scan is left out, farther than 60 mm above the lungs and 120 mm below them.
    """

    views: dict[str, tuple[np.ndarray, PackedMasks]]
    pixel_mm: float
    absent: dict[str, str]
    cut: list[str]
    cropped_mm: tuple[float, float]


def project_scan(
    scan: Scan, size: int = 512, formation: str = "attenuation", exposure: Exposure = CT_EXPOSURE
) -> Projected:
    """Project a scan to a frontal and a lateral view of the chest: what is far above or below the
    lungs is left out.

    Parameters
    ----------
    scan : Scan
    size : int
        Height and width of the images; the body fits, pixels are isotropic and equal in both views.
    formation : "attenuation" or "published"
        Beer-Lambert attenuation with contrast agent and metal bounded, then `exposure`; or the
        recipe of the data set: sums of the CT numbers, equalised.
    exposure : Exposure
        For "attenuation".

    Raises
    ------
    ValueError
        If an argument is out of range, or the anatomy is inconsistent: a left label to the right of
        its counterpart.
    """
    _check_settings(size, formation)
    near, cropped_mm = _near_lungs(scan)
    scan = replace(scan, hu=scan.hu[near], structures=scan.structures[near])
    body = body_mask(scan.hu, scan.spacing)
    box = bounding_box(body)
    body, hu, structures = (
        np.ascontiguousarray(volume[box]) for volume in (body, scan.hu, scan.structures)
    )
    cropped = replace(scan, hu=hu, structures=structures)
    pixel_mm = fit_pixel(hu.shape, scan.spacing, size)
    with ThreadPoolExecutor(1) as pool:
        pictures = pool.submit(_pictures, cropped, body, size, pixel_mm, formation, exposure)
        anatomy = derive(cropped)
        shadows = cast_shadows(anatomy.volumes)
        masks = {
            view: project_masks(shadows, hu.shape, scan.spacing, view, size, pixel_mm)
            for view in VIEWS
        }
        masks = {view: _without(several, anatomy.absent) for view, several in masks.items()}
        views = {view: (picture, masks[view]) for view, picture in pictures.result().items()}
    check_sides(masks["frontal"])
    return Projected(views, pixel_mm, anatomy.absent, _cut(structures), cropped_mm)


def _near_lungs(scan: Scan) -> tuple[slice, tuple[float, float]]:
    """Return the slices from 60 mm above the lungs to 120 mm below, and how many mm lie above and
    below these.
    """
    slices = np.flatnonzero(is_in(scan.structures, codes_of("lung")).any(axis=(1, 2)))
    slice_mm, last = scan.spacing[0], len(scan.structures)
    if not len(slices):
        return slice(0, last), (0.0, 0.0)
    first = max(0, int(slices[0]) - round(ABOVE_MM / slice_mm))
    end = min(last, int(slices[-1]) + 1 + round(BELOW_MM / slice_mm))
    return slice(first, end), (first * slice_mm, (last - end) * slice_mm)


def _without(masks: PackedMasks, absent: Iterable[str]) -> PackedMasks:
    """Return masks in which absent labels are empty: a whole of which parts alone are known has
    their union before.
    """
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
        levels = {
            view: equalized(hounsfield_sums(hu, scan.spacing, view, size, pixel_mm))
            for view in VIEWS
        }
    else:
        hu = bounded(scan.hu, scan.structures, body, scan.spacing)
        depths = {
            view: line_integrals(hu, scan.spacing, view, size, pixel_mm, exposure.bone)
            for view in VIEWS
        }
        levels = {view: radiograph(depth, exposure) for view, depth in depths.items()}
    return {view: np.rint(level * 255).astype(np.uint8) for view, level in levels.items()}


def check_sides(masks: PackedMasks) -> None:
    """Raise ValueError if, in frontal masks, a left label lies to the right of its counterpart."""
    areas, mirror = masks.counts(), masks.labels.mirror
    left = [
        i
        for i, side in enumerate(masks.labels.side)
        if side == "left" and areas[i] and areas[mirror[i]]
    ]
    stack = masks.unpack()
    for i in left:
        here, other = (
            stack[k].sum(axis=0) @ np.arange(stack.shape[2]) / areas[k] for k in (i, mirror[i])
        )
        if here < other:
            names = masks.labels.names
            raise ValueError(
                f"{names[i]} lies to the right of {names[mirror[i]]}: are left and right exchanged in the segmentation?"
            )


def _cut(structures: np.ndarray) -> list[str]:
    codes = np.union1d(structures[0], structures[-1])
    return [STRUCTURES[code - 1].name for code in codes.tolist() if code]
