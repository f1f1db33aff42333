"""From a review to a data set of what was accepted."""

import json

import pytest
from helpers.datafiles import rewrite
from helpers.sampledata import write_tiny
from helpers.threshold_model import Threshold

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.common import import_dataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.prediction.predict import predict
from paxray_lib.review.accepted import accepted_source
from paxray_lib.review.decisions import Review
from paxray_lib.review.films import listed_films, predicted_films


@pytest.mark.parametrize("format", ["packed", "coco"])
def test_accepted_predictions_are_a_data_set(tmp_path, format):
    write_tiny(tmp_path / "data")
    predict(Threshold(), tmp_path / "data/images", tmp_path / "masks", format=format)
    films = predicted_films(tmp_path / "masks")
    assert [film.name for film in films][:2] == ["case000frontal", "case000lateral"]
    assert len(films) == 14
    review = Review(tmp_path / "masks", [film.name for film in films])
    verdicts = ["accept", "reject", "doubt", "accept"]
    for film, verdict in zip(films, verdicts, strict=False):
        review.decide(film.name, verdict)
    source = accepted_source(films, tmp_path / "masks")
    assert source.notes == ("4 of 14 films reviewed: 2 accept, 1 doubt, 1 reject",)
    done = import_dataset(source, tmp_path / "out", split="train")
    assert (done.counts["ok"], done.failed) == (2, [])
    dataset = PaxrayDataset(tmp_path / "out")
    for i, k in enumerate((0, 3)):
        assert dataset.entries[i].image == f"images/{films[k].name}.png"
        assert dataset.masks(i) == PackedMasks.read(films[k].masks, films[k].labels)
    review.decide(films[5].name, "accept")
    source = accepted_source(films, tmp_path / "masks")
    counts = import_dataset(source, tmp_path / "out", split="train").counts
    assert (counts["ok"], counts["skipped"]) == (1, 2)


def test_a_reviewed_data_set_keeps_splits_and_what_is_known(tmp_path):
    write_tiny(tmp_path / "data")
    rewrite(tmp_path / "data", lambda c: c["val"][0].update(known=["heart", "lung*"]))
    rewrite(tmp_path / "data", lambda c: c["val"][1].update(target=None))
    films = listed_films(tmp_path / "data")
    assert len(films) == 13
    review = Review(tmp_path / "r", [film.name for film in films])
    for film in films:
        review.decide(film.name, "accept")
    assert not import_dataset(accepted_source(films, tmp_path / "r"), tmp_path / "out").failed
    for split, count in (("train", 8), ("val", 1), ("test", 4)):
        before = PaxrayDataset(tmp_path / "data", split=split)
        after = PaxrayDataset(tmp_path / "out", split=split)
        assert len(after) == count
        assert all(after.masks(i) == before.masks(i) for i in range(count))


def test_reviews_that_give_no_data_set(tmp_path):
    write_tiny(tmp_path / "data")
    films = listed_films(tmp_path / "data")
    with pytest.raises(ValueError, match="of 14 films none was accepted"):
        accepted_source(films, tmp_path / "r")
    Review(tmp_path / "r", ["stranger"]).decide("stranger", "accept")
    with pytest.raises(ValueError, match="review is of 'stranger', not among"):
        accepted_source(films, tmp_path / "r")
    rewrite(tmp_path / "data", lambda c: c["test"].append(c["val"][0]))
    with pytest.raises(ValueError, match="two images have the name 'case004frontal'"):
        listed_films(tmp_path / "data")


def test_films_are_found_from_another_working_folder(tmp_path, monkeypatch):
    write_tiny(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    predict(Threshold(), "data/images", "masks")
    monkeypatch.chdir(tmp_path / "data")
    for out in ("../masks", tmp_path / "masks"):
        films = predicted_films(out)
        assert all(film.image.is_file() for film in films)
        assert films[0].image.samefile(tmp_path / f"data/images/{films[0].name}.png")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("report.csv", "a,b\n1,2\n", r"report\.csv: no column file, output"),
        ("report.csv", "file,output\nx.png,../../x.pxm\n", "leads outside"),
        ("settings.json", "[]", r"settings\.json"),
        ("settings.json", json.dumps({"labels": ["a"], "format": []}), ""),
    ],
)
def test_folders_that_lie(tmp_path, name, content, words):
    (tmp_path / "settings.json").write_text(json.dumps({"labels": ["a"], "format": "packed"}))
    (tmp_path / "report.csv").write_text("file,output\nx.png,x.pxm\ny.png,\n")
    assert [film.name for film in predicted_films(tmp_path)] == ["x"]
    (tmp_path / name).write_text(content)
    if words:
        with pytest.raises(ValueError, match=words):
            predicted_films(tmp_path)
    else:
        assert len(predicted_films(tmp_path)) == 1
