"""Measurements against masks of known geometry, mirrored images, and the numbers that phantoms are
built from.
"""

import math

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.boxes import boxes
from helpers.phantoms import phantom
from helpers.threshold_model import Threshold
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import CXAS_LABELS, LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import find_lines, measure
from paxray_lib.models.inference import predict_image
from paxray_lib.phantoms.body import draw_body


def same(found, expected):
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name


def test_boxes_have_the_measures_of_their_edges():
    found = measure(boxes(), "frontal", (2.0, 0.5))
    expected = {
        "ctr": 20 / 54,
        "heart_width_px": 20,
        "thorax_width_px": 54,
        "heart_height_px": 16,
        "lung_right_height_px": 40,
        "lung_left_height_px": 36,
        "heart_area_px": 320,
        "lung_right_area_px": 800,
        "lung_area_px": 800 + 36 * 24,
        "heart_to_spine_px": 38 - 35,
        "airways_to_spine_px": 36 - 35,
        "ribs_to_spine_px": (16 + 54) / 2 - 35,
        "ribs_anterior": 6,  # the seventh has its centroid in row 29, the dome's first is 29
        "heart_width_mm": 10,
        "heart_height_mm": 32,
        "heart_area_mm2": 320,
        "lung_right_area_mm2": 800,
    }
    same(found, expected)


def test_masks_with_the_names_of_cxas_are_measured_as_with_ours():
    names = {"heart": "heart", "spine": "spine", "airways": "trachea"}
    names |= {"lung_right": "right lung", "lung_left": "left lung"}
    names |= {f"hemidiaphragm_{side}": f"{side} hemidiaphragm" for side in ("left", "right")}
    ordinals = ["1st", "2nd", "3rd", *(f"{n}th" for n in range(4, 12))]
    names |= {
        f"rib_{side}_{part}_{number}": f"{part} {ordinal} rib {side}"
        for side in ("left", "right")
        for part in ("anterior", "posterior")
        for number, ordinal in enumerate(ordinals, 1)
    }
    ours = boxes()
    stack = np.zeros((len(CXAS_LABELS), *ours.shape[1:]), bool)
    for name, other in names.items():
        stack[CXAS_LABELS.index(other)[0]] = ours.union(name)
    theirs = PackedMasks.pack(stack, CXAS_LABELS)
    expected = measure(ours, "frontal", (2.0, 0.5))
    assert not math.isnan(sum(expected[name] for name in ("ctr", "lung_area_mm2", "ribs_anterior")))
    same(measure(theirs, "frontal", (2.0, 0.5)), expected)
    assert find_lines(theirs, "frontal") == find_lines(ours, "frontal")


def test_the_heart_may_be_widest_on_both_sides_in_different_rows():
    masks = boxes(heart=(30, 46, 28, 40)).unpack()
    masks[LABELS.index("heart")[0], 40:42, 40:50] = True
    assert measure(PackedMasks.pack(masks, LABELS), "frontal")["heart_width_px"] == 22


