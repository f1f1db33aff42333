"""Random volumes with label volumes, and their projection in one call."""

import numpy as np

from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.projection.radiograph import line_integrals, radiograph
from paxray_lib.projection.rays import Geometry, cast_shadows, project_masks

NAMES = {
    1: ("rib_left_anterior_3",),
    2: ("rib_right_posterior_3",),
    3: ("heart",),
    4: ("mediastinum_middle", "mediastinum_lower"),
}


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Return Hounsfield units, a label volume with the values of NAMES, and the spacing."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 24, 3))
    hu = rng.integers(-1024, 2500, shape).astype(np.int16)
    volume = (rng.random(shape) > 0.8) * rng.integers(0, 5, shape, dtype=np.uint8)
    return hu, volume, tuple(rng.uniform(0.5, 3, 3))


def project(
    hu: np.ndarray, spacing: tuple, volumes: list, size: int, labels=LABELS
) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return {view: (image, masks)} of a volume that just fits the image."""
    geometry, shadows = Geometry.fit(hu.shape, spacing, size), cast_shadows(volumes)
    return {
        view: (
            radiograph(line_integrals(hu, geometry, view)),
            project_masks(shadows, geometry, view, labels),
        )
        for view in VIEWS
    }
