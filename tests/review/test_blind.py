"""Blind reviews: an order that is random, repeatable, and tells nothing."""

import json

import pytest
from helpers.sampledata import write_tiny
from helpers.threshold_model import Threshold
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.prediction.predict import predict
from paxray_lib.review.blind import blinded, paired, preferences, unblind
from paxray_lib.review.decisions import PREFERENCES, Review
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


@settings(max_examples=15)
@given(st.integers(1, 30), st.integers(0, 9), st.data())
def test_two_models_side_by_side(tmp_path_factory, count, seed, data):
    folder = tmp_path_factory.mktemp("pairs")
    names, models = [f"film{k}" for k in range(count)], ("A", "B")
    films = paired(names, models, folder / "key.json", seed)
    assert sorted(name for name, _, _ in films.values()) == sorted(names)
    on_the_left = [left for _, left, _ in films.values()]
    assert abs(on_the_left.count("A") - on_the_left.count("B")) <= 1
    assert {frozenset(pair[1:]) for pair in films.values()} == {frozenset("AB")}
    assert paired(names[::-1], models, folder / "key.json", seed) == films  # goes on
    review = Review(folder / "review", list(films), "Ada", PREFERENCES)
    expected = {"A": 0, "B": 0, "equal": 0}
    for number, (_, left, right) in list(films.items())[: data.draw(st.integers(0, 5))]:
        verdict = data.draw(st.sampled_from(PREFERENCES))
        review.decide(number, verdict)
        expected[{"left": left, "right": right, "equal": "equal"}[verdict]] += 1
    found = preferences(folder / "review", folder / "key.json")
    assert dict(zip(found["preferred"], found["films"], strict=True)) == expected
    table = unblind(folder / "review", folder / "key.json")
    assert len(table) == sum(expected.values())
    assert set(table["image"]) <= set(names)


def test_sides_change_from_film_to_film_and_no_name_is_in_the_review(tmp_path):
    films = paired([f"film{k}" for k in range(40)], ("A", "B"), tmp_path / "key.json")
    lefts = "".join(left for _, left, _ in films.values())
    assert "AA" in lefts
    assert "BB" in lefts
    review = Review(tmp_path, list(films), "Ada", PREFERENCES)
    for number in films:
        review.decide(number, "left")
    assert "film" not in (tmp_path / "review.csv").read_text()


def test_keys_of_pairs_and_of_single_masks_are_told_apart(sources, tmp_path):
    single, double = tmp_path / "single.json", tmp_path / "double.json"
    blinded({"truth": sources["truth"]}, single)
    films = paired([f"film{k}" for k in range(14)], ("A", "B"), double)
    Review(tmp_path / "a", list(films)).decide("03", "accept")
    Review(tmp_path / "b", list(films), verdicts=PREFERENCES).decide("03", "left")
    with pytest.raises(ValueError, match=r"says accept of 03; is .*double\.json its key"):
        unblind(tmp_path / "a", double)
    with pytest.raises(ValueError, match=r"says left of 03; is .*single\.json its key"):
        unblind(tmp_path / "b", single)
    with pytest.raises(ValueError, match="one by one, not of two models"):
        preferences(tmp_path / "a", single)
    with pytest.raises(ValueError, match="review of another kind"):
        Review(tmp_path / "b", list(films))
    with pytest.raises(ValueError, match="key of other films"):
        paired(["film0"], ("A", "B"), double)
    with pytest.raises(ValueError, match="called 'equal'"):
        paired(["film0"], ("A", "equal"), tmp_path / "equal.json")
    with pytest.raises(ValueError, match="verdict"):
        Review(tmp_path / "b", list(films), verdicts=PREFERENCES).decide("04", "accept")
    for row in ({"image": "a", "left": "A"}, {"left": 1, "right": 2}, {}):
        double.write_text(json.dumps({"films": {"03": row}}))
        with pytest.raises(ValueError, match=r"double\.json"):
            unblind(tmp_path / "b", double)
