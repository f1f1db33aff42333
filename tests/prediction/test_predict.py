import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.threshold_model import Threshold
from helpers.xrays import read_seg, write_xray
from PIL import Image as PilImage
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image, read_image
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.tables import measure_predictions
from paxray_lib.models.build import build_model
from paxray_lib.models.inference import predict_image
from paxray_lib.prediction.predict import Stopped, predict
from paxray_lib.utils.manifest import Manifest


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    for name, size in {
        "a.png": (40, 60),
        "a.jpg": (33, 20),
        "deep/B.PNG": (64, 64),
        "deep/cfrontal.jpeg": (24, 32),
    }.items():
        PilImage.fromarray(rng.integers(0, 256, size, np.uint8)).save(source / name)
    return source


def test_each_output_has_its_images_size_and_the_models_decisions(folder, tmp_path):
    model, out = Threshold(), tmp_path / "out"
    report = predict(model, folder, out)
    assert report["status"].tolist() == ["ok"] * 4
    assert sorted(report["output"]) == ["a.jpg.pxm", "a.png.pxm", "deep/B.pxm", "deep/cfrontal.pxm"]
    for row in report.itertuples():
        image, masks = read_image(row.file), PackedMasks.read(out / row.output)
        with torch.no_grad():
            logits = model(torch.as_tensor(model.preprocess(image))[None])[0].numpy()
        rows, columns = (
            np.arange(n) * m // n for n, m in zip(image.pixels.shape, (32, 24), strict=True)
        )
        np.testing.assert_array_equal(masks.unpack(), (logits > 0)[:, rows][:, :, columns])
        assert predict_image(model, image) == masks
    pd.testing.assert_frame_equal(pd.read_csv(out / "report.csv", keep_default_na=False), report)


@pytest.mark.parametrize(
    ("format", "suffix"), [("packed", ".pxm"), ("npy", ".npy"), ("coco", ".json")]
)
def test_formats_hold_the_same_masks(folder, tmp_path, format, suffix):
    report = predict(Threshold(), folder / "a.png", tmp_path / format, format=format)
    (output,) = report["output"]
    assert output == f"a{suffix}"
    assert PackedMasks.read(tmp_path / format / output) == predict_image(
        Threshold(), read_image(folder / "a.png")
    )


def test_npy_is_as_published(folder, tmp_path):
    predict(Threshold(), folder / "a.png", tmp_path, format="npy")
    stack = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert stack.shape == (166, 40, 60)
    assert stack.dtype == bool


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
        written = pd.read_csv(tmp_path / "out/report.csv", keep_default_na=False).set_index("file")
        pd.testing.assert_frame_equal(written, report)
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


def test_other_settings_do_not_mix_in_one_folder(folder, tmp_path):
    predict(Threshold(), folder, tmp_path / "out")
    with pytest.raises(ValueError, match="threshold"):
        predict(Threshold(), folder, tmp_path / "out", threshold=0.7)
    other = Threshold()
    with torch.no_grad():
        other.weight += 1
    with pytest.raises(ValueError, match="weights"):
        predict(other, folder, tmp_path / "out")


