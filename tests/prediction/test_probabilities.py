"""Probabilities that are written beside the masks."""

import numpy as np
import pytest
import torch
from helpers.threshold_model import Threshold
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images.read import read_image
from paxray_lib.masks.probabilities import Probabilities
from paxray_lib.models.inference import predict_probabilities
from paxray_lib.prediction.predict import predict

FILES = ["a.jpg", "a.png", "deep/B", "deep/cfrontal"]


def test_each_film_has_those_that_are_asked_for(folder, tmp_path):
    model, out = Threshold(), tmp_path / "out"
    report = predict(model, folder, out, labels="aorta", probabilities=["heart", "lungs"])
    indices = model.labels.select("heart", "lungs")
    assert len(indices) == 11
    for row, name in zip(report.sort_values("output").itertuples(), FILES, strict=True):
        found = Probabilities.read(out / f"{name}.probabilities.npz")
        assert list(found.labels) == [model.labels.names[i] for i in indices]
        image = read_image(row.file)
        with torch.no_grad():
            logits = model.coarse(torch.as_tensor(model.preprocess(image))[None])[0, indices]
        expected = 255 / (1 + np.exp(-logits.double().numpy()))
        assert np.abs(found.values - expected).max() <= 0.5 + 1e-3
        same = predict_probabilities(model, image, ["heart", "lungs"])
        np.testing.assert_array_equal(same.values, found.values)


def test_mirroring_goes_into_them(folder, tmp_path):
    options = {"probabilities": "lung_right", "view": "frontal"}
    predict(Threshold(), folder, tmp_path / "one", **options)
    predict(Threshold(), folder, tmp_path / "two", mirror=True, **options)
    one, two = (
        Probabilities.read(tmp_path / name / "a.png.probabilities.npz") for name in ("one", "two")
    )
    assert (one.values != two.values).any()


def test_a_file_that_is_gone_is_made_again_and_one_that_is_there_is_not(folder, tmp_path):
    model, out = Threshold(), tmp_path / "out"
    predict(model, folder, out, probabilities="heart")
    (out / "a.png.probabilities.npz").unlink()
    report = predict(model, folder, out, probabilities="heart")
    assert sorted(report["status"]) == ["ok", "skipped", "skipped", "skipped"]
    assert Probabilities.read(out / "a.png.probabilities.npz").values.shape == (1, 32, 24)


def test_other_ones_do_not_mix_and_old_ones_do_not_stay(folder, tmp_path):
    model, out = Threshold(), tmp_path / "out"
    predict(model, folder, out, probabilities="heart")
    for other in ("aorta", None):
        with pytest.raises(ValueError, match="predictions with other probabilities"):
            predict(model, folder, out, probabilities=other)
    predict(model, folder, out, overwrite=True)
    assert not list(out.rglob("*.npz"))


def test_a_file_of_someone_else_is_neither_written_over_nor_removed(folder, tmp_path):
    theirs = tmp_path / "out" / "a.png.probabilities.npz"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    with pytest.raises(ValueError, match=r"a\.png\.probabilities\.npz: is there already"):
        predict(Threshold(), folder, theirs.parent, probabilities="heart")
    predict(Threshold(), folder, theirs.parent)
    assert theirs.read_text() == "theirs"


def test_an_unknown_name_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(ValueError, match="hart"):
        predict(Threshold(), folder, tmp_path / "out", probabilities="hart")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_they_take(folder, weights, tmp_path):
    out = tmp_path / "out"
    words = f"predict --weights {weights} --images {folder} --out {out} --device cpu"
    done = CliRunner().invoke(app, [*words.split(), "--probabilities", "heart,lungs"])
    assert done.exit_code == 0, done.stderr
    size = sum(path.stat().st_size for path in out.rglob("*.probabilities.npz"))
    said = f"probabilities: 4 files {out}/*.probabilities.npz, {size / 1e6:.1f} MB"
    assert f"{said}, {size / 4e3:.1f} kB a film" in done.stdout
