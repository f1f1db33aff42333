"""What a model finds on films, to train on; and the mean of two models."""

import numpy as np
import pytest
import torch
from helpers.open_model import script
from helpers.tiny_models import tiny_model

from paxray_lib import LABELS, load_model
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.masks import PackedMasks
from paxray_lib.models import build_model, read_extra, save_model

teacher, average = script("teacher"), script("average")


def ribs(swapped: bool) -> PackedMasks:
    """Masks of ribs 3 to 8, one below the other; two of them may have each other's number."""
    stack = np.zeros((len(LABELS), 100, 100), bool)
    for number in range(3, 9):
        row = 10 * number
        shown = {5: 6, 6: 5}.get(number, number) if swapped else number
        for side, column in (("right", 10), ("left", 60)):
            for part in ("", "posterior_"):
                index = LABELS.names.index(f"rib_{side}_{part}{shown}")
                stack[index, row : row + 4, column : column + 30] = True
    stack[LABELS.names.index("heart"), 40:60, 40:60] = True
    return PackedMasks.pack(stack, LABELS)


@pytest.mark.parametrize("swapped", [False, True])
def test_ribs_out_of_order_are_not_taught_nor_is_what_people_drew(swapped):
    sifted = teacher.sift(ribs(swapped))
    known = dict(zip(LABELS.names, sifted.known.tolist(), strict=True))
    assert known["rib_left_5"] == known["ribs"] == known["rib_3"] == (not swapped)
    assert known["aorta"]
    for name in ("heart", "lung_left", "lung_overall", "diaphragm", "hemidiaphragm_left"):
        assert not known[name]
    assert known["lung_left_lobeupper"]
    assert sifted.union("rib_left_5").any() == (not swapped)


def test_a_data_set_of_what_a_model_finds(tiny, tmp_path, monkeypatch):
    preprocessing = Preprocessing("per_image", (64, 64))
    model = tiny_model(labels=LABELS, preprocessing=preprocessing).eval()
    out = tmp_path / "teacher"
    monkeypatch.setattr(teacher, "SIZES", (64,))
    teacher.teach(model, [tiny], out)
    films, taught = PaxrayDataset(tiny, split="train"), PaxrayDataset(out, split="train")
    assert [sample.name for sample in taught] == [sample.name for sample in films]
    for one, film in zip(taught, films, strict=True):
        assert np.array_equal(one.image, film.image)
        assert one.masks.shape[1:] == film.masks.shape[1:]
        assert not one.masks.known[LABELS.names.index("heart")]
    assert not len(PaxrayDataset(out, split="val"))


def test_the_mean_of_two(tmp_path):
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(build_model("unet", ["heart"], encoder="resnet18"))
        path = tmp_path / str(seed) / "checkpoints/last.ckpt"
        path.parent.mkdir(parents=True)
        save_model(path, models[-1], config={"epochs": seed})
    out = tmp_path / "mean.ckpt"
    average.average(*(tmp_path / f"{n}/checkpoints/last.ckpt" for n in (1, 2)), out)
    first, second, mean = (m.state_dict() for m in (*models, load_model(out)))
    for name, values in mean.items():
        if values.is_floating_point():
            torch.testing.assert_close(values, (first[name] + second[name]) / 2)
    assert read_extra(out) == {"config": {"epochs": 2}, "averaged_with": "1"}
