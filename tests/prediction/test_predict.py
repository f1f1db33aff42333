"""What is predicted, with which settings, and what is refused."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.faults import writing_stops_after
from helpers.threshold_model import WITH_STRAYS, Threshold
from helpers.tiny_models import tiny_model
from helpers.xrays import read_seg, write_xray
from PIL import Image as PilImage
from torch.nn.functional import interpolate
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image, read_image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.inference import predict_image
from paxray_lib.prediction.pipeline import DOUBT_COLUMNS
from paxray_lib.prediction.predict import predict
from paxray_lib.utils.manifest import Manifest


def test_each_output_has_its_images_size_and_the_models_decisions(folder, tmp_path):
    model, out = Threshold(), tmp_path / "out"
    report = predict(model, folder, out)
    assert report["status"].tolist() == ["ok"] * 4
    assert sorted(report["output"]) == ["a.jpg.pxm", "a.png.pxm", "deep/B.pxm", "deep/cfrontal.pxm"]
    for row in report.itertuples():
        image, masks = read_image(row.file), PackedMasks.read(out / row.output)
        with torch.no_grad():
            logits = model.coarse(torch.as_tensor(model.preprocess(image))[None])
        logits = interpolate(logits, image.pixels.shape, mode="bilinear")[0].numpy()
        differs = (masks.unpack() != (logits > 0))[WITH_STRAYS]
        assert np.abs(logits[WITH_STRAYS][differs]).max(initial=0) < 1e-4
        assert predict_image(model, image) == masks
    written = pd.read_csv(
        out / "report.csv",
        keep_default_na=False,
        na_values={name: [""] for name in ("height", "width", "view_probability", *DOUBT_COLUMNS)},
    )
    pd.testing.assert_frame_equal(written, report, check_dtype=False)


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


def test_labels_are_selected(folder, tmp_path):
    predict(Threshold(), folder / "a.png", tmp_path, labels=["heart", "lungs"])
    masks = PackedMasks.read(tmp_path / "a.pxm")
    assert masks.labels.names == tuple(LABELS.names[i] for i in LABELS.select("heart", "lungs"))
    whole = predict_image(Threshold(), read_image(folder / "a.png"))
    np.testing.assert_array_equal(masks.unpack(), whole.unpack(["heart", "lungs"]))
    with pytest.raises(ValueError, match="did you mean 'heart'"):
        predict(Threshold(), folder / "a.png", tmp_path, labels=["hart"])


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
    views = {str(folder / "deep/cfrontal.jpeg"): "lateral"}  # known better than by its name
    predict(Threshold(), folder, tmp_path / "2", mirror=True, view="frontal", views=views)
    pixels = read_image(folder / "deep/cfrontal.jpeg").pixels
    wanted = predict_image(Threshold(), Image(pixels, None, "lateral"), mirror=True)
    assert PackedMasks.read(tmp_path / "2/deep/cfrontal.pxm") == wanted
    assert PackedMasks.read(tmp_path / "2/a.png.pxm") == PackedMasks.read(tmp_path / "1/a.png.pxm")
    with pytest.raises(ValueError, match="other views"):
        predict(Threshold(), folder, tmp_path / "2", mirror=True, view="frontal")
    predict(Threshold(), folder, tmp_path / "plain")
    assert set(predict(Threshold(), folder, tmp_path / "plain", view="lateral")["status"]) == {
        "skipped"
    }
    with pytest.raises(ValueError, match=r"view 'frontl': .*did you mean 'frontal'"):
        predict(Threshold(), folder, tmp_path / "plain", view="frontl")


def test_labels_and_mirroring_go_together(folder, tmp_path):
    path, names = folder / "deep/cfrontal.jpeg", ["lung_left", "lung_right_lobemiddle"]
    predict(Threshold(), path, tmp_path, labels=names, mirror=True)
    whole = predict_image(Threshold(), read_image(path), mirror=True)
    np.testing.assert_array_equal(
        PackedMasks.read(tmp_path / "cfrontal.pxm").unpack(), whole.unpack(names)
    )


def test_other_settings_do_not_mix_in_one_folder(folder, tmp_path):
    predict(Threshold(), folder, tmp_path / "out")
    with pytest.raises(ValueError, match="threshold"):
        predict(Threshold(), folder, tmp_path / "out", threshold=0.7)
    other = Threshold()
    with torch.no_grad():
        other.weight += 1
    with pytest.raises(ValueError, match="weights"):
        predict(other, folder, tmp_path / "out")


def test_settings_name_what_was_done(folder, tmp_path):
    predict(Threshold(), folder, tmp_path / "out", threshold=0.25, labels="heart")
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert settings["threshold"] == 0.25
    assert settings["labels"] == ["heart"]


def test_masks_of_before_outlines_were_smooth_are_not_mixed_with_others(folder, tmp_path):
    def forget_outlines(out):
        settings = json.loads((out / "settings.json").read_text())
        del settings["outlines"]
        (out / "settings.json").write_text(json.dumps(settings))

    predict(Threshold(), folder, tmp_path / "ours")
    forget_outlines(tmp_path / "ours")
    with pytest.raises(ValueError, match="holds predictions with other outlines"):
        predict(Threshold(), folder, tmp_path / "ours")
    published = Threshold()
    published.preprocessing = Preprocessing("cxas", (64, 64))
    predict(published, folder, tmp_path / "published")
    forget_outlines(tmp_path / "published")
    again = predict(published, folder, tmp_path / "published")
    assert set(again["status"]) == {"skipped"}


def test_bfloat16_moves_only_what_is_near_the_threshold(folder, tmp_path):
    labels = LabelSet(["heart", "aorta"])
    model = tiny_model(labels=labels, preprocessing=Preprocessing("standard", (64, 64))).eval()
    predict(model, folder / "a.png", tmp_path / "half", precision="bfloat16")
    masks = PackedMasks.read(tmp_path / "half/a.pxm", model.labels)
    image = read_image(folder / "a.png")
    with torch.no_grad():
        logits = model(torch.as_tensor(model.preprocess(image))[None])  # (1, 2, 64, 64)
    logits = interpolate(logits, image.pixels.shape, mode="bilinear")[0].numpy()
    differs = masks.unpack() != (logits > 0)
    assert np.abs(logits[differs]).max(initial=0) < 0.02 * np.abs(logits).max()
    with pytest.raises(ValueError, match="other precision"):
        predict(model, folder / "a.png", tmp_path / "half")


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


def test_the_report_is_in_the_order_of_the_inputs(folder, tmp_path):
    paths = [folder / "deep/B.PNG", folder / "missing.png", folder / "a.png", folder / "a.jpg"]
    report = predict(Threshold(), paths, tmp_path / "out")
    assert report["file"].tolist() == list(map(str, paths))
    assert report["status"].tolist() == ["ok", "failed", "ok", "ok"]


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


def test_an_overwrite_in_another_format_leaves_no_masks_of_before(folder, tmp_path):
    out = tmp_path / "out"
    predict(Threshold(), folder, out)
    with Manifest(out) as manifest:  # as somebody might have made it up
        manifest.start("../theirs.pxm", folder / "a.png", None)
    (tmp_path / "theirs.pxm").touch()
    before = {path.name for path in out.rglob("*.pxm")}
    assert len(before) == 4
    first = folder / "a.png"
    predict(Threshold(), first, out, threshold=0.7, format="npy", overwrite=True)
    kept = {path.name for path in out.rglob("*.pxm")}  # those of the other films
    assert before - kept == {"a.png.pxm"}
    assert (tmp_path / "theirs.pxm").exists()
    assert len(list(out.rglob("*.npy"))) == 1


def test_two_runs_do_not_work_in_one_folder(folder, tmp_path):
    with (
        Manifest(tmp_path / "out"),
        pytest.raises(ValueError, match="another process is working in this folder"),
    ):
        predict(Threshold(), folder, tmp_path / "out")


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


@pytest.fixture
def command(folder, tmp_path, weights):
    """Run `paxray predict` on the folder, into "out", with more arguments."""
    arguments = ["--images", folder, "--out", tmp_path / "out", "--weights", weights]

    def run(*more):
        return CliRunner().invoke(app, ["predict", *map(str, arguments), *more])

    return run


def test_the_command_tells_how_it_went(folder, command):
    done = command()
    assert done.exit_code == 0, done.stderr
    assert "4 ok, 0 skipped, 0 failed" in done.stdout
    (folder / "text.png").write_text("hello")
    some = command()
    assert some.exit_code == 1
    assert "0 ok, 4 skipped, 1 failed" in some.stdout
    assert some.stderr.startswith("failed: ")
    other = command("--threshold", "0.6")
    assert other.exit_code == 2
    assert "other threshold" in other.stderr
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with writing_stops_after(0, full):
        stopped = command("--overwrite")
    assert stopped.exit_code == 3
    assert os.strerror(errno.ENOSPC) in stopped.stderr
    assert len(stopped.stderr.strip().splitlines()) == 1


def test_the_command_names_the_most_doubtful_of_many(folder, command):
    assert "most doubtful" not in command().stdout  # of four
    for name in ("x\n.png", "y.png", "z.png"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    last = command().stdout.splitlines()[-1]
    assert last.startswith("most doubtful: ")
    assert last.count("(not_a_chest_film)") == 3


def test_the_command_says_what_has_no_widths_for_want_of_a_view(command, tmp_path):
    done = command("--measure-doubtful")
    assert done.exit_code == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("3 images of unknown view")
    assert "--view frontal" in last
    table = pd.read_csv(tmp_path / "out/measurements.csv")
    assert table["heart_width_px"].notna().sum() == 1
    with_view = command("--measure-doubtful", "--view", "frontal")
    assert with_view.exit_code == 0, with_view.stderr
    assert "unknown view" not in with_view.stdout
    table = pd.read_csv(tmp_path / "out/measurements.csv")
    assert table["view"].tolist() == ["frontal"] * 4
    assert table["heart_width_px"].notna().all()
    wrong = command("--measure", "--view", "oblique")
    assert wrong.exit_code == 2
    assert "oblique" in wrong.stderr
    assert "one of frontal, lateral" in wrong.stderr
