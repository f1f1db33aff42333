"""scores.json of small hand-made data sets, and of masks that are the people's own."""

import json

import numpy as np
import pytest
from helpers.open_model import script
from PIL import Image

from paxray_lib.labels.table import LABELS
from paxray_lib.masks import PackedMasks

score = script("score")


class Perfect:
    """A scorer whose model says what people drew."""

    def __init__(self):
        self.model = type("Model", (), {"labels": LABELS})

    def masks_of(self, images, name, view):
        found = []
        for path in images:
            stack = np.zeros((len(LABELS), 40, 40), bool)
            for part, label in (
                ("left_lung", "lung_left"),
                ("right_lung", "lung_right"),
                ("heart", "heart"),
                ("lungs", "lung_left"),
            ):
                file = path.parents[1] / part / path.name
                if file.is_file():
                    stack[LABELS.index(label)[0]] = np.asarray(Image.open(file)) == 255
            found.append(PackedMasks.pack(stack, LABELS))
        return found


@pytest.fixture
def films(tmp_path):
    """A folder like wingspan with two films of val, and one of test that has no files."""
    rng = np.random.default_rng(0)
    drawn = {"left_lung": (5, 30, 22, 36), "right_lung": (5, 30, 3, 17), "heart": (20, 30, 15, 25)}
    for name in ("a", "b"):
        save(tmp_path / f"images/{name}.png", rng.integers(0, 256, (40, 40), np.uint8))
        for part, (top, bottom, left, right) in drawn.items():
            mask = np.zeros((40, 40), np.uint8)
            mask[top:bottom, left:right] = 255
            if part != "heart":
                mask[20:30, 15:25] = 0  # visible lungs
            save(tmp_path / f"{part}/{name}.png", mask)
    (tmp_path / "split.csv").write_text("id,split\na,val\nb,val\nc,test\n")
    return tmp_path


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)


def test_masks_of_people_have_perfect_scores(films):
    found = score.score_wingspan(Perfect(), films, "val")
    assert found["films"] == 2
    assert [found[p]["mean"] for p in ("visible_lungs", *score.WINGSPAN)] == [1, 1, 1, 1]
    ratio = found["cardiothoracic_ratio"]
    assert ratio["bias"]["mean"] == ratio["mean_absolute_error"]["mean"] == 0
    assert found["per_film"][0]["ctr_people"] == pytest.approx(10 / 33, abs=1e-6)
    assert found["ribs"]["whole_ribs"]["broken"] == ["a", "b"]
    assert found["ribs"]["contrast"] is None
    json.dumps(found, allow_nan=False)


def test_films_whose_lungs_are_drawn_through_the_heart_are_scored_apart(films):
    through = np.zeros((40, 40), np.uint8)
    through[5:30, 17:36] = 255  # over 8 of the heart's 10 columns
    save(films / "left_lung/b.png", through)
    found = score.score_wingspan(Perfect(), films, "val")
    overlaps = [film["people_overlap"] for film in found["per_film"]]
    assert overlaps == [0, 0.8]
    assert found["drawn_through_heart"] == ["b"]
    elsewhere = found["visible_lungs_elsewhere"]
    assert (elsewhere["films"], elsewhere["mean"], found["visible_lungs"]["films"]) == (1, 1, 2)
    assert found["visible_lungs"]["mean"] < 1


def test_pixels_to_ignore_do_not_count(tmp_path, monkeypatch):
    mask = np.zeros((40, 40), np.uint8)
    mask[5:30, 5:20], mask[30:35] = 255, 127
    save(tmp_path / "lungs/x.png", mask)
    save(tmp_path / "images/x.png", mask // 2)
    (tmp_path / "split.csv").write_text("id,patient,split\nx,1,test\ny,2,train\n")
    monkeypatch.setattr(score, "V7_SPLIT", tmp_path / "split.csv")
    found = score.score_v7(Perfect(), tmp_path)
    assert (found["films"], found["lungs"]["mean"]) == (1, 1)


@pytest.mark.slow
def test_a_file_of_scores_is_written_whole_and_says_what_is_left_out(trained, films, tmp_path):
    weights = trained / "checkpoints/best.ckpt"
    sets = {"wingspan": films, "v7": tmp_path / "none", "ct": tmp_path / "none"}
    path = score.score(str(weights), sets, "val", tmp_path / "out", mirror=False)
    scores = json.loads(path.read_text())
    assert scores["left_out"] == ["v7", "ct"]
    assert scores["wingspan"]["films"] == 2
    assert len(scores["model"]["sha256"]) == 64
    assert any("visible_lungs" in line for line in score.summary(scores))