def test_the_spine_may_lean():
    masks = boxes().unpack()
    spine = masks[LABELS.index("spine")[0]]
    spine[:] = False
    for row in range(64):
        spine[row, 20 + row // 2 : 24 + row // 2] = True
    row, column = 38.0, 38.0  # of the heart's centroid
    found = measure(PackedMasks.pack(masks, LABELS), "frontal")["heart_to_spine_px"]
    assert found == pytest.approx(column - (22 + row / 2 - 0.5), abs=0.05)


PIXELS = {  # stray, outside of everything and on both sides of it
    "heart": [(0, 0), (63, 79), (5, 3)],
    "lung_right": [(12, 79), (63, 0)],
    "lung_left": [(30, 0), (0, 79)],
    "spine": [(62, 79), (1, 0)],
    "airways": [(63, 0)],
    "hemidiaphragm_right": [(0, 79)],
    "rib_left_anterior_3": [(60, 0)],
}


def with_pixels(masks, pixels=PIXELS):
    stack = masks.unpack()
    for name, places in pixels.items():
        for row, column in places:
            stack[LABELS.index(name)[0], row, column] = True
    return PackedMasks.pack(stack, LABELS)


def test_stray_pixels_change_areas_alone():
    plain, found = measure(boxes(), "frontal"), measure(with_pixels(boxes()), "frontal")
    changed = {name for name in plain if found[name] != plain[name] and not math.isnan(plain[name])}
    assert changed == {"heart_area_px", "lung_right_area_px", "lung_left_area_px", "lung_area_px"}
    assert found["heart_area_px"] == plain["heart_area_px"] + 3
    assert find_lines(with_pixels(boxes()), "frontal") == find_lines(boxes(), "frontal")


@pytest.mark.parametrize(("rows", "width"), [(3, 20), (4, 52)])
def test_a_part_counts_from_a_tenth_of_the_largest(rows, width):
    stack = boxes().unpack()
    heart = stack[LABELS.index("heart")[0]]
    heart[30 : 30 + rows, 72:80] = True  # beside 16 x 20 pixels
    assert heart.any(axis=0).sum() == 28
    assert measure(PackedMasks.pack(stack, LABELS), "frontal")["heart_width_px"] == width


def test_pixels_that_touch_at_a_corner_are_of_one_part():
    stack = boxes().unpack()
    stack[LABELS.index("heart")[0], 29, 48] = True
    assert measure(PackedMasks.pack(stack, LABELS), "frontal")["heart_width_px"] == 21


def test_each_lung_has_parts_of_its_own():
    small = boxes(lung_left=(12, 16, 60, 64))  # less than a tenth of the other lung
    assert measure(small, "frontal")["thorax_width_px"] == 54


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("heart", ["ctr", "heart_width_px", "heart_area_px", "heart_to_spine_px"]),
        (
            "lung_left",
            ["ctr", "thorax_width_px", "lung_left_height_px", "lung_left_area_px", "lung_area_px"],
        ),
        ("spine", ["heart_to_spine_px", "airways_to_spine_px", "ribs_to_spine_px"]),
        ("airways", ["airways_to_spine_px"]),
        ("hemidiaphragm_right", ["ribs_anterior", "ribs_posterior"]),
    ],
)
def test_missing_anatomy_is_nan_and_the_rest_is_not(missing, lost):
    whole, found = measure(boxes(), "frontal"), measure(boxes(without=[missing]), "frontal")
    assert all(math.isnan(found[name]) for name in lost)
    kept = [
        name
        for name in whole
        if missing.removesuffix("_left") not in name and name not in lost and "lung" not in name
    ]
    same(found, {name: whole[name] for name in kept})


def test_labels_that_are_not_in_the_set_are_missing_anatomy():
    some = PackedMasks.pack(np.ones((1, 4, 6), bool), LabelSet(["heart"]))
    found = measure(some, "frontal")
    assert {name for name, value in found.items() if not math.isnan(value)} == {
        "heart_width_px",
        "heart_height_px",
        "heart_area_px",
    }


@given(seed=st.integers(0, 2**32))
def test_rows_and_columns_count_as_often_as_they_are_repeated(seed):
    rng = np.random.default_rng(seed)
    rows, columns = (np.repeat(np.arange(n), rng.integers(1, 5, n)) for n in (64, 80))
    masks = with_pixels(boxes()).gather(rows, columns)
    found = measure(masks, "frontal")
    heart, spine = (masks.union(name) for name in ("heart", "spine"))
    assert found["heart_area_px"] == heart.sum()
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(heart.view(np.uint8))
    heart = parts == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()
    assert found["heart_width_px"] == np.ptp(np.flatnonzero(heart.any(axis=0))) + 1
    assert found["heart_height_px"] == np.ptp(np.flatnonzero(heart.any(axis=1))) + 1
    middle = np.nonzero(spine)[1].mean()  # straight, but for stray pixels, some of them repeated
    distance = np.nonzero(heart)[1].mean() - middle
    assert found["heart_to_spine_px"] == pytest.approx(distance, abs=8)


