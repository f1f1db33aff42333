"""Tables of measurements: kept rows, views, and the ratio against reference masks."""

import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.boxes import BOXES, boxes
from helpers.threshold_model import Threshold
from PIL import Image

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.geometry import measure
from paxray_lib.measurement.tables import (
    agreement,
    check_measurable,
    ctr_pairs,
    format_measurements,
    measure_predictions,
    without_view,
)
from paxray_lib.prediction.predict import predict


def test_lines_of_text_have_units():
    assert "heart width 20 px" in format_measurements(measure(boxes(), "frontal"))
    assert "heart width 10 mm" in format_measurements(measure(boxes(), "frontal", (0.5, 0.5)))
    assert "ctr 0.37" in format_measurements(measure(boxes(), "frontal"))
    assert format_measurements(measure(boxes(without=BOXES), None)) == []


@pytest.fixture
def done(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("afrontal", "blateral"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)).save(
            images / f"{name}.png"
        )
    (images / "cfrontal.png").write_text("no image")
    report = predict(Threshold(), images, tmp_path / "out")
    boxes().resize(40, 50).write(tmp_path / "out/afrontal.pxm")
    return tmp_path / "out", report


def test_one_row_an_input(done):
    out, report = done
    table = measure_predictions(out, report)
    assert table["file"].tolist() == report["file"].tolist()
    assert table["view"].tolist()[:2] == ["frontal", "lateral"]
    assert table.loc[2].drop("file").isna().all()
    expected = measure(boxes().resize(40, 50), "frontal")
    assert table.loc[0, list(expected)].tolist() == pytest.approx(
        list(expected.values()), nan_ok=True
    )
    pd.testing.assert_frame_equal(
        pd.read_csv(out / "measurements.csv"), table, rtol=1e-5, check_dtype=False
    )


def test_rows_are_kept_until_the_output_changes(done, monkeypatch):
    out, report = done
    for name in ("afrontal", "blateral"):
        os.utime(out / f"{name}.pxm", (0, 0))
    first = measure_predictions(out, report)
    boxes(without=["heart"]).resize(40, 50).write(out / "afrontal.pxm")
    made = (out / "measurements.csv").stat().st_mtime
    os.utime(out / "afrontal.pxm", (made + 1, made + 1))
    read = []
    original = PackedMasks.read
    monkeypatch.setattr(
        PackedMasks,
        "read",
        lambda path, labels: read.append(path.name) or original(path, labels),
    )
    again = measure_predictions(out, report)
    assert read == ["afrontal.pxm"]
    assert math.isnan(again["ctr"][0])
    pd.testing.assert_frame_equal(again[1:], first[1:], rtol=1e-5, check_dtype=False)


def test_an_image_that_changed_since_is_not_measured_with_the_old_masks(done):
    out, report = done
    Image.linear_gradient("L").save(report["file"][0])
    table = measure_predictions(out, report)
    assert "changed since it was predicted" in table["problem"][0]
    assert math.isnan(table["heart_area_px"][0])
    assert table["problem"].isna().tolist() == [False, True, True]


def test_a_clock_that_was_set_back_keeps_no_rows(done):
    out, report = done
    measure_predictions(out, report)
    ahead = time.time() + 3600
    os.utime(out / "measurements.csv", (ahead, ahead))
    boxes(without=["heart"]).resize(40, 50).write(out / "afrontal.pxm")
    assert math.isnan(measure_predictions(out, report)["ctr"][0])


def test_a_view_that_no_file_says_can_be_said(done):
    out, report = done
    source = Path(report["file"][0])
    hidden = source.rename(source.with_name("a.png"))
    boxes().resize(40, 50).write(out / "a.pxm")
    rows = [(str(hidden), "a.pxm"), (report["file"][1], report["output"][1])]
    report = pd.DataFrame(rows, columns=["file", "output"])
    os.utime(out / "a.pxm", (0, 0))
    expected = measure(boxes().resize(40, 50), "frontal")["ctr"]
    for view, seen in (
        (None, None),
        ("frontal", "frontal"),
        ("lateral", "lateral"),
        (None, None),
    ):
        table = measure_predictions(out, report, view)  # rows of another view are not kept
        assert table["view"].fillna("unknown").tolist() == [seen or "unknown", "lateral"]
        assert table["ctr"][0] == pytest.approx(
            expected if seen == "frontal" else np.nan, nan_ok=True
        )
        assert without_view(table) == (seen is None)
    table = measure_predictions(out, report, {str(hidden): "frontal", report["file"][1]: None})
    assert table["view"].tolist() == ["frontal", "lateral"]
    assert (
        measure_predictions(out, report, {report["file"][1]: "frontal"})["view"].tolist()[1]
        == "frontal"
    )
    for wrong in ("frntal", {str(hidden): "frntal"}):
        with pytest.raises(ValueError, match=r"view 'frntal': .*did you mean 'frontal'"):
            measure_predictions(out, report, wrong)


def test_the_ratio_beside_that_of_the_reference_masks(tiny):
    test = PaxrayDataset(tiny, split="test")
    files = [str(test.image_path(i)) for i in range(len(test))]
    measured = pd.DataFrame(
        {"file": [*files, "other.png"], "ctr": [0.5, np.nan, np.nan, 0.1, 0.2], "output": "x"}
    )
    pairs = ctr_pairs(measured, test)
    true = [measure(test.masks(i), "frontal")["ctr"] for i in (0, 2)]
    assert pairs["image"].tolist() == ["case005frontal.png", "case006frontal.png"]
    assert pairs["true"].tolist() == true
    assert pairs["error"].tolist() == pytest.approx([0.5 - true[0], np.nan], nan_ok=True)
    assert agreement(pairs)["images"] == 1
    assert agreement(pairs)["bias"] == pytest.approx(0.5 - true[0])
    assert agreement(pairs)["mean_absolute_error"] == pytest.approx(abs(0.5 - true[0]))
    assert ctr_pairs(measured[4:], test).empty
    assert ctr_pairs(measured.assign(output=np.nan), test).empty


def test_dicom_seg_is_refused():
    with pytest.raises(ValueError, match="dicom-seg cannot be measured"):
        check_measurable("dicom-seg")
