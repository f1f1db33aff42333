"""A page that segments films by itself: what is in it."""

import base64
import json
import re
import subprocess
import sys
import zlib

import numpy as np
import onnxruntime
import pytest
from helpers.ort_web import write_archive
from helpers.portable_files import portable_bytes
from helpers.tiny_models import NAMES

from paxray_lib.labels.table import LABELS
from paxray_lib.sharing.live import export_live

pytestmark = pytest.mark.slow


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(portable_bytes())
    return path


def parts_of(path):
    """Return the texts of a page's scripts that have names."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r'<script type="[^"]+" id="(\w+)">(.*?)</script>', text, re.S))


def unpacked(text):
    return zlib.decompress(base64.b64decode(text))


def test_it_holds_the_runtime_the_graph_and_the_labels(weights, tmp_path):
    archive = write_archive(tmp_path / "ort.tgz")
    size = export_live(archive, tmp_path / "live.html", weights)
    assert size == (tmp_path / "live.html").stat().st_size
    parts = parts_of(tmp_path / "live.html")
    assert unpacked(parts["wasm"]) == b"\0asm"
    assert b"InferenceSession" in unpacked(parts["runtime"])
    session = onnxruntime.InferenceSession(unpacked(parts["graph"]))
    assert [entry.name for entry in session.get_inputs()] == ["pixels"]
    state = json.loads(parts["state"])
    assert state["traits"]["_labels"]["names"] == list(NAMES.names)
    assert state["traits"]["selected"] == ["heart"]
    assert state["threshold"] == 0.5


def test_the_open_model_comes_without_torch(tmp_path):
    write_archive(tmp_path / "ort.tgz")
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'anywidget', 'traitlets', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from paxray_lib.sharing.live import export_live\n"
        "export_live(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "ort.tgz", tmp_path / "live.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = parts_of(tmp_path / "live.html")
    session = onnxruntime.InferenceSession(unpacked(parts["graph"]))
    (logits,) = session.run(["logits"], {"pixels": np.zeros((1, 90, 80), np.uint8)})
    assert logits.shape[1] == len(LABELS)
    assert json.loads(parts["state"])["traits"]["selected"] == ["lung_right", "lung_left", "heart"]


def test_it_names_licences_and_asks_nothing_of_a_network(weights, tmp_path):
    export_live(write_archive(tmp_path / "ort.tgz"), tmp_path / "live.html", weights)
    text = (tmp_path / "live.html").read_text(encoding="utf-8")
    assert "Weights: MIT. Made from: phantoms (CC0 1.0)." in text
    assert "onnxruntime-web 9.9.9, (c) Microsoft Corporation, MIT" in text
    assert "Permission is hereby granted, free of charge" in text
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)=["']http|import\(["']http|fetch\(["']http""", text)
