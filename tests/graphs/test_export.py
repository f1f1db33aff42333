"""Models as ONNX files: the same logits from pixels of any size, and what the file says."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.sampledata import ROOT
from helpers.tiny_models import one_size, tiny_model
from PIL import Image as PillowImage

from paxray_lib.graphs.export import TOLERANCE, export_onnx, graph_of
from paxray_lib.images import read_image
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models import load_model, save_model

EXAMPLES = sorted(path for path in (ROOT / "data" / "examples").iterdir() if path.suffix != ".md")
# of films, beside a network of 64 x 96: larger, smaller, of that size, and of both in one
SHAPES = [(611, 700), (40, 30), (64, 96), (640, 30), (64, 50), (65, 97)]


@pytest.fixture(scope="module")
def open_graph(tmp_path_factory):
    """The open model's file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx("open", path)
    return path


def logits_of(session, film):
    logits, probabilities = session.run(None, {"pixels": film[None]})
    sigmoid = 255 / (1 + np.exp(-logits.astype(np.float64)))
    assert np.abs(probabilities - sigmoid).max() < 0.51
    return logits


@torch.inference_mode()
def expected(model, film):
    return model(torch.as_tensor(model.preprocess(film / np.float32(255)))[None]).numpy()


@pytest.mark.parametrize("kind", ["published", "standard", "cxas", "per_image"])
def test_logits_are_torchs_for_films_of_any_size(kind, tmp_path):
    model = tiny_model(preprocessing=Preprocessing(kind, (64, 96)))
    save_model(tmp_path / "m.ckpt", model)
    export_onnx(tmp_path / "m.ckpt", tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    session, model = onnxruntime.InferenceSession(tmp_path / "m.onnx"), model.eval()
    rng = np.random.default_rng(1)
    films = [rng.integers(0, 256, shape, np.uint8) for shape in SHAPES]
    for film in films:
        np.testing.assert_allclose(logits_of(session, film), expected(model, film), atol=TOLERANCE)
    (both,) = session.run(["logits"], {"pixels": np.stack([films[0], 255 - films[0]])})
    np.testing.assert_allclose(both[1:], logits_of(session, 255 - films[0]), atol=1e-5)


@pytest.mark.slow
def test_the_open_model_says_what_it_is(open_graph):
    onnx.checker.check_model(open_graph, full_check=True)
    said = onnxruntime.InferenceSession(open_graph).get_modelmeta().custom_metadata_map
    model = load_model("open")
    assert json.loads(said["labels"]) == list(model.labels.names)
    assert json.loads(said["preprocessing"]) == model.preprocessing.to_dict()
    assert json.loads(said["threshold"]) == 0.5
    assert json.loads(said["sources"])
    assert said["licence"].startswith("MIT")


@pytest.mark.slow
def test_logits_of_real_films_are_torchs(open_graph, request):
    session, model = onnxruntime.InferenceSession(open_graph), load_model("open")
    films = [*EXAMPLES, *_more_films(request)]
    assert len(films) >= 5
    for path in films:
        film = np.round(255 * read_image(path).pixels).astype(np.uint8)
        for same in (film, film // 16 + 100):  # and as a film of very little contrast
            difference = np.abs(logits_of(session, same) - expected(model, same)).max()
            assert difference < TOLERANCE, path


def _more_films(request):
    """Return real films where they are at hand: the first of each folder of images."""
    try:
        folder = request.getfixturevalue("real_data")
    except pytest.skip.Exception:
        return []
    return sorted((folder / "v7_lungs" / "images").glob("*"))[:10]


@pytest.mark.slow
def test_the_script_of_the_docs_draws_a_heart(open_graph, tmp_path, monkeypatch):
    (script,) = re.findall("```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(), re.S)
    assert len([line for line in script.splitlines() if line and "import" not in line]) <= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").symlink_to(open_graph)
    (tmp_path / "film.png").write_bytes(EXAMPLES[2].read_bytes())
    exec(compile(script, "onnx.md", "exec"), {})
    heart = np.asarray(PillowImage.open(tmp_path / "heart.png"))
    assert heart.shape == read_image(EXAMPLES[2]).pixels.shape
    assert 0.02 < (heart == 255).mean() < 0.3
    assert (heart == 255).mean() + (heart == 0).mean() == 1


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    save_model(tmp_path / "m.ckpt", tiny_model(preprocessing=Preprocessing("standard", (64, 64))))
    with pytest.raises(ValueError, match=r"m\.pt: .*ends in \.onnx"):
        export_onnx(tmp_path / "m.ckpt", tmp_path / "m.pt")
    monkeypatch.setattr(
        "paxray_lib.graphs.pixels._resizing",
        lambda source, target, _: torch.ones(target, 1) * torch.ones(1, source) / 70,
    )
    with pytest.raises(ValueError, match=r"unet-.*: logits as ONNX differ by .*cannot be exported"):
        export_onnx(tmp_path / "m.ckpt", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(("size", "said"), [(None, "true"), ((64, 64), "false")])
def test_it_says_whether_the_network_takes_inputs_of_other_sizes(size, said):
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 64))).eval()
    graph = onnx.load_from_string(graph_of(one_size(model, size) if size else model))
    texts = {entry.key: entry.value for entry in graph.metadata_props}
    assert texts["any_size"] == said
    assert {"model.network." + key for key in model.weights()}.isdisjoint(
        tensor.name for tensor in graph.graph.initializer
    )
