"""Tables of measurements: kept rows, views, and the ratio against reference masks."""

import math
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.boxes import BOXES, boxes
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.definitions import DEFINITIONS
from paxray_lib.measurement.geometry import measure
from paxray_lib.measurement.tables import (
    agreement,
    ctr_pairs,
    format_measurements,
    measure_predictions,
    without_view,
)
from paxray_lib.prediction.predict import FORMATS, predict


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
    report = predict(Threshold(), images, tmp_path / "out").assign(flags="")
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
    flagged = measure_predictions(out, report.assign(flags=["not_a_chest_film", ""]))
    assert without_view(flagged) == 0  # it would have no widths with a view either
    views = {str(hidden): "frontal", report["file"][1]: None}
    table = measure_predictions(out, report, views=views)
    assert table["view"].tolist() == ["frontal", "lateral"]
    table = measure_predictions(out, report, "lateral", views={report["file"][1]: "frontal"})
    assert table["view"].tolist() == ["lateral", "frontal"]
    for wrong in ({"view": "frntal"}, {"views": {str(hidden): "frntal"}}):
        with pytest.raises(ValueError, match=r"view 'frntal': .*did you mean 'frontal'"):
            measure_predictions(out, report, **wrong)


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


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_of_predictions_is_measured_alike(tmp_path, format):
    write_xray(tmp_path / "x.dcm", (40, 50), ViewPosition="PA", PixelSpacing=[0.5, 0.25])
    report = predict(Threshold(), tmp_path / "x.dcm", tmp_path / "out", format=format).assign(
        flags=""
    )
    predict(Threshold(), tmp_path / "x.dcm", tmp_path / "packed")
    masks = PackedMasks.read(tmp_path / "packed/x.pxm")
    (row,) = measure_predictions(tmp_path / "out", report).to_dict("records")
    expected = measure(masks, "frontal", (0.5, 0.25))
    assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert (row["view"], row["problem"], row["spacing_from"]) == ("frontal", None, "file")
    assert (row["row_mm"], row["column_mm"]) == (0.5, 0.25)


def test_a_spacing_that_no_file_says_can_be_said(tmp_path):
    for name, spacing in {"own": [0.5, 0.5], "none": None, "zero": [0, 0]}.items():
        write_xray(tmp_path / f"in_{name}.dcm", (40, 50), ViewPosition="PA", PixelSpacing=spacing)
    paths = [tmp_path / f"in_{name}.dcm" for name in ("own", "none", "zero")]
    report = predict(Threshold(), paths, tmp_path / "out").assign(flags="")
    for output in report["output"]:
        boxes().resize(40, 50).write(tmp_path / "out" / output)
        os.utime(tmp_path / "out" / output, (0, 0))
    pixels = measure(boxes().resize(40, 50), "frontal")["heart_width_px"]
    for given in (None, 0.2, 0.3, None):  # rows of another spacing are not kept
        table = measure_predictions(tmp_path / "out", report, spacing_mm=given)
        mm = [0.5] + [given or np.nan] * 2
        expected = [pixels * spacing for spacing in mm]
        assert table["heart_width_mm"].tolist() == pytest.approx(expected, nan_ok=True)
        assert table["row_mm"].tolist() == pytest.approx(mm, nan_ok=True)
        origins = ["file", "given", "given"] if given else ["file", None, None]
        assert [None if pd.isna(s) else s for s in table["spacing_from"]] == origins
        assert table["problem"].isna().tolist() == [True, True, bool(given)]
        assert given or "PixelSpacing: pixels of 0 x 0 mm" in table["problem"][2]


@pytest.mark.parametrize("spacing", [0, -0.14, math.nan, math.inf, 1e300, 1e-5])
def test_a_spacing_that_no_film_has_is_refused(done, spacing):
    with pytest.raises(ValueError, match=r"spacing .* mm: pixels of a film have 0\.01 to 10 mm"):
        measure_predictions(*done, spacing_mm=spacing)


def test_a_spacing_that_one_film_cannot_have_is_its_problem(tmp_path):
    Image.linear_gradient("L").save(tmp_path / "x_pa.png")
    report = predict(Threshold(), tmp_path / "x_pa.png", tmp_path / "out").assign(flags="")
    (row,) = measure_predictions(tmp_path / "out", report, spacing_mm=9).to_dict("records")
    assert "x_pa.png: pixels of 9 x 9 mm in 256 x 256: not an X-ray film" in row["problem"]
    assert math.isnan(row["row_mm"])


def test_every_number_is_defined_beside_the_table(done):
    table = measure_predictions(*done)
    text = (done[0] / "measurements.md").read_text()
    for column in table.columns:
        name = re.sub("_(px|mm2?)$", "", column) if column[:-3] not in ("row", "column") else column
        assert f"- `{name}`: " in text, column
    assert set(DEFINITIONS) <= {re.sub("_(px|mm2?)$", "", column) for column in table.columns}
    assert "lies behind the heart" in DEFINITIONS["lung_right_area"]
