"""The model card from a small scores.json and header, both made up."""

import copy

import numpy as np
import pytest
from helpers.open_model import script

from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.utils import parse_json, read_bytes

card = script("card")
pictures = script("card_pictures")
measures = script("measures")


def dice(values, ids):
    return measures.dice_summary(values, ids, ids, 0.88)


def ribs():
    rules = dict.fromkeys(card.RULES, 0.5) | {"broken": ["w1"]}
    contrast = dict.fromkeys(card.CONTRAST, 0.5) | {"not_positive": []}
    return {"whole_ribs": rules, "posterior": rules, **contrast}


@pytest.fixture
def scores():
    ids, values = ["w1", "w2", "w3"], [0.97, 0.8125, 0.95]
    ratios = {"ctr": [0.5, 0.45, None], "ctr_people": [0.49, 0.47, 0.5]}
    agreement = measures.agreement([0.5, 0.45, np.nan], ratios["ctr_people"], ids)
    films = [{"id": name, **{k: v[i] for k, v in ratios.items()}} for i, name in enumerate(ids)]
    parts = ("lungs", "heart", "diaphragm", "spine", "ribs")
    return {
        "model": {"bytes": 12_345_678, "weights": "abcdef0123456789", "file": "x"},
        "date": "2026-01-02",
        "mirror": False,
        "left_out": [],
        "wingspan": {
            "split": "test",
            "films": 3,
            **{part: dice(values, ids) for part in card.PARTS},
            "drawn_through_heart": ["w2"],
            "cardiothoracic_ratio": agreement,
            "ribs": ribs(),
            "per_film": films,
        },
        "v7": {"films": 3, "patients": 2, "lungs": dice(values, ids), "ribs": ribs()},
        "ct": {
            "labels": 2,
            "mean_iou": 0.75,
            "iou": dict.fromkeys(parts, 0.7),
            "per_view": {"frontal": dict.fromkeys(parts, 0.8)},
            "per_label": {"heart": 0.9, "rib_left_3": 0.6, "c1": None},
        },
    }


@pytest.fixture
def about():
    return {
        "labels": ["heart", "aorta"],
        "config": {"architecture": "unet", "encoder": "resnet18"},
        "preprocessing": {"size": [256, 320]},
        "licence": "MIT",
        "threshold": 0.5,
        "sources": [
            {"name": "phantoms", "what": "made here", "licence": "CC0 1.0"},
            {"name": "films", "what": "x", "licence": "MIT", "cite": "A", "note": "origin unknown"},
        ],
        "recipe": [
            {"settings": {"data_root": "data/phantoms", "image_size": 128}, "seconds": 600.0},
            {"settings": {"data": [{"root": "data/films", "weight": 2.0}]}},
        ],
    }


def test_the_card_has_its_sections_and_the_figures(about, scores):
    text = card.card(about, scores, "Doubt is **measured** elsewhere.\n")
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["Data", "Recipe", "Scores", "Doubt", "Failures", "Not for"]
    for figure in (
        "12.3 MB", "256 x 320 pixels", "origin unknown", "phantoms x 1", "films x 2", "| 10 |",
        "wingspan test | 3 |", "0.911", "1 (under 0.88)", "drawn through the heart",
        "2 films, and 1 that it could not",
        "bias -0.0050", "worst is w2, 0.812", "- **heart**, mean 0.90: heart 0.90",
        "rib_left_3 0.60, heart 0.90", "Doubt is **measured** elsewhere.",
    ):  # fmt: skip
        assert figure in text, figure
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_a_score_that_is_missing_says_none(about, scores):
    scores["wingspan"]["ribs"] |= dict.fromkeys(card.CONTRAST)
    assert "| wingspan | none | none | none | none |" in card.card(about, scores)


def test_scores_of_other_weights_or_of_a_part_are_an_error(scores, tmp_path):
    card.check_same(scores, "abcdef0123456789", tmp_path)
    with pytest.raises(ValueError, match="other weights"):
        card.check_same(scores, "0", tmp_path)
    with pytest.raises(ValueError, match="without ct"):
        card.check_same(scores | {"left_out": ["ct"]}, "abcdef0123456789", tmp_path)


def test_the_plot_of_the_ratio_is_the_same_file_again(scores, tmp_path):
    paths = [tmp_path / name for name in ("a/x.png", "b/x.png")]
    for path in paths:
        pictures.bland_altman(copy.deepcopy(scores["wingspan"]), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_ten_films_are_chosen_by_number():
    ids = [f"w{n:03}" for n in range(180, 259)]
    assert len(set(pictures.ten(ids[::-1]))) == 10
    assert pictures.ten(ids)[0] == "w180"
    assert pictures.ten(["w2", "w1"]) == ["w1", "w2"]


def test_the_card_in_the_documents_is_that_of_its_scores():
    if not card.SCORES.is_file():
        pytest.skip("the open model has not been scored")
    scores = parse_json(read_bytes(card.SCORES), card.SCORES)
    doubt = card.read_doubt(scores["model"]["weights"])
    text = card.card(read_portable(find_weights("open")), scores, doubt)
    assert card.CARD.read_text(encoding="utf-8") == text
