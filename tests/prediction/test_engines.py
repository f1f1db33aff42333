"""What runs a network: the open model and ONNX files without torch, to the same masks."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.onnx_files import onnx_bytes, with_text
from helpers.sampledata import ROOT
from helpers.tiny_models import random_images, tiny_model

from paxray_lib import load_model, predict, predict_each
from paxray_lib.graphs.export import TOLERANCE
from paxray_lib.graphs.session import OPEN_GRAPH, load_onnx
from paxray_lib.images import read_image
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.masks import PackedMasks
from paxray_lib.models import predict_image
from paxray_lib.models.inference import pass_through
from paxray_lib.prediction import engines
from paxray_lib.prediction.doubt import Inspector
from paxray_lib.prediction.engines import engine_of, find_model
from paxray_lib.utils import read_json, read_table

EXAMPLES = ROOT / "data" / "examples"
FILMS = sorted(path for path in EXAMPLES.iterdir() if path.suffix != ".md")
#: Beside the usual: finds nothing of what the core is without.
WITHOUT = """
import sys
BLOCKED = "torch torchvision scipy matplotlib IPython lightning_fabric timm".split()
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
from paxray_lib.cli import main
sys.argv[0] = "paxray"
main()
"""


def paxray(*arguments):
    """Run a command where there are only the packages of the core."""
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory):
    """A folder with a tiny network as a checkpoint's twin, and films."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "m.onnx").write_bytes(onnx_bytes())
    return folder


@pytest.mark.slow
def test_all_of_predict_works_in_the_core(tmp_path):
    out = tmp_path / "out"
    options = ("--overlays", "--report", "--sheet", "--measure", "--mirror", "--json")
    given = ("--images", EXAMPLES, "--out", out, *options, "--probabilities", "heart")
    done = paxray("predict", *given)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["ok"] * len(FILMS)
    assert all(line["doubt"] < 0.2 for line in lines if line["view"] == "frontal")
    assert "unet-tu-tf_efficientnet_lite0 by onnxruntime on the CPU" in done.stderr
    assert len(list((out / "overlays").glob("*.jpg"))) == len(FILMS)
    assert (out / "report.html").is_file()
    assert len(list(out.glob("*.probabilities.npz"))) == len(FILMS)
    # torch goes on in the same folder: same model, same settings
    (out / "haggstrom_frontal.pxm").unlink()
    options = {"mirror": True, "probabilities": "heart"}
    report = predict(load_model("open"), EXAMPLES, out, **options)
    assert sorted(report["status"]) == ["ok", *["skipped"] * (len(FILMS) - 1)]
    refused = paxray("predict", *given[:4], "--weights", "cxas.pth", "--overwrite")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert 'torch is not installed, and this needs it: pip install "paxray-lib[train]"' in (
        refused.stderr
    )


@pytest.mark.slow
def test_the_graph_in_the_package_is_that_of_the_open_model():
    ours, other = load_model("open"), load_onnx("open")
    assert OPEN_GRAPH.stat().st_size < 300_000, "weights are in it"
    assert (other.name, other.labels, other.preprocessing) == (
        *(ours.name, ours.labels, ours.preprocessing),
    )
    assert other.weights_digest() == ours.weights_digest(), "run benchmarks/open_model/package.py"
    for path in FILMS:
        inputs = ours.preprocess(read_image(path))[None]
        parts = [
            (model.coarse_logits(inputs), Inspector(model).mirrored(inputs))
            for model in (ours, other)
        ]
        for expected, found in zip(*parts, strict=True):
            np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
def test_masks_and_numbers_are_torchs(tmp_path, mirror):
    model = load_model("open")
    for name, weights in (("torch", model), ("onnx", "open")):
        predict(weights, EXAMPLES, tmp_path / name, mirror=mirror)
    for path in sorted((tmp_path / "torch").glob("*.pxm")):
        ours = PackedMasks.read(path)
        found = PackedMasks.read(tmp_path / "onnx" / path.name)
        differs = ours.unpack() != found.unpack()
        assert differs.sum() < 1e-6 * differs.size  # where the logit is within rounding of 0
    tables = [read_table(tmp_path / name / "report.csv") for name in ("torch", "onnx")]
    pd.testing.assert_frame_equal(*tables, rtol=0.02)
    settings = [read_json(tmp_path / name / "settings.json") for name in ("torch", "onnx")]
    assert settings[0] == settings[1]


