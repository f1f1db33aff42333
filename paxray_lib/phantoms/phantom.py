"""One random thorax: its volume, its images and masks."""

from dataclasses import dataclass

import numpy as np

from paxray_lib.images.views import VIEWS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.phantoms import chest, skeleton, tubes
from paxray_lib.phantoms.appearance import draw_look, form_image, opening, window
from paxray_lib.phantoms.body import Body, Frame, draw_body
from paxray_lib.phantoms.voxels import ORGAN_LABELS, REGION_LABELS, Canvas
from paxray_lib.projection.radiograph import line_integrals
from paxray_lib.projection.rays import (
    Geometry,
    LabelVolume,
    Spacing,
    cast_shadows,
    project_masks,
)

_FINEST, _COARSEST = 0.8, 2.0  # mm, voxels, by eye; finer images are interpolated


@dataclass(frozen=True)
class Phantom:
    """The volumes of one phantom, in the orientation of `projection.rays`.

    Attributes
    ----------
    hu : dict of view to (Z, Y, X) int16 array of Hounsfield units
        The two differ in the arms only: a patient raises them for the lateral view.
    volumes : list of (volume, names)
        Label volumes for `projection.rays.cast_shadows`.
    spacing : (z, y, x) voxel size in mm
    body : Body
        The numbers it was built from.
    """

    hu: dict[str, np.ndarray]
    volumes: list[LabelVolume]
    spacing: Spacing
    body: Body


def make_phantom(seed: int, case: int, size: int = 256, varied: bool = False) -> Phantom:
    """Build the volumes of a phantom, with voxels fit for images of `size` pixels.

    `varied` as in `generate_sample`.
    """
    rng = np.random.default_rng([seed, case, 0])
    body = draw_body(rng, varied)
    frame = Frame(body)
    voxel = float(np.clip(body.field / size, _FINEST, _COARSEST))
    half = body.field / 2
    front = -(100 * body.deep + body.muscle + 1.3 * body.fat + 0.4 * body.breast + 25)
    back = 95 * body.deep + body.muscle + body.fat + 45
    canvas = Canvas((body.top, front, -half), (body.top + body.field, back, half), voxel)
    chest.paint_body(canvas, frame)
    chest.paint_chest(canvas, frame)
    chest.paint_abdomen(canvas, frame, rng)
    tubes.paint_vessels(canvas, frame, rng)
    tubes.paint_tubes(canvas, frame, rng)
    skeleton.paint_girdle(canvas, frame, rng)
    skeleton.paint_ribs(canvas, frame)
    skeleton.paint_spine(canvas, frame)
    without_arms = canvas.hu.copy()
    skeleton.paint_arms(canvas, frame, body.arms)
    frontal, canvas.hu = canvas.hu, without_arms
    skeleton.paint_arms(canvas, frame, "none" if body.arms == "none" else "forward")
    # a small rotation about the long axis is a shear along the rays of the frontal view, where its
    # steps are not seen
    for volume in (frontal, canvas.regions, canvas.organs):
        for j in range(volume.shape[1]):
            shift = round(np.tan(body.turn) * (front / voxel + j))
            volume[:, j] = np.roll(volume[:, j], shift, axis=1)
    return Phantom(
        {"frontal": frontal, "lateral": canvas.hu},
        [(canvas.regions, REGION_LABELS), (canvas.organs, ORGAN_LABELS)],
        (voxel,) * 3,
        body,
    )


def render(
    seed: int, case: int, size: int = 256, varied: bool = False
) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return {view: (image (size, size) uint8, PackedMasks)} of a phantom."""
    phantom = make_phantom(seed, case, size, varied)
    shadows = cast_shadows(phantom.volumes)
    views = {}
    for number, view in enumerate(VIEWS):
        rng = np.random.default_rng([seed, case, 1 + number])
        look = draw_look(rng, varied)
        whole, top, left = window(look, size)
        pixel_mm, hu = phantom.body.field / whole, phantom.hu[view]
        geometry = Geometry(hu.shape, phantom.spacing, whole, pixel_mm)
        depth = line_integrals(hu, geometry, view, look.exposure.bone)[
            top : top + size, left : left + size
        ]
        masks = project_masks(shadows, geometry, view).crop(top, left, size, size)
        lit = opening(look, size)
        data = np.zeros_like(masks.data)  # what the collimator hides has no label
        data[lit] = masks.data[lit]
        masks = PackedMasks(data, masks.labels)
        airy = masks.union("lung_overall") & ~masks.union("diaphragm")
        views[view] = form_image(depth, airy, look, pixel_mm, rng), masks
    return views
