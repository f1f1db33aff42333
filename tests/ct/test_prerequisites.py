"""What is missing makes labels absent, with a reason."""

import numpy as np
import pytest
from helpers.chestdata import SPACING, masks_of, without

from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import Scan
from paxray_lib.ct.structures import CODES


@pytest.mark.parametrize(
    ("missing", "absent", "reason"),
    [
        (["heart"], "heart", "not in the segmentation"),
        (["heart"], "mediastinum_middle", "heart, or all its chambers, not in"),
        (["aorta"], "mediastinum_middle", "aorta not in"),
        (["liver"], "hemidiaphragm_right", ": liver not in"),
        (["liver"], "diaphragm", ": liver not in"),
        (["stomach"], "hemidiaphragm_left", "stomach or spleen not in"),
        (
            ["liver", "stomach"],
            "mediastinum_lower",
            "liver, stomach or spleen not in the segmentation",
        ),
        (
            ["lung_upper_lobe_left", "lung_lower_lobe_left"],
            "mediastinum_overall",
            "left lung not in",
        ),
        (["lung_upper_lobe_left", "lung_lower_lobe_left"], "lung_overall", "left lung not in"),
        (
            [f"rib_{side}_{i}" for side in ("left", "right") for i in range(1, 13)],
            "bones",
            "ribs not in",
        ),
        ([f"rib_left_{i}" for i in range(1, 13)], "ribs", "ribs of both sides not in"),
        (["vertebrae_T4"], "mediastinum_lower", "T4 and T5"),
        (["vertebrae_T4"], "t4", "not in the segmentation"),
        (["aorta"], "aorta_arch", "not in the segmentation"),
        (
            [f"vertebrae_{i}" for i in ("C7", "L1", *(f"T{k}" for k in range(1, 13)))],
            "hemidiaphragm_left",
            "midline",
        ),
        ([], "c3", "outside the scan, which begins at c7"),
        ([], "sacrum", "outside the scan, which ends at l1"),
        ([], "t13", "extra vertebra"),
    ],
)
def test_reasons(chest, missing, absent, reason):
    assert reason in derive(without(chest, *missing)).absent[absent]


def test_an_atrial_appendage_is_no_heart_and_its_chambers_are_one(chest):
    def heart_of(*names):
        structures, heart = chest.structures.copy(), np.argwhere(chest.structures == CODES["heart"])
        for part, name in zip(np.array_split(heart, len(names)), names, strict=True):
            structures[tuple(part.T)] = CODES[name]
        return Scan(chest.hu, structures, SPACING, {})

    chambers = [
        f"heart_{part}_{side}" for part in ("atrium", "ventricle") for side in ("left", "right")
    ]
    assert "all its chambers" in derive(heart_of("atrial_appendage_left")).absent["heart"]
    assert "all its chambers" in derive(heart_of(*chambers)).absent["heart"]
    found = masks_of(heart_of(*chambers, "heart_myocardium"))["heart"]
    assert np.array_equal(found, chest.structures == CODES["heart"])
