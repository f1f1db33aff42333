"""What the hostile cases share: a checkpoint, a copy of the tiny data set, the way to run one."""

import shutil
from functools import partial

import pytest
from helpers.hostile import run_case
from helpers.tiny_models import tiny_model

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.models.checkpoints import save_model


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Path of a checkpoint of a tiny network for all labels, which no test may change."""
    path = tmp_path_factory.mktemp("weights") / "tiny.ckpt"
    preprocessing = Preprocessing("standard", (64, 64))
    save_model(path, tiny_model(labels=LABELS, preprocessing=preprocessing).eval())
    return path


@pytest.fixture
def hostile(request, tmp_path, weights):
    """Run a case in a folder of its own, with the tiny data set if its command asks for it."""
    data = tmp_path / "data"
    case = request.getfixturevalue("case")
    if "{data}" in case.command:
        shutil.copytree(request.getfixturevalue("tiny"), data)
    return partial(run_case, here=tmp_path, data=data, weights=weights)
