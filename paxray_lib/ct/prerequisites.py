"""What wholes and derived labels need of a segmentation; without it they are absent."""

from collections.abc import Iterable

_CHAMBERS = ("myocardium", "atrium_left", "ventricle_left", "atrium_right", "ventricle_right")
_LOWER = [f"mediastinum_{part}" for part in ("lower", "anterior", "middle", "posterior")]
_MEDIASTINUM = ["mediastinum_overall", "mediastinum_upper", *_LOWER]
_OF_BOTH_LUNGS = ["lung_overall", "diaphragm", *_MEDIASTINUM]


def missing_prerequisites(structures: Iterable[str]) -> dict[str, str]:
    """Return the reason for each label that does not follow from structures of these names.

    - Heart: `heart`, or its four chambers with the myocardium; an atrial appendage alone is no
      heart.
    - Bones: ribs and vertebrae. Ribs as a whole: some of each side. Lungs as a whole: a lobe of
      each side.
    - Half of the diaphragm: the lung above it, and the organs that fill it: liver on the right,
      stomach or spleen on the left. Diaphragm: both.
    - Mediastinum: both lungs and vertebrae, and, but for its upper part, an organ under the
      diaphragm, where it ends. Anterior, middle and posterior part: heart and aorta, too.

    A part may be there without its whole then, which `paxray check` reports.
    """
    names = set(structures)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    lobes = [name for name in names if name.startswith("lung_")]
    right, left = (any(lobe.endswith(side) for lobe in lobes) for side in ("right", "left"))
    heart = "heart" in names or names >= {f"heart_{part}" for part in _CHAMBERS}
    prerequisites = [  # from the most telling reason to the least
        (has("rib_"), "ribs", ["bones"]),
        (has("vertebrae_"), "vertebrae", ["bones", *_MEDIASTINUM]),
        (has("rib_left") and has("rib_right"), "ribs of both sides", ["ribs"]),
        (right, "right lung", ["hemidiaphragm_right", *_OF_BOTH_LUNGS]),
        (left, "left lung", ["hemidiaphragm_left", *_OF_BOTH_LUNGS]),
        (has("liver"), "liver", ["hemidiaphragm_right", "diaphragm"]),
        (has("stomach", "spleen"), "stomach or spleen", ["hemidiaphragm_left", "diaphragm"]),
        (
            has("liver", "stomach", "spleen"),
            "liver, stomach or spleen",
            ["mediastinum_overall", *_LOWER],
        ),
        (heart, "heart, or all its chambers,", ["heart", *_LOWER[1:]]),
        (has("aorta"), "aorta", _LOWER[1:]),
    ]
    return {
        label: f"not derivable: {prerequisite} not in the segmentation"
        for is_met, prerequisite, labels in reversed(prerequisites)
        if not is_met
        for label in labels
    }
