"""Whether a CT and its segmentation are a chest: amounts, sizes, Hounsfield units, position."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from paxray_lib.ct.structures import CODES, codes_of, count_values, is_in, mean_index
from paxray_lib.projection.rays import Spacing

# chosen by eye
_FEW = 50  # voxels; fewer do not count as a structure
_LUNG_HU = -985, -200  # median; lungs have -970 (emphysema) to -500, air outside has -1000
_MIN_BONE_HU = 60  # median of all bones; what else the names may have slipped to has less
_MIN_LUNG_MM = 100.0  # of height, if cut off; an abdominal CT shows some 60 mm of their bases
_LUNGS_MM = 30.0, 500.0  # what most of the lungs span along an axis, from neonates to adults
_MOST = 0.01, 0.99  # of their voxels
_LEVELS = ("C1", "C7", "T1", "T3", "T6", "T9", "T12", "L1", "L5")  # enough to tell head from feet


def check_chest(
    hu: np.ndarray, structures: np.ndarray, spacing: Spacing, ct: Path, segmentation: Path
) -> None:
    """Raise ValueError if a scan is no chest in Hounsfield units that lies as its affine says.

    Volumes and spacing are those of `scan.Scan`, the paths are for the messages.
    """
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
    _check_tissue(hu, lung, is_in(structures, codes_of("bone")), ct, segmentation)
    _check_size(lung, spacing, ct)
    _check_position(structures, present, ct)


def _check_tissue(
    hu: np.ndarray, lung: np.ndarray, bone: np.ndarray, ct: Path, segmentation: Path
) -> None:
    """Check that the CT has the Hounsfield units of lungs and of bones where these are."""
    for name, mask, (low, high), usual in (
        ("lung", lung, _LUNG_HU, "-900 to -500"),
        ("bone", bone, (_MIN_BONE_HU, np.inf), "100 to 500"),
    ):
        median = float(np.median(hu[mask]))
        if not low <= median <= high:
            raise ValueError(
                f"{segmentation}: where it says {name}, {ct.name} has a median of {median:.0f}, "
                f"and not {usual} as in Hounsfield units of {name}s; is the CT in Hounsfield "
                "units, is it a segmentation of this CT, and do the values have these names "
                "(--names)?"
            )


def _check_size(lung: np.ndarray, spacing: Spacing, ct: Path) -> None:
    """Check that the lungs are whole enough, and of human size."""
    depth = lung.sum(axis=0)  # (Y, X)
    profiles = lung.sum(axis=(1, 2)), depth.sum(axis=1), depth.sum(axis=0)
    slices = np.flatnonzero(profiles[0])
    height = (slices[-1] - slices[0] + 1) * spacing[0]
    # abdominal and neck CTs cut the lungs off so that little is left
    if height < _MIN_LUNG_MM and (slices[0] == 0 or slices[-1] == len(lung) - 1):
        raise ValueError(
            f"{ct}: holds only {height:.0f} mm of the lungs' height, the scan cuts off the rest, "
            "so this is not a CT of the chest; take one that shows the lungs"
        )
    spans = [_span(profile) * mm for profile, mm in zip(profiles, spacing, strict=True)]
    low, high = _LUNGS_MM
    if min(spans) < low or max(spans) > high:
        raise ValueError(
            f"{ct}: by the affine the lungs are {' x '.join(f'{mm:.0f}' for mm in spans)} mm in "
            f"height, depth and width, but those of people are {low:.0f} to {high:.0f} mm; convert "
            "the CT again from DICOM"
        )


def _span(profile: np.ndarray) -> int:
    """Return over how many places the middle 98 % of a profile extend."""
    first, last = np.searchsorted(np.cumsum(profile), np.multiply(_MOST, profile.sum()))
    return int(last - first + 1)


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
        means = [mean_index(is_in(structures, side), axis) for side in (first, second) if side]
        if len(means) == 2 and means[0] >= means[1]:
            raise ValueError(
                f"{ct}: by the affine, what is segmented as {low} lies to the {high}; the "
                "orientation in the header is wrong, or the segmentation's names are"
            )
