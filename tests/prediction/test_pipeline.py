"""Inputs that fail, and runs that stop and go on."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.faults import writing_stops_after
from helpers.threshold_model import Threshold
from helpers.tiny_models import tiny_model
from helpers.xrays import write_xray
from PIL import Image as PilImage

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.tables import measure_predictions
from paxray_lib.models.inference import predict_image
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.prediction.pipeline import DOUBT_COLUMNS
from paxray_lib.prediction.predict import predict
from paxray_lib.utils.errors import Stopped


def test_bad_files_are_skipped_and_listed(folder, tmp_path):
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    (folder / "really_png.jpg").write_bytes((folder / "a.png").read_bytes())
    report = predict(Threshold(), folder, tmp_path / "out", batch_size=2).set_index("file")
    failed = report[report["status"] == "failed"]
    assert {path.rsplit("/", 1)[1] for path in failed.index} == {"bad.png", "empty.jpg", "text.png"}
    for path, row in failed.iterrows():
        assert path in row["reason"]
    assert (report["status"] == "ok").sum() == 5


def test_a_spacing_that_cannot_be_is_said(tmp_path):
    write_xray(tmp_path / "x.dcm", (20, 24), PixelSpacing=[0, 0])
    said = "PixelSpacing: pixels of 0 x 0 mm in"
    for status, reason in (("ok", said), ("skipped", f"done before; {said}")):
        (row,) = predict(Threshold(), tmp_path / "x.dcm", tmp_path / "out").itertuples()
        assert (row.status, row.reason[: len(reason)]) == (status, reason)


def test_a_name_that_is_not_utf8_is_one_failed_row(folder, tmp_path):
    odd = os.fsencode(folder) + b"/deep/M\xfcllerfrontal.png"
    try:
        with open(odd, "wb") as file:
            file.write((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no other names than UTF-8")
    for wanted in ("ok", "skipped"):
        report = predict(Threshold(), folder, tmp_path / "out").set_index("file")
        assert sorted(report["status"]) == sorted(["failed", *[wanted] * 4])
        (row,) = report[report["status"] == "failed"].itertuples()
        assert row.Index.endswith("deep/M\\udcfcllerfrontal.png")
        assert (
            row.reason == f"{row.Index}: the name is not UTF-8, so no report can hold it; rename it"
        )
        written = pd.read_csv(
            tmp_path / "out/report.csv",
            keep_default_na=False,
            na_values={
                name: [""] for name in ("height", "width", "view_probability", *DOUBT_COLUMNS)
            },
        )
        pd.testing.assert_frame_equal(written.set_index("file"), report, check_dtype=False)
    assert measure_predictions(tmp_path / "out", report.reset_index())["output"].notna().sum() == 4


def test_what_is_done_is_not_done_again(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    predict(Threshold(), folder, out)
    stamp = (out / "deep/B.pxm").stat().st_mtime_ns
    (out / "a.png.pxm").unlink()
    report = predict(Threshold(), folder, out).set_index("output")
    assert report.loc["a.png.pxm", "status"] == "ok"
    assert report.loc["deep/B.pxm", "status"] == "skipped"
    assert (out / "deep/B.pxm").stat().st_mtime_ns == stamp
    report = predict(Threshold(), folder, out, overwrite=True)
    assert (report["status"] == "ok").all()
    assert (out / "deep/B.pxm").stat().st_mtime_ns != stamp


def test_a_stop_in_the_middle_leaves_a_true_report(folder, tmp_path):
    out = tmp_path / "out"
    with writing_stops_after(2, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        predict(Threshold(), folder, out, batch_size=1)
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    done = report[report["status"] == "ok"]["output"]
    assert len(report) == 4
    assert {str(path.relative_to(out)) for path in out.rglob("*.pxm")} >= set(done)
    assert not list(out.rglob("*.part*"))


def test_a_bad_file_that_becomes_good_is_done_on_the_next_run(folder, tmp_path):
    good = (folder / "a.png").read_bytes()
    (folder / "late.png").write_bytes(good[:50])
    first = predict(Threshold(), folder, tmp_path / "out").set_index("file")
    assert first.loc[str(folder / "late.png"), "status"] == "failed"
    (folder / "late.png").write_bytes(good)
    second = predict(Threshold(), folder, tmp_path / "out").set_index("file")
    assert second.loc[str(folder / "late.png"), "status"] == "ok"
    assert (second["status"] == "skipped").sum() == 4
    assert PackedMasks.read(tmp_path / "out/late.pxm") == PackedMasks.read(
        tmp_path / "out/a.png.pxm"
    )


def test_an_image_that_was_replaced_is_done_again(folder, tmp_path):
    out = tmp_path / "out"
    predict(Threshold(), folder, out)
    (folder / "a.png").write_bytes((folder / "deep/B.PNG").read_bytes())
    report = predict(Threshold(), folder, out).set_index("output")
    assert report["status"].value_counts().to_dict() == {"skipped": 3, "ok": 1}
    assert PackedMasks.read(out / "a.png.pxm") == PackedMasks.read(out / "deep/B.pxm")


def test_a_stopped_overwrite_leaves_no_old_output_counted_as_done(folder, tmp_path):
    out = tmp_path / "out"
    predict(Threshold(), folder, out)
    with writing_stops_after(1, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        predict(Threshold(), folder, out, threshold=0.7, overwrite=True)
    report = predict(Threshold(), folder, out, threshold=0.7)
    assert set(report["status"]) == {"ok", "skipped"}
    for row in report.itertuples():
        expected = predict_image(Threshold(), read_image(row.file), 0.7)
        assert PackedMasks.read(out / row.output) == expected


def test_a_line_cut_short_by_a_kill_costs_one_output(folder, tmp_path):
    out = tmp_path / "out"
    predict(Threshold(), folder, out)
    lines = (out / "manifest.jsonl").read_text().rstrip("\n")
    (out / "manifest.jsonl").write_text(lines[:-9])
    last = json.loads(lines.splitlines()[-1])["output"]
    (out / last).unlink()  # the line stands before its output
    report = predict(Threshold(), folder, out).set_index("output")
    assert report.loc[last, "status"] == "ok"
    assert (report["status"] == "skipped").sum() == 3
    assert (predict(Threshold(), folder, out)["status"] == "skipped").all()


def test_unfinished_files_of_a_killed_run_are_removed(folder, tmp_path):
    (tmp_path / "out/deep").mkdir(parents=True)
    part = tmp_path / "out/deep/.B.0123456789ab.part.pxm"
    part.write_bytes(b"half")
    predict(Threshold(), folder, tmp_path / "out")
    assert not part.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_run_and_what_is_done_is_recorded(folder, tmp_path, number):
    out, error = tmp_path / "out", OSError(number, os.strerror(number))
    with (
        writing_stops_after(2, error),
        pytest.raises(Stopped, match=rf"{os.strerror(number)}.*of 4 done"),
    ):
        predict(Threshold(), folder, out)
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    assert len(report) == 4
    assert {"ok", "pending"} >= set(report["status"])
    outputs = {str(path.relative_to(out)) for path in out.rglob("*.pxm")}
    assert outputs >= set(report["output"]) - {""}
    again = predict(Threshold(), folder, out)
    assert again["status"].value_counts().to_dict() == {"skipped": 2, "ok": 2}


def test_too_little_memory_ends_the_run_and_the_same_again_goes_on(folder, tmp_path, monkeypatch):
    model, passes = tiny_model(), []

    def until_full(self, images):
        passes.append(images)
        if len(passes) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has")
        return self.network(self.pad(images))

    with monkeypatch.context() as patch:
        patch.setattr(AnatomySegmenter, "coarse", until_full)
        with pytest.raises(
            Stopped, match=r"allocate 2 GiB\): a smaller batch .* of 4 done; .*goes"
        ) as stopped:
            predict(model, folder, tmp_path / "out")
    done = int(re.search(r"(\d) of 4 done", str(stopped.value))[1])
    again = predict(model, folder, tmp_path / "out")
    assert sorted(again["status"]) == ["ok"] * (4 - done) + ["skipped"] * done


def test_an_output_that_cannot_be_written_is_one_failed_row(folder, tmp_path):
    (tmp_path / "out/deep/B.pxm").mkdir(parents=True)
    report = predict(Threshold(), folder, tmp_path / "out", overwrite=True).set_index("file")
    assert report.loc[str(folder / "deep/B.PNG"), "status"] == "failed"
    assert "no output can be written" in report.loc[str(folder / "deep/B.PNG"), "reason"]
    assert (report["status"] == "ok").sum() == 3


def test_values_that_are_not_finite_fail_and_name_the_image(folder, tmp_path):
    class Broken(Threshold):
        def coarse(self, images):
            logits = super().coarse(images)
            logits[images.mean(dim=(1, 2, 3)) > 0.5, 17, 0, 0] = float("nan")
            return logits

    PilImage.fromarray(np.arange(155, 255, dtype=np.uint8).reshape(10, 10)).save(
        folder / "white.png"
    )
    report = predict(Broken(), folder, tmp_path / "out").set_index("file")
    failed = report[report["status"] == "failed"]
    assert list(failed.index) == [str(folder / "white.png")]
    assert "not finite" in failed["reason"].iloc[0]
    assert str(folder / "white.png") in failed["reason"].iloc[0]
    with pytest.raises(ValueError, match="not finite"):
        predict_image(Broken(), read_image(folder / "white.png"))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_fail_each_image(folder, tmp_path, value):
    model = tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (32, 32)))
    with torch.no_grad():
        next(model.parameters()).fill_(float(value))
    report = predict(model, folder, tmp_path / "out")
    assert report["reason"].str.contains("not finite").tolist() == [True] * 4
    assert not list((tmp_path / "out").rglob("*.pxm"))


def test_paths_with_two_dots_stay_in_the_output_folder(folder, tmp_path):
    paths = [folder / "deep/B.PNG", folder / "deep/../a.png"]
    report = predict(Threshold(), paths, tmp_path / "deep/out")
    assert report["output"].tolist() == ["deep/B.pxm", "a.pxm"]


def test_what_a_newcomer_puts_into_a_folder_gets_a_row_with_a_reason(tmp_path):
    folder, twelve = tmp_path / "in", np.arange(400, dtype=np.uint16).reshape(20, 20) * 10
    folder.mkdir()
    PilImage.fromarray(twelve).save(folder / "a.png")
    PilImage.new("L", (20, 20)).save(folder / "black.png")
    PilImage.fromarray(twelve).save(folder / "film.tif")
    write_xray(folder / "slice.ima", (20, 24), Modality="CT")
    write_xray(folder / "xray.ima", (20, 24))
    (folder / "readme.txt").write_text("not an image")
    report = predict(Threshold(), folder, tmp_path / "out").set_index("file")
    reasons = {Path(file).name: reason for file, reason in report["reason"].items()}
    assert list(reasons) == ["a.png", "black.png", "film.tif", "slice.ima", "xray.ima"]
    assert report["status"].tolist() == ["ok", "failed", "failed", "failed", "ok"]
    assert "one value" in reasons["black.png"]
    assert "not a PNG, JPEG or DICOM" in reasons["film.tif"]
    assert "modality CT" in reasons["slice.ima"]
    assert PackedMasks.read(tmp_path / "out/a.pxm").unpack().any()  # 12 bits in 16 are not black


def test_a_list_of_films_from_several_folders(folder, tmp_path):
    films = sorted(path for path in folder.rglob("*") if path.is_file())
    path = tmp_path / "some.txt"
    path.write_text("".join(f"{film}\n" for film in [*films[1:3], tmp_path / "nowhere.png"]))
    report = predict(Threshold(), path, tmp_path / "out")
    assert report["file"].tolist() == [*map(str, films[1:3]), str(tmp_path / "nowhere.png")]
    assert report["status"].tolist() == ["ok", "ok", "failed"]
    inside = [film.relative_to(tmp_path).with_suffix(".pxm") for film in films[1:3]]
    assert report["output"].tolist() == [*map(str, inside), ""]
    assert all((tmp_path / "out" / output).is_file() for output in inside)