class Bright(Threshold):
    """The heart is what is brighter than half; nothing else is anywhere."""

    def coarse(self, images):
        gray = images[:, 0] * 0.229 + 0.485
        logits = torch.full((len(images), len(LABELS), *gray.shape[1:]), -9.0)
        logits[:, LABELS.index("heart")[0]] = (gray - 0.5) * 20
        return logits


@pytest.mark.parametrize("grown", [0.0, 0.5])
def test_lengths_follow_a_shape_in_steps_of_the_image_not_of_the_network(grown):
    model = Bright(size=(32, 32))  # a pixel of the network: 25 rows and 20 columns of the image
    rows, columns = np.mgrid[:800, :640] + 0.5
    lengths = []
    for step in range(25):
        height, width = 120 + grown * step, 90 + grown * step
        distance = 1 - np.hypot((columns - 300 - step) / width, (rows - 400) / height)
        image = np.clip(distance * width / 6 + 0.5, 0, 1).astype(np.float32)  # an edge of 6 pixels
        found = measure(predict_image(model, image), "frontal")
        lengths.append((found["heart_width_px"], found["heart_height_px"]))
    moved = np.diff(lengths, axis=0)  # (steps, 2)
    assert np.abs(moved - 2 * grown).max() <= 3
    assert np.abs(lengths - np.array([180, 240]) - 2 * grown * np.arange(25)[:, None]).max() < 10


@pytest.mark.parametrize("view", ["lateral", None])
def test_only_areas_and_heights_without_a_frontal_view(view):
    found = measure(boxes(), view)
    there = {name for name, value in found.items() if not math.isnan(value)}
    assert there == {
        name for name in found if ("area" in name or "height" in name) and name.endswith("px")
    }


def test_without_spacing_there_are_no_millimetres():
    found = measure(boxes(), "frontal")
    assert all(math.isnan(value) for name, value in found.items() if name.endswith(("_mm", "_mm2")))


@given(case=st.integers(0, 5))
def test_a_mirrored_image_has_the_same_measures_on_the_other_side(case):
    masks = phantom(0, case)["frontal"][1]
    found, mirrored = measure(masks, "frontal"), measure(masks.flip("frontal"), "frontal")
    for name, value in found.items():
        if name in ("ribs_anterior", "ribs_posterior"):
            continue  # counted on the right
        other = name.replace("right", "?").replace("left", "right").replace("?", "left")
        assert mirrored[other] == pytest.approx(
            -value if "to_spine" in name else value, nan_ok=True, abs=1e-6
        ), name


@given(case=st.integers(0, 5), factor=st.integers(2, 3))
def test_finer_pixels_give_the_same_millimetres(case, factor):
    masks = phantom(0, case)["frontal"][1]
    finer = masks.resize(48 * factor, 48 * factor)
    found, again = (measure(m, "frontal", (s, s)) for m, s in ((masks, 6.0), (finer, 6.0 / factor)))
    for name in found:
        if name.endswith(("_mm", "_mm2")) or name == "ctr":
            assert again[name] == pytest.approx(found[name], abs=4), name


def test_measures_follow_the_numbers_that_phantoms_are_built_from():
    rows = []
    for case in range(12):
        body = draw_body(np.random.default_rng([0, case, 0]))
        found = measure(phantom(0, case)["frontal"][1], "frontal", (body.field / 48,) * 2)
        rows.append(
            {
                **found,
                "turn": -body.turn,
                "wide": body.wide,
                "breath": body.breath,
                "size": body.heart_size,
            }
        )
    table = pd.DataFrame(rows)
    related = table.corr()
    # turned to the left: the front moves to the left
    assert related.loc["turn", "ribs_to_spine_mm"] > 0.9
    assert related.loc["turn", "airways_to_spine_mm"] > 0.6
    assert related.loc["breath", "ribs_posterior"] > 0.6
    assert related.loc["size", "heart_width_mm"] > 0.6
    assert table["ctr"].between(0.3, 0.75).all()
    assert table["ribs_posterior"].between(6, 12).all()
    assert table["thorax_width_mm"].between(180, 320).all()
