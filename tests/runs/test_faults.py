"""Faults of the published code that its users met, each impossible here: weights, input, output,
batches.
"""

import argparse
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.threshold_model import WITH_STRAYS
from PIL import Image as PilImage
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import load_model, save_model
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import predict_image
from paxray_lib.prediction.predict import predict

SIZE = (64, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Checkpoint of a small network whose BatchNorm statistics are not those of any batch."""
    torch.manual_seed(0)
    model = build_model("unet", LABELS, "resnet18", preprocessing=Preprocessing("standard", SIZE))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    save_model(path, model)
    return path


def write_image(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    PilImage.fromarray(pixels).resize(size[::-1], PilImage.Resampling.BICUBIC).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def predict_command(tmp_path, weights, *more):
    return run(
        "predict",
        "--images",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        "--weights",
        weights,
        *more,
    )


# -- input


def test_fault_image_of_300_rows_and_420_columns_comes_out_transposed(weights, tmp_path):
    image = write_image(tmp_path / "in/x.png", (300, 420))
    predict(load_model(weights), image, tmp_path / "out", format="npy")
    assert np.load(tmp_path / "out/x.npy").shape == (166, 300, 420)


def test_fault_16_bit_png_is_clipped_to_two_levels(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    PilImage.fromarray(values).save(tmp_path / "deep.png")
    pixels = read_image(tmp_path / "deep.png").pixels
    np.testing.assert_allclose(pixels, values / 65535, atol=1e-7)
    assert len(np.unique(pixels)) == values.size


@pytest.mark.parametrize("name", ["IMG.PNG", "photo.jpeg", "PHOTO.JPG"])
def test_fault_files_with_other_suffixes_are_ignored(weights, tmp_path, name):
    write_image(tmp_path / "in" / name, (20, 30))
    report = predict(load_model(weights), tmp_path / "in", tmp_path / "out")
    assert report["status"].tolist() == ["ok"]


def test_fault_a_truncated_image_aborts_the_run_without_naming_the_file(weights, tmp_path):
    for i in range(3):
        write_image(tmp_path / f"in/{i}.png", (40, 40), i)
    broken = tmp_path / "in/1.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    result = predict_command(tmp_path, weights)
    assert result.exit_code == 1
    assert [
        line for line in result.stderr.splitlines() if "failed:" in line and str(broken) in line
    ]
    report = pd.read_csv(tmp_path / "out/report.csv", keep_default_na=False)
    assert report["status"].tolist() == ["ok", "failed", "ok"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.pxm")) == ["0.pxm", "2.pxm"]


def test_fault_inference_without_normalisation(weights, tmp_path):
    model = load_model(weights)
    image = read_image(write_image(tmp_path / "x.png", (50, 70)))
    inputs = torch.as_tensor(Preprocessing("standard", SIZE)(image))[None]
    with torch.no_grad():
        logits = torch.nn.functional.interpolate(model(inputs), (50, 70), mode="bilinear")
        wanted = PackedMasks(pack_decisions(logits[0].numpy()), LABELS)
    # rounding depends on the processor
    differs = predict_image(model, image).unpack() != wanted.unpack()
    assert differs[WITH_STRAYS].mean() < 1e-4
    # the preprocessing comes with the weights and cannot be given to `predict`
    assert model.preprocessing == Preprocessing("standard", SIZE)


# -- output


def test_fault_s_png_and_s_jpg_write_the_same_output(weights, tmp_path):
    write_image(tmp_path / "in/s.png", (20, 30))
    write_image(tmp_path / "in/s.jpg", (33, 44), 1)
    report = predict(load_model(weights), tmp_path / "in", tmp_path / "out").set_index("file")
    assert report["output"].is_unique
    sizes = {
        row.output: PackedMasks.read(tmp_path / "out" / row.output).shape[1:]
        for row in report.itertuples()
    }
    assert sizes == {"s.png.pxm": (20, 30), "s.jpg.pxm": (33, 44)}


def test_fault_a_kill_during_a_save_leaves_a_broken_file(weights, tmp_path, monkeypatch):
    write_image(tmp_path / "in/x.png", (20, 30))
    model, out = load_model(weights), tmp_path / "out"
    predict(model, tmp_path / "in", out)

    def half(file, *_):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["paxray_lib.masks.files"], "_write_pxm", half)
        with pytest.raises(KeyboardInterrupt):
            predict(model, tmp_path / "in", out, overwrite=True)
    assert not list(out.rglob("*.pxm"))
    assert not list(out.rglob(".*.part*"))
    assert predict(model, tmp_path / "in", out)["status"].tolist() == ["ok"]
    assert PackedMasks.read(out / "x.pxm").shape == (166, 20, 30)


# -- weights


def test_fault_a_missing_checkpoint_predicts_from_random_weights(tmp_path):
    write_image(tmp_path / "in/x.png", (20, 30))
    result = predict_command(tmp_path, tmp_path / "missing.pth")
    assert result.exit_code == 2
    assert "missing.pth" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["missing", "extra", "text"])
def test_fault_weights_that_do_not_fit_are_not_loaded_silently(weights, tmp_path, change):
    write_image(tmp_path / "in/x.png", (20, 30))
    content = torch.load(weights, weights_only=True)
    key = next(iter(content["model"]))
    if change == "missing":
        del content["model"][key]
    else:
        content["model"][f"{key}.more"] = torch.zeros(1)
    path = tmp_path / "wrong.ckpt"
    torch.save(content, path)
    if change == "text":
        path.write_text("weights")
    result = predict_command(tmp_path, path)
    assert result.exit_code == 2
    assert "wrong.ckpt" in result.stderr
    assert not (tmp_path / "out").exists()


def test_fault_files_written_from_several_gpus_are_not_loaded(tmp_path):
    torch.manual_seed(1)
    model = build_model("paxray_unet", [f"a{i}" for i in range(3)])
    state = {f"module.{key}": value for key, value in model.network.state_dict().items()}
    content = {
        "opt": argparse.Namespace(network="resnet50"),
        "model": state,
        "optimizer": {},
        "epoch": 110,
    }
    torch.save(content, tmp_path / "parallel.pth")
    loaded = load_model(tmp_path / "parallel.pth")
    for key, value in model.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[key], value, rtol=0, atol=0)


# -- batches


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_fault_a_result_depends_on_the_other_images_of_the_batch(weights, tmp_path, batch_size):
    paths = [write_image(tmp_path / f"in/{i}.png", (64, 64), i) for i in range(5)]
    model = load_model(weights)
    model.train()  # as the published script leaves it
    predict(model, tmp_path / "in", tmp_path / "out", batch_size=batch_size)
    fast = optimize_for_inference(model)
    for path in paths:
        image = read_image(path)
        with torch.inference_mode():
            logits = fast(torch.as_tensor(fast.preprocess(image))[None])[0].numpy()
        masks = PackedMasks.read(tmp_path / "out" / f"{path.stem}.pxm").unpack()
        differs = (masks != (logits > 0))[WITH_STRAYS]
        # rounding may depend on the size of the batch
        assert np.abs(logits[WITH_STRAYS][differs]).max(initial=0) < 1e-4
        assert differs.mean() < 1e-3
    assert model.training


def test_fault_prediction_in_training_mode_changes_the_weights(weights, tmp_path):
    model = load_model(weights).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    predict_image(model, read_image(write_image(tmp_path / "x.png", (20, 30))))
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
