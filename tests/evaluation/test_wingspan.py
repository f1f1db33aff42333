"""A model on films with masks that people drew: what `evaluate` says, computed again by hand."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.importing.common import import_dataset
from paxray_lib.importing.mask_folders import mask_folders
from paxray_lib.models import load_model, optimize_for_inference

STRUCTURES = ["left_lung", "right_lung", "heart"]


@pytest.fixture(scope="module")
def films(real_data):
    folder = real_data / "wingspan"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    table = pd.read_csv(folder / "split.csv")
    return folder, table.loc[table["split"] == "val", "id"].tolist()


@pytest.fixture(scope="module")
def weights(request):
    """A checkpoint of phantoms in PAXRAY_TEST_WEIGHTS, or else one that knows next to nothing."""
    given = os.environ.get("PAXRAY_TEST_WEIGHTS")
    return Path(given or request.getfixturevalue("trained") / "checkpoints/best.ckpt")


def dice_by_hand(folder, names, model, threshold):
    """Return the Dice of each structure, by nothing of ours but the network."""
    scores, index = {structure: [] for structure in STRUCTURES}, model.labels.names.index
    films = [np.asarray(Image.open(folder / f"images/{n}.png"), np.float32) / 255 for n in names]
    inputs = torch.stack([torch.as_tensor(model.preprocess(film)) for film in films])
    with torch.no_grad():  # in batches of eight, as `evaluate` does: sums are rounded the same way
        outputs = (logits for batch in inputs.split(8) for logits in model(batch).numpy())
        for name, logits in zip(names, outputs, strict=True):
            nearest = np.arange(512) * logits.shape[1] // 512
            mask = (1 / (1 + np.exp(-logits.astype(float))) > threshold)[:, nearest][..., nearest]
            hidden = mask[index("diaphragm")] | mask[index("mediastinum_overall")]
            hidden |= mask[index("heart")]
            left, right = (mask[index(f"lung_{side}")] & ~hidden for side in ("left", "right"))
            for structure, ours in zip(
                STRUCTURES, (left, right, mask[index("heart")]), strict=True
            ):
                true = np.asarray(Image.open(folder / structure / f"{name}.png")) > 0
                scores[structure].append(2 * (ours & true).sum() / (ours.sum() + true.sum()))
    return {structure: np.mean(values) for structure, values in scores.items()}


@pytest.fixture
def imported(films, tmp_path):
    folder = films[0]
    source = mask_folders(folder / "images", [(s, folder / s) for s in STRUCTURES], None)
    done = import_dataset(source, tmp_path / "d", splits=folder / "split.csv")
    assert done.counts["ok"] == 259
    return tmp_path / "d"


@pytest.mark.slow
def test_the_map_gives_the_dice_that_ten_lines_give(films, imported, weights):
    model = optimize_for_inference(load_model(weights))
    threshold = 0.5 if "PAXRAY_TEST_WEIGHTS" in os.environ else 0.3
    result = evaluate(model, imported, split="val", map="wingspan", threshold=threshold)
    table = result.per_label.set_index("label")
    expected = dice_by_hand(*films, model, threshold)
    for structure, value in expected.items():
        assert table.loc[structure, "dice_present"] == pytest.approx(value, abs=1e-6)
    assert result.summary["overall"]["patients"] == 40