def test_a_file_of_ours_predicts_as_what_it_was_exported_from(tiny_files, tmp_path):
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 64))).eval()
    other = find_model(tiny_files / "m.onnx")
    assert other.weights_digest() == model.weights_digest()
    inputs = random_images(2, 3, 64, 64).numpy()
    for size in ((64, 64), (96, 32)):
        given = inputs[..., : size[0], : size[1]]
        np.testing.assert_allclose(
            other.coarse_logits(given), model.coarse_logits(given), atol=TOLERANCE
        )
    image = read_image(FILMS[0])
    (passed,) = pass_through(model, model.preprocess(image)[None], [None])
    near = np.abs(passed.logits()) < TOLERANCE
    masks = predict_image(other, image.pixels)
    differs = masks.unpack() != predict_image(model, image.pixels).unpack()
    assert differs.mean() <= near.mean() + 1e-4
    report = predict(tiny_files / "m.onnx", FILMS[0], tmp_path)
    assert report["status"].tolist() == ["ok"]
    assert PackedMasks.read(tmp_path / report["output"][0]) == masks
    (film,) = predict_each(tiny_files / "m.onnx", FILMS[0])
    assert film.masks == masks


def test_inputs_that_are_no_multiple_are_padded_as_torch_does(tmp_path):
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 64))).eval()
    (tmp_path / "m.onnx").write_bytes(onnx_bytes())
    inputs = random_images(1, 3, 50, 70).numpy()
    found = load_onnx(tmp_path / "m.onnx").coarse_logits(inputs)
    np.testing.assert_allclose(found, model.coarse_logits(inputs), atol=TOLERANCE)


def test_a_network_of_one_size_sees_the_mirrored_film_at_that_size(tmp_path):
    (tmp_path / "m.onnx").write_bytes(with_text("any_size", "false"))
    model, inputs = load_onnx(tmp_path / "m.onnx"), random_images(1, 3, 64, 64).numpy()
    found = Inspector(model).mirrored(inputs)
    np.testing.assert_array_equal(found, model.coarse_logits(inputs[..., ::-1])[..., ::-1])
    with pytest.raises(RuntimeError, match=r"m\.onnx: takes \(64, 64\), not \(32, 32\)"):
        model.coarse_logits(inputs[..., :32, :32])


@pytest.mark.parametrize(
    ("gpu", "device", "precision", "engine"),
    [
        (False, "auto", "float32", "onnxruntime on the CPU"),
        (True, "cpu", "float32", "onnxruntime on the CPU"),
        (True, "auto", "float32", "torch on cpu"),  # torch sees no GPU here
        (False, "auto", "bfloat16", "torch on cpu"),
    ],
)
def test_which_engine_runs(monkeypatch, gpu, device, precision, engine):
    monkeypatch.setattr(engines, "has_gpu", lambda: gpu)
    model = find_model("open", device, precision)
    assert engine_of(model) == engine


@pytest.mark.parametrize("name", ["m.onnx", "M.ONNX"])
def test_what_needs_torch_refuses_a_file(tiny_files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((tiny_files / "m.onnx").read_bytes())
    assert engine_of(find_model(path)) == "onnxruntime on the CPU"
    with pytest.raises(ValueError, match=f"{name}: an ONNX file, which only predict takes"):
        load_model(path)


def test_bfloat16_is_refused_for_a_file(tiny_files, tmp_path):
    path = tiny_files / "m.onnx"
    with pytest.raises(ValueError, match=r"m\.onnx: ONNX files run on the CPU in float32, not"):
        predict(path, FILMS[0], tmp_path, precision="bfloat16")
    with pytest.raises(ValueError, match="ONNX files run in float32, not in bfloat16"):
        predict(load_onnx(path), FILMS[0], tmp_path, precision="bfloat16")


def test_torch_has_its_threads_back(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    before = torch.get_num_threads()
    predict(tiny_model(), FILMS[0], tmp_path)
    assert torch.get_num_threads() == before
