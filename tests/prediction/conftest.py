import numpy as np
import pytest
import torch
from helpers.tiny_models import tiny_model
from PIL import Image

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.models.checkpoints import save_model


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
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(source / name)
    return source


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A checkpoint of a tiny network that sees every label in every pixel."""
    model = tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (32, 32)))
    torch.nn.init.zeros_(model.network.segmentation_head.weight)
    torch.nn.init.ones_(model.network.segmentation_head.bias)
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    save_model(path, model)
    return path
