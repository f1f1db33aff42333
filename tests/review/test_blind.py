"""Blind reviews: an order that is random, repeatable, and tells nothing."""

import json

import pytest
from helpers.sampledata import write_tiny
from helpers.threshold_model import Threshold

from paxray_lib.prediction.predict import predict
from paxray_lib.review.blind import blinded, unblind
from paxray_lib.review.decisions import Review
from paxray_lib.review.films import listed_films, predicted_films


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The tiny data set's truth, and predictions on its images."""
    root = tmp_path_factory.mktemp("blind")
    write_tiny(root / "data")
    predict(Threshold(), root / "data/images", root / "masks")
    return {
        "truth": listed_films(root / "data"),
        "model A": predicted_films(root / "masks"),
    }


def test_every_film_of_every_source_once_in_an_order_of_the_seed(sources, tmp_path):
    films = blinded(sources, tmp_path / "key.json")
    assert list(films) == [f"{n:02d}" for n in range(1, 29)]
    places = [str(film.masks) for film in films.values()]
    assert sorted(places) == sorted(str(f.masks) for part in sources.values() for f in part)
    names = [film.name for film in films.values()]
    assert names != sorted(names)
    kinds = ["data" in place for place in places]
    assert kinds != sorted(kinds)
    assert kinds != sorted(kinds, reverse=True)
    turned = dict(reversed(sources.items()))
    assert blinded(turned, tmp_path / "key2.json") == films
    assert blinded(sources, tmp_path / "key.json") == films  # goes on
    assert list(blinded(sources, tmp_path / "key3.json", seed=1).values()) != list(films.values())


def test_the_review_tells_nothing_and_the_key_all(sources, tmp_path):
    films = blinded(sources, tmp_path / "apart/key.json")
    review = Review(tmp_path / "review", list(films), "Ada")
    for number, film in films.items():
        is_truth = "labels" in film.masks.parts
        review.decide(number, "accept" if is_truth else "reject", "n")
    written = "".join(path.read_text() for path in (tmp_path / "review").iterdir())
    assert not any(word in written for word in ("truth", "model", "case0"))
    table = unblind(tmp_path / "review", tmp_path / "apart/key.json")
    assert len(table) == 28
    assert table["image"].is_monotonic_increasing
    pairs = set(zip(table["source"], table["verdict"], strict=True))
    assert pairs == {("truth", "accept"), ("model A", "reject")}


def test_a_key_of_something_else_is_refused(sources, tmp_path):
    key = tmp_path / "key.json"
    films = blinded(sources, key)
    before = key.read_bytes()
    for other in ({"truth": sources["truth"]}, {**sources, "b": sources["truth"]}):
        with pytest.raises(ValueError, match="key of other films"):
            blinded(other, key)
    with pytest.raises(ValueError, match="another seed"):
        blinded(sources, key, seed=3)
    assert key.read_bytes() == before
    with pytest.raises(ValueError, match="no film to review"):
        blinded({"a": []}, tmp_path / "k.json")
    Review(tmp_path, list(films)).decide("28", "accept")
    blinded({"truth": sources["truth"]}, tmp_path / "k.json")
    with pytest.raises(ValueError, match="has no film '28'; is it the key of"):
        unblind(tmp_path, tmp_path / "k.json")
    for content in ("[]", "{", json.dumps({"films": [1]}), json.dumps({"films": {"28": {}}})):
        key.write_text(content)
        with pytest.raises(ValueError, match=r"key\.json"):
            unblind(tmp_path, key)
