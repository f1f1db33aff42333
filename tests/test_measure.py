"""Measurements against masks of known geometry, mirrored images, and the numbers that phantoms are built from."""

import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import phantom
from PIL import Image

from paxray_lib.anatomy import draw_body
from paxray_lib.labels import LABELS, LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.measure import check_measurable, format_measurements, measure, measure_predictions
from paxray_lib.predict import predict

RIBS = {f"rib_right_{part}_{n}": (4 * n, 4 * n + 2, 12, 20) for n in range(1, 13) for part in ("anterior", "posterior")}
BOXES = {
    "lung_right": (10, 50, 10, 30),  # top, bottom, left, right
    "lung_left": (12, 48, 40, 64),
    "heart": (30, 46, 28, 48),
    "spine": (0, 60, 33, 37),
    "airways": (2, 22, 32, 40),
    "hemidiaphragm_right": (29, 60, 8, 30),
    "rib_left_anterior_3": (12, 14, 50, 58),
}


def boxes(without=(), **changed):
    stack = np.zeros((len(LABELS), 64, 80), bool)
    for name, (top, bottom, left, right) in {**BOXES, **RIBS, **changed}.items():
        if name not in without:
            stack[LABELS.index(name)[0], top:bottom, left:right] = True
    return PackedMasks.pack(stack, LABELS)


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


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("heart", ["ctr", "heart_width_px", "heart_area_px", "heart_to_spine_px"]),
        ("lung_left", ["ctr", "thorax_width_px", "lung_left_height_px", "lung_left_area_px", "lung_area_px"]),
        ("spine", ["heart_to_spine_px", "airways_to_spine_px", "ribs_to_spine_px"]),
        ("airways", ["airways_to_spine_px"]),
        ("hemidiaphragm_right", ["ribs_anterior", "ribs_posterior"]),
    ],
)
def test_missing_anatomy_is_nan_and_the_rest_is_not(missing, lost):
    whole, found = measure(boxes(), "frontal"), measure(boxes(without=[missing]), "frontal")
    assert all(math.isnan(found[name]) for name in lost)
    kept = [
        name for name in whole if missing.removesuffix("_left") not in name and name not in lost and "lung" not in name
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


@pytest.mark.parametrize("view", ["lateral", None])
def test_only_areas_and_heights_without_a_frontal_view(view):
    found = measure(boxes(), view)
    there = {name for name, value in found.items() if not math.isnan(value)}
    assert there == {name for name in found if ("area" in name or "height" in name) and name.endswith("px")}


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
        assert mirrored[other] == pytest.approx(-value if "to_spine" in name else value, nan_ok=True, abs=1e-6), name


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
        rows.append({**found, "turn": -body.turn, "wide": body.wide, "breath": body.breath, "size": body.heart_size})
    table = pd.DataFrame(rows)
    related = table.corr()
    assert related.loc["turn", "ribs_to_spine_mm"] > 0.9  # turned to the left: the front moves to the left
    assert related.loc["turn", "airways_to_spine_mm"] > 0.6
    assert related.loc["breath", "ribs_posterior"] > 0.6
    assert related.loc["size", "heart_width_mm"] > 0.6
    assert table["ctr"].between(0.3, 0.75).all()
    assert table["ribs_posterior"].between(6, 12).all()
    assert table["thorax_width_mm"].between(180, 320).all()


def test_lines_of_text_have_units():
    assert "heart width 20 px" in format_measurements(measure(boxes(), "frontal"))
    assert "heart width 10 mm" in format_measurements(measure(boxes(), "frontal", (0.5, 0.5)))
    assert "ctr 0.37" in format_measurements(measure(boxes(), "frontal"))
    assert format_measurements(measure(boxes(without=BOXES), None)) == []


class TestPredictions:
    @pytest.fixture
    def done(self, tmp_path, tiny, trained):
        from paxray_lib.model import load_model

        images = tmp_path / "images"
        images.mkdir()
        for name in ("afrontal", "blateral"):
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)).save(images / f"{name}.png")
        (images / "cfrontal.png").write_text("no image")
        report = predict(load_model(trained / "checkpoints/best.ckpt"), images, tmp_path / "out")
        boxes().resize(40, 50).write(tmp_path / "out/afrontal.pxm")
        return tmp_path / "out", report

    def test_one_row_an_input(self, done):
        out, report = done
        table = measure_predictions(out, report)
        assert table["file"].tolist() == report["file"].tolist()
        assert table["view"].tolist()[:2] == ["frontal", "lateral"]
        assert table.loc[2].drop("file").isna().all()
        same(table.loc[0], measure(boxes().resize(40, 50), "frontal"))
        pd.testing.assert_frame_equal(pd.read_csv(out / "measurements.csv"), table, rtol=1e-5, check_dtype=False)

    def test_rows_are_kept_until_the_output_changes(self, done, monkeypatch):
        out, report = done
        for name in ("afrontal", "blateral"):
            os.utime(out / f"{name}.pxm", (0, 0))
        first = measure_predictions(out, report)
        boxes(without=["heart"]).resize(40, 50).write(out / "afrontal.pxm")
        made = (out / "measurements.csv").stat().st_mtime
        os.utime(out / "afrontal.pxm", (made + 1, made + 1))
        read = []
        original = PackedMasks.read
        monkeypatch.setattr(PackedMasks, "read", lambda path, labels: read.append(path.name) or original(path, labels))
        again = measure_predictions(out, report)
        assert read == ["afrontal.pxm"]
        assert math.isnan(again["ctr"][0])
        pd.testing.assert_frame_equal(again[1:], first[1:], rtol=1e-5, check_dtype=False)

    def test_dicom_seg_is_refused(self):
        with pytest.raises(ValueError, match="dicom-seg cannot be measured"):
            check_measurable("dicom-seg")
