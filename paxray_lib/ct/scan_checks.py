"""Checks that a scan shows a chest, and that the patient lies as the affine says."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from paxray_lib.ct.structures import CODES, codes_of, count_values, is_in, mean_index
from paxray_lib.projection.rays import Spacing

# chosen by eye
_FEW = 50  # voxels; fewer do not count as a structure
_MIN_LUNG_MM = 100.0  # of height, if cut off; an abdominal CT shows some 60 mm of their bases
_MAX_LUNG_HU = -200  # median; lungs have -900 to -500
_LEVELS = ("C1", "C7", "T1", "T3", "T6", "T9", "T12", "L1", "L5")  # enough to tell head from feet


def check_chest(
    hu: np.ndarray, structures: np.ndarray, spacing: Spacing, ct: Path, segmentation: Path
) -> None:
    """Raise ValueError if the scan is no chest in Hounsfield units that lies as its affine says."""
    counts = count_values(structures)
    present = {name: code for name, code in CODES.items() if counts[code] >= _FEW}
    lungs = [code for code in codes_of("lung") if counts[code] >= _FEW]
    thorax = [name for name in present if name.startswith(("rib_", "vertebrae_T"))]
    if not lungs or not thorax:
        missing = "lung" if not lungs else "rib or thoracic vertebra"
        raise ValueError(
            f"{segmentation}: no {missing} among its {len(present)} structures, so this is not a "
            "CT of the chest; or do the values have other names (--names)?"
        )
    lung = is_in(structures, lungs)
    median = float(np.median(hu[lung]))
    if median > _MAX_LUNG_HU:
        raise ValueError(
            f"{segmentation}: where it says lung, {ct.name} has a median of {median:.0f}, and not "
            "-900 to -500 as in Hounsfield units of lungs; is the CT in Hounsfield units, and do "
            "the values have these names (--names)?"
        )
    slices = np.flatnonzero(lung.any(axis=(1, 2)))
    height = (slices[-1] - slices[0] + 1) * spacing[0]
    # abdominal and neck CTs cut the lungs off so that little is left
    if height < _MIN_LUNG_MM and (slices[0] == 0 or slices[-1] == len(lung) - 1):
        raise ValueError(
            f"{ct}: holds only {height:.0f} mm of the lungs' height, the scan cuts off the rest, "
            "so this is not a CT of the chest; take one that shows the lungs"
        )
    _check_position(structures, present, ct)


def _check_position(structures: np.ndarray, present: dict[str, int], ct: Path) -> None:
    """Check right before left, front before back, head before feet."""

    def codes(*patterns: str) -> list[int]:
        return [present[n] for n in present if any(fnmatchcase(n, p) for p in patterns)]

    spine = [code for level in _LEVELS for code in codes(f"vertebrae_{level}")]
    right, left = (codes(f"lung_*_{side}", f"rib_{side}_*") for side in ("right", "left"))
    directions = (
        ("right", "left", right, left, 2),
        ("front", "back", codes("sternum", "heart"), codes("vertebrae_*"), 1),
        ("head", "feet", spine[:1], spine[1:][-1:], 0),
    )
    for low, high, first, second, axis in directions:
        if first and second:
            means = [mean_index(is_in(structures, side), axis) for side in (first, second)]
            if means[0] >= means[1]:
                raise ValueError(
                    f"{ct}: by the affine, what is segmented as {low} lies to the {high}; the "
                    "orientation in the header is wrong, or the segmentation's names are"
                )
