"""What wholes and derived labels need of a segmentation: without it they would be guessed, and are absent instead."""

from collections.abc import Iterable

_CHAMBERS = ("myocardium", "atrium_left", "ventricle_left", "atrium_right", "ventricle_right")
_LOWER = [f"mediastinum_{part}" for part in ("lower", "anterior", "middle", "posterior")]


def unmet(found: Iterable[str]) -> dict[str, str]:
    """Return the reason for each label that does not follow from structures of these names.

    - Heart: `heart`, or its four chambers with the myocardium; an atrial appendage alone is no heart.
    - Bones: ribs and vertebrae. Ribs as a whole: some of each side. Lungs as a whole: a lobe of each side.
    - Half of the diaphragm: the lung above it, and the organs that fill it: liver on the right, stomach or spleen on
      the left. Diaphragm: both.
    - Mediastinum: both lungs and vertebrae, and, but for its upper part, an organ under the diaphragm, where it ends.
      Anterior, middle and posterior part: heart and aorta, too.
    """
    found = set(found)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in found)

    lobes = [name for name in found if name.startswith("lung_")]
    right, left = (any(lobe.endswith(side) for lobe in lobes) for side in ("right", "left"))
    heart = "heart" in found or found >= {f"heart_{part}" for part in _CHAMBERS}
    dome_right, dome_left = right and has("liver"), left and has("stomach", "spleen")
    needs = [
        (heart, "heart, or all its chambers,", ["heart"]),
        (has("rib_"), "ribs", ["bones"]),
        (has("vertebrae_"), "vertebrae", ["bones", "mediastinum_overall", "mediastinum_upper", *_LOWER]),
        (has("rib_left") and has("rib_right"), "ribs of both sides", ["ribs"]),
        (left and right, "both lungs", ["lung_overall", "mediastinum_overall", "mediastinum_upper", *_LOWER]),
        (dome_right, "right lung and liver", ["hemidiaphragm_right", "diaphragm"]),
        (dome_left, "left lung, and stomach or spleen,", ["hemidiaphragm_left", "diaphragm"]),
        (has("liver", "stomach", "spleen"), "liver, stomach or spleen", ["mediastinum_overall", *_LOWER]),
        (heart and "aorta" in found, "heart and aorta", _LOWER[1:]),
    ]
    reasons: dict[str, str] = {}
    for is_met, what, labels in needs:
        if not is_met:
            reasons = dict.fromkeys(labels, f"not derivable: {what} not in the segmentation") | reasons
    return reasons
