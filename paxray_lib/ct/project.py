"""One CT with its segmentation to X-ray-like images and masks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from paxray_lib.ct.body import AIR, body_mask, bounding_box, limit_contrast
from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import STRUCTURES, codes_of, is_in, mean_index
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.projection.radiograph import (
    Exposure,
    equalized,
    hounsfield_sums,
    line_integrals,
    radiograph,
)
from paxray_lib.projection.rays import Geometry, cast_shadows, project_masks
from paxray_lib.utils.errors import check_choice

FORMATIONS = ("attenuation", "published")
# chosen by eye beside real X-rays: the slices of a CT blur its ribs, and a beam for the chest
# spares them more
CT_EXPOSURE = Exposure(bone=2.0, scatter=0.3, local=0.45, detail=1.5)
MIN_SIZE, MAX_SIZE = 32, 4096
# of the lungs, by eye: a chest X-ray shows no more of neck and abdomen
ABOVE_MM, BELOW_MM = 60.0, 120.0


@dataclass(frozen=True)
class Projected:
    """The projections of one scan.

    Attributes
    ----------
    views : dict of view to (image, masks)
        image : (size, size) uint8 array, masks : PackedMasks.
    pixel_mm : float
    absent : dict of label to reason
    cut : structures that reach the first or the last slice, so that a part may be outside the image
    cropped_mm : (above, below), what is left out, farther than 60 mm above the lungs and 120 mm
        below them
    """

    views: dict[str, tuple[np.ndarray, PackedMasks]]
    pixel_mm: float
    absent: dict[str, str]
    cut: list[str]
    cropped_mm: tuple[float, float]


def project_scan(scan: Scan, size: int = 512, formation: str = "attenuation") -> Projected:
    """Project a scan to a frontal and a lateral view of the chest.

    What is far above or below the lungs is left out.

    Parameters
    ----------
    scan : Scan
    size : height and width of the images; the body fits, pixels are equal in both views
    formation : "attenuation" or "published"
        Beer-Lambert attenuation with contrast agent and metal limited, exposed as in CT_EXPOSURE;
        or the recipe of the data set: sums of the CT numbers, equalised.

    Raises
    ------
    ValueError
        If an argument is out of range, or the anatomy is inconsistent: a left label to the right of
        its counterpart, no lung in the masks, an image of one value.
    """
    check_settings(size, formation)
    slice_mm = scan.spacing[0]
    lungs = np.flatnonzero(is_in(scan.structures, codes_of("lung")).any(axis=(1, 2))).tolist()
    first, last = (lungs[0], lungs[-1]) if lungs else (0, len(scan.hu) - 1)
    above, below = (round(mm / slice_mm) for mm in (ABOVE_MM, BELOW_MM))
    near = slice(max(0, first - above), min(len(scan.hu), last + 1 + below))
    cropped_mm = near.start * slice_mm, (len(scan.hu) - near.stop) * slice_mm
    body = body_mask(scan.hu[near], scan.spacing)
    box = bounding_box(body)
    body, hu, structures = (
        np.ascontiguousarray(volume[box]) for volume in (body, scan.hu[near], scan.structures[near])
    )
    cropped = replace(scan, hu=hu, structures=structures)
    geometry = Geometry.fit(hu.shape, scan.spacing, size)
    with ThreadPoolExecutor(1) as pool:
        images = pool.submit(_form_images, cropped, body, geometry, formation)
        anatomy = derive(cropped)
        shadows = cast_shadows(anatomy.volumes)
        masks = {view: project_masks(shadows, geometry, view) for view in VIEWS}
    # a whole of which parts alone are known has their union before
    known = np.array([name not in anatomy.absent for name in LABELS])
    masks = {view: one.knowing(known) for view, one in masks.items()}
    check_sides(masks["frontal"])
    views = {view: (image, masks[view]) for view, image in images.result().items()}
    _check_visible(views)
    ends = np.union1d(structures[0], structures[-1]).tolist()
    cut = [STRUCTURES[code - 1].name for code in ends if code]
    return Projected(views, geometry.pixel_mm, anatomy.absent, cut, cropped_mm)


def check_settings(size: int, formation: str) -> None:
    """Raise ValueError if one is out of range."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {size}")
    check_choice(formation, FORMATIONS, "formation")


def _form_images(
    scan: Scan, body: np.ndarray, geometry: Geometry, formation: str
) -> dict[str, np.ndarray]:
    """Return the (size, size) uint8 image of each view."""
    if formation == "published":
        hu = np.where(body, scan.hu, np.int16(AIR))
        levels = {view: equalized(hounsfield_sums(hu, geometry, view)) for view in VIEWS}
    else:
        hu = limit_contrast(scan.hu, scan.structures, body, scan.spacing)
        depths = {view: line_integrals(hu, geometry, view, CT_EXPOSURE.bone) for view in VIEWS}
        levels = {view: radiograph(depth, CT_EXPOSURE) for view, depth in depths.items()}
    return {view: np.rint(level * 255).astype(np.uint8) for view, level in levels.items()}


def _check_visible(views: dict[str, tuple[np.ndarray, PackedMasks]]) -> None:
    for view, (image, masks) in views.items():
        if image.min() == image.max() or not masks.union("lung_*").any():
            raise ValueError(
                f"the {view} view shows no body (values {image.min()} to {image.max()}) or no "
                "lung; do CT, affine and segmentation belong together?"
            )


def check_sides(masks: PackedMasks) -> None:
    """Raise ValueError if, in frontal masks, a left label lies to the right of its counterpart."""
    labels, stack, areas = masks.labels, masks.unpack(), masks.counts()
    for left, right in enumerate(labels.mirror):
        both = labels.side[left] == "left" and areas[left] and areas[right]
        if both and mean_index(stack[left], 1) < mean_index(stack[right], 1):
            raise ValueError(
                f"{labels.names[left]} lies to the right of {labels.names[right]}: are left and "
                "right exchanged in the segmentation?"
            )