def test_a_stop_in_the_middle_leaves_a_true_report(folder, tmp_path, monkeypatch):
    out, write, written = tmp_path / "out", PackedMasks.write, []

    def stops(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(PackedMasks, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(Threshold(), folder, out, batch_size=1)
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    done = report[report["status"] == "ok"]["output"]
    assert len(report) == 4
    assert {str(path.relative_to(out)) for path in out.rglob("*.pxm")} >= set(done)
    assert not list(out.rglob("*.part*"))


def test_labels_are_selected(folder, tmp_path):
    predict(Threshold(), folder / "a.png", tmp_path, labels=["heart", "lungs"])
    masks = PackedMasks.read(tmp_path / "a.pxm")
    assert masks.labels.names == tuple(LABELS.names[i] for i in LABELS.select("heart", "lungs"))
    whole = predict_image(Threshold(), read_image(folder / "a.png"))
    np.testing.assert_array_equal(masks.unpack(), whole.unpack(["heart", "lungs"]))
    with pytest.raises(ValueError, match="did you mean 'heart'"):
        predict(Threshold(), folder / "a.png", tmp_path, labels=["hart"])


# -- mirroring


class Fixed(Threshold):
    """Logits do not depend on the image but on whether it is the mirrored one, whose left column is
    white.
    """

    def __init__(self, plain, mirrored, size=(8, 8)):
        super().__init__(size)
        self.plain, self.mirrored = (
            torch.as_tensor(a, dtype=torch.float32) for a in (plain, mirrored)
        )

    def coarse(self, images):
        return torch.stack(
            [self.mirrored if image[0, 0, 0] > 0 else self.plain for image in images]
        )


@pytest.mark.parametrize("view", ["frontal", "lateral", None])
def test_mirroring_is_the_mean_of_both_logits_with_sides_swapped_back(view):
    rng = np.random.default_rng(0)
    plain, mirrored = rng.normal(size=(2, 166, 8, 8)).astype(np.float32)
    pixels = np.zeros((8, 8), np.float32)
    pixels[:, -1] = 1
    masks = predict_image(
        Fixed(plain, mirrored), Image(pixels, None, view), threshold=0.6, mirror=True
    )
    cut = np.log(0.6 / 0.4)
    for i, name in enumerate(LABELS.names):
        other = {"frontal": LABELS.mirror[i], "lateral": i, None: None}[view]
        wanted = plain[i]
        # the right middle lobe has no counterpart: the mirrored image does not show where it lies
        if other is not None and not (view == "frontal" and name == "lung_right_lobemiddle"):
            wanted = (plain[i] + mirrored[other][:, ::-1]) / 2
        np.testing.assert_array_equal(masks.unpack()[i], wanted > cut, err_msg=name)


def test_a_network_that_is_symmetric_is_not_changed_by_mirroring():
    class Symmetric(Threshold):
        def coarse(self, images):
            gray = images[:, :1] * 0.229 + 0.485
            return (
                gray
                - torch.rand(166, generator=torch.Generator().manual_seed(0))[None, :, None, None]
            ) * 50

    pixels = np.random.default_rng(1).random((16, 16), np.float32)
    model = Symmetric((16, 16))
    masks = predict_image(model, Image(pixels, None, "lateral"), mirror=True)
    assert masks == predict_image(model, pixels)


def test_a_view_that_no_file_says_is_for_mirroring(folder, tmp_path):
    for place, view in enumerate((None, "frontal")):
        report = predict(Threshold(), folder, tmp_path / str(place), mirror=True, view=view)
        for row in report.itertuples():
            image = read_image(row.file)
            wanted = predict_image(
                Threshold(), Image(image.pixels, None, image.view or view), mirror=True
            )
            assert PackedMasks.read(tmp_path / str(place) / row.output) == wanted
    assert PackedMasks.read(tmp_path / "0/a.png.pxm") != PackedMasks.read(tmp_path / "1/a.png.pxm")
    with pytest.raises(ValueError, match="other view"):
        predict(Threshold(), folder, tmp_path / "1", mirror=True)
    predict(Threshold(), folder, tmp_path / "plain")
    assert set(predict(Threshold(), folder, tmp_path / "plain", view="lateral")["status"]) == {
        "skipped"
    }
    with pytest.raises(ValueError, match="view 'frontl': .*did you mean 'frontal'"):
        predict(Threshold(), folder, tmp_path / "plain", view="frontl")


def test_labels_and_mirroring_go_together(folder, tmp_path):
    path, names = folder / "deep/cfrontal.jpeg", ["lung_left", "lung_right_lobemiddle"]
    predict(Threshold(), path, tmp_path, labels=names, mirror=True)
    whole = predict_image(Threshold(), read_image(path), mirror=True)
    np.testing.assert_array_equal(
        PackedMasks.read(tmp_path / "cfrontal.pxm").unpack(), whole.unpack(names)
    )


# -- runs that go on


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


def test_images_of_another_folder_do_not_count_as_done(folder, tmp_path):
    out = tmp_path / "out"
    predict(Threshold(), [folder / "a.png"], out)
    other = tmp_path / "other/a.jpg"
    other.parent.mkdir()
    PilImage.linear_gradient("L").resize((9, 7)).save(other)
    before = (out / "a.pxm").read_bytes()
    with pytest.raises(
        ValueError, match=r"a\.pxm: is there already and was not predicted from .*other/a\.jpg"
    ):
        predict(Threshold(), other, out)
    assert (out / "a.pxm").read_bytes() == before
    assert predict(Threshold(), other, out, overwrite=True)["status"].tolist() == ["ok"]
    assert PackedMasks.read(out / "a.pxm").shape[1:] == (7, 9)


def test_files_that_were_not_predicted_are_not_written_over(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png.npy").write_bytes(b"a label of somebody's data set")
    with pytest.raises(ValueError, match=r"a\.png\.npy: is there already"):
        predict(Threshold(), folder, out, format="npy")
    assert (out / "a.png.npy").read_bytes() == b"a label of somebody's data set"
    assert (predict(Threshold(), folder, out, format="npy", overwrite=True)["status"] == "ok").all()


def test_a_stopped_overwrite_leaves_no_old_output_counted_as_done(folder, tmp_path, monkeypatch):
    out, write, calls = tmp_path / "out", PackedMasks.write, []
    predict(Threshold(), folder, out)

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PackedMasks, "write", stops)
        with pytest.raises(KeyboardInterrupt):
            predict(Threshold(), folder, out, threshold=0.7, overwrite=True)
    report = predict(Threshold(), folder, out, threshold=0.7)
    assert set(report["status"]) == {"ok", "skipped"}
    for row in report.itertuples():
        assert PackedMasks.read(out / row.output) == predict_image(
            Threshold(), read_image(row.file), 0.7
        )


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


def test_two_runs_do_not_work_in_one_folder(folder, tmp_path):
    with (
        Manifest(tmp_path / "out"),
        pytest.raises(ValueError, match="another process is working in this folder"),
    ):
        predict(Threshold(), folder, tmp_path / "out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_run_and_what_is_done_is_recorded(
    folder, tmp_path, monkeypatch, number
):
    out, write, calls = tmp_path / "out", PackedMasks.write, []

    def full(path, *arguments):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(number, os.strerror(number), str(path))
        write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PackedMasks, "write", full)
        with pytest.raises(Stopped, match=rf"{os.strerror(number)}.*of 4 done"):
            predict(Threshold(), folder, out)
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    assert len(report) == 4
    assert {"ok", "pending"} >= set(report["status"])
    assert {str(path.relative_to(out)) for path in out.rglob("*.pxm")} >= set(report["output"]) - {
        ""
    }
    again = predict(Threshold(), folder, out)
    assert again["status"].value_counts().to_dict() == {"skipped": 2, "ok": 2}


def test_an_output_that_cannot_be_written_is_one_failed_row(folder, tmp_path):
    (tmp_path / "out/deep/B.pxm").mkdir(parents=True)
    report = predict(Threshold(), folder, tmp_path / "out", overwrite=True).set_index("file")
    assert report.loc[str(folder / "deep/B.PNG"), "status"] == "failed"
    assert "could not be written" in report.loc[str(folder / "deep/B.PNG"), "reason"]
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


def test_dicom_outputs_beside_their_inputs_are_not_predicted(tmp_path):
    write_xray(tmp_path / "x.dcm", (20, 24))
    PilImage.linear_gradient("L").save(tmp_path / "y.png")
    for wanted in (["ok", "failed"], ["skipped", "failed"]):
        report = predict(Threshold(), tmp_path, tmp_path, format="dicom-seg")
        assert report["status"].tolist() == wanted
        assert [Path(file).name for file in report["file"]] == ["x.dcm", "y.png"]
        assert "y.png: not DICOM" in report["reason"].iloc[1]
    np.testing.assert_array_equal(
        read_seg(tmp_path / "x.seg.dcm"),
        predict_image(Threshold(), read_image(tmp_path / "x.dcm")).unpack(),
    )


def test_the_report_is_in_the_order_of_the_inputs(folder, tmp_path):
    paths = [folder / "deep/B.PNG", folder / "missing.png", folder / "a.png", folder / "a.jpg"]
    report = predict(Threshold(), paths, tmp_path / "out")
    assert report["file"].tolist() == list(map(str, paths))
    assert report["status"].tolist() == ["ok", "failed", "ok", "ok"]


def test_wrong_arguments_are_refused_before_anything_is_written(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="did you mean 'packed'"):
        predict(Threshold(), folder, out, format="paked")
    with pytest.raises(FileNotFoundError):
        predict(Threshold(), folder / "nothing.png", out)
    (folder / "none").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="no PNG, JPEG or DICOM"):
        predict(Threshold(), folder / "none", out)
    with pytest.raises(ValueError, match="list is empty"):
        predict(Threshold(), [], out)
    for wrong in (
        {"threshold": 1.0},
        {"threshold": float("nan")},
        {"batch_size": 0},
        {"precision": "float8"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            predict(Threshold(), folder, out, **wrong)
    assert not out.exists()


def test_settings_name_what_was_done(folder, tmp_path):
    predict(Threshold(), folder, tmp_path / "out", threshold=0.25, labels="heart")
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert settings["threshold"] == 0.25
    assert settings["labels"] == ["heart"]


def test_bfloat16_moves_only_what_is_near_the_threshold(folder, tmp_path):
    torch.manual_seed(0)
    model = build_model(
        "unet", ["heart", "aorta"], "resnet18", preprocessing=Preprocessing("standard", (64, 64))
    ).eval()
    predict(model, folder / "a.png", tmp_path / "half", precision="bfloat16")
    masks = PackedMasks.read(tmp_path / "half/a.pxm", model.labels)
    image = read_image(folder / "a.png")
    with torch.no_grad():
        logits = model(torch.as_tensor(model.preprocess(image))[None])[0].numpy()  # (2, 64, 64)
    rows, columns = (np.arange(n) * 64 // n for n in image.pixels.shape)
    logits = logits[:, rows][:, :, columns]
    differs = masks.unpack() != (logits > 0)
    assert np.abs(logits[differs]).max(initial=0) < 0.02 * np.abs(logits).max()
    with pytest.raises(ValueError, match="other precision"):
        predict(model, folder / "a.png", tmp_path / "half")


# -- the command


def test_the_command_tells_how_it_went(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "paxray_lib.models.checkpoints.load_model", lambda path, device: Threshold()
    )
    arguments = [
        "predict",
        "--images",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--weights",
        "w.ckpt",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "4 ok, 0 skipped, 0 failed" in done.stdout
    (folder / "text.png").write_text("hello")
    some = CliRunner().invoke(app, arguments)
    assert some.exit_code == 1
    assert "0 ok, 4 skipped, 1 failed" in some.stdout
    assert some.stderr.startswith("failed: ")
    other = CliRunner().invoke(app, [*arguments, "--threshold", "0.6"])
    assert other.exit_code == 2
    assert "other threshold" in other.stderr

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PackedMasks, "write", full)
    stopped = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert stopped.exit_code == 3
    assert os.strerror(errno.ENOSPC) in stopped.stderr
    assert len(stopped.stderr.strip().splitlines()) == 1


def test_the_command_says_what_has_no_widths_for_want_of_a_view(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "paxray_lib.models.checkpoints.load_model", lambda path, device: Threshold()
    )
    arguments = [
        "predict",
        "--images",
        str(folder),
        "--out",
        str(tmp_path),
        "--weights",
        "w.ckpt",
        "--measure",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    last = "3 images of unknown view: no widths measured; say --view frontal or --view lateral"
    assert done.stdout.splitlines()[-1] == last
    assert pd.read_csv(tmp_path / "measurements.csv")["heart_width_px"].notna().sum() == 1
    said = CliRunner().invoke(app, [*arguments, "--view", "frontal"])
    assert said.exit_code == 0, said.stderr
    assert "unknown view" not in said.stdout
    table = pd.read_csv(tmp_path / "measurements.csv")
    assert table["view"].tolist() == ["frontal"] * 4
    assert table["heart_width_px"].notna().all()
    wrong = CliRunner().invoke(app, [*arguments, "--view", "oblique"])
    assert wrong.exit_code == 2
    assert "view 'oblique': unknown (one of frontal, lateral)" in wrong.stderr


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
