import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage

from paxray_lib.images import Image, Preprocessing, read_image
from paxray_lib.labels import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.outputs import output_names
from paxray_lib.predict import predict, predict_image

predict_module = sys.modules["paxray_lib.predict"]  # the package attribute of that name is the function


class Threshold(torch.nn.Module):
    """Label i is where the pixel is brighter than i / 166; the right lung only in the left half of the image."""

    name = "threshold"

    def __init__(self, size=(32, 24)):
        super().__init__()
        self.labels, self.preprocessing = LABELS, Preprocessing("standard", size)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def preprocess(self, image):
        return self.preprocessing(image)

    def forward(self, images):
        return self.upsample(self.coarse(images), images.shape[-2:])

    def upsample(self, coarse, size):
        return coarse

    def coarse(self, images):
        gray = images[:, :1] * 0.229 + 0.485
        logits = (gray - torch.arange(166)[None, :, None, None] / 166) * 50 + self.weight
        logits[:, 1, :, images.shape[-1] // 2 :] = -9.0
        return logits


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
        rows, columns = (np.arange(n) * m // n for n, m in zip(image.pixels.shape, (32, 24), strict=True))
        np.testing.assert_array_equal(masks.unpack(), (logits > 0)[:, rows][:, :, columns])
        assert predict_image(model, image) == masks
    pd.testing.assert_frame_equal(pd.read_csv(out / "report.csv", keep_default_na=False), report)


@pytest.mark.parametrize(("format", "suffix"), [("packed", ".pxm"), ("npy", ".npy"), ("coco", ".json")])
def test_formats_hold_the_same_masks(folder, tmp_path, format, suffix):
    report = predict(Threshold(), folder / "a.png", tmp_path / format, format=format)
    (output,) = report["output"]
    assert output == f"a{suffix}"
    assert PackedMasks.read(tmp_path / format / output) == predict_image(Threshold(), read_image(folder / "a.png"))


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
    out, write, written = tmp_path / "out", predict_module.write_output, []

    def stops(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(predict_module, "write_output", stops)
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


def test_mirroring_swaps_sides_in_frontal_images_only():
    model = Threshold((16, 16))
    pixels = np.full((16, 16), 0.9, np.float32)
    found = {
        view: predict_image(model, Image(pixels, None, view), mirror=True) for view in ("frontal", "lateral", None)
    }
    plain = predict_image(model, pixels)
    assert found[None] == plain
    # the model finds lung_left (2) everywhere and lung_right (1) in the left half only: logits 44.3 and -9
    assert found["frontal"].unpack("lung_left").mean() == 1
    assert found["frontal"].unpack("lung_right").mean() == 1  # half from lung_left of the mirrored image
    assert found["lateral"].unpack("lung_right").mean() == 1  # mirrored halves averaged, sides kept
    assert plain.unpack("lung_right").mean() == 0.5


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "d/"]),
            st.sampled_from("ab"),
            st.sampled_from([".png", ".jpg", ".PNG", ".png.png", ""]),
        ),
        unique=True,
    )
)
def test_two_inputs_never_write_one_output(parts):
    names = ["".join(part) for part in parts]
    outputs = output_names(names, ".pxm")
    assert len(set(outputs)) == len(names)
    for name, output in zip(names, outputs, strict=True):
        assert output.startswith(name.rsplit(".", 1)[0])


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
    assert not out.exists()


def test_settings_name_what_was_done(folder, tmp_path):
    predict(Threshold(), folder, tmp_path / "out", threshold=0.25, labels="heart")
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert settings["threshold"] == 0.25
    assert settings["labels"] == ["heart"]
