"""The calibration of doubt: damage, fit, figures, and the section of the card."""

import json

import numpy as np
import pytest
from helpers.open_model import script
from PIL import Image

from paxray_lib.models import load_model
from paxray_lib.models.named import find_weights
from paxray_lib.prediction.doubt import SIGNS, Signs

damage, figures, doubt, card = map(script, ("damage", "doubt_figures", "doubt", "card"))


def signs(margin, agreement=0.9, rules=20):
    return Signs(margin, agreement, rules, 0, 3, 400, 34)


@pytest.fixture
def looked():
    """Forty films of three copies, whose Dice is the square of the margin."""
    rng = np.random.default_rng(0)
    rows = []
    for film in range(40):
        for strength, margin in enumerate((0.98, 0.95, 0.85)):
            own = margin - rng.uniform(0, 0.04)
            kind = "blur" if strength else "none"
            found = signs(own, rng.uniform(0.5, 1), int(rng.integers(50)))
            rows.append(figures.Copy(f"f{film}", kind, strength, own**2, found))
    return rows


def test_copies_are_the_same_again_and_their_masks_go_along():
    rng = np.random.default_rng(0)
    square = np.zeros((60, 80), np.uint8)
    square[20:40, 30:60] = 255
    pixels = (square / 255 * 0.7 + 0.1 * rng.random(square.shape)).astype(np.float32)
    film = (pixels, square[..., None])
    first, second = (list(damage.copies(film, "x")) for _ in range(2))
    assert len(first) == 1 + 5 * len(damage.DAMAGES)
    for (kind, _, (one, masks)), (_, _, (other, _)) in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one.min() >= 0, one.max() <= 1) == (True, True)
        assert masks.shape == (*one.shape, 1)
        assert set(np.unique(masks)) <= {0, 255}
        if kind in ("rotation", "crop"):  # the mask lies where the film is bright
            overlap = ((one > 0.5) & (masks[..., 0] > 0)).sum() / max((masks > 0).sum(), 1)
            assert overlap > 0.9 or not masks.any()
    changes = [np.abs(one - pixels).mean() for kind, _, (one, _) in first if kind == "noise"]
    assert changes == sorted(changes)


def test_the_fit_finds_what_tells_and_no_slope_is_below_zero(looked):
    estimate = figures.fit(looked)
    assert estimate.slopes["margin"] > 0.5
    assert all(estimate.slopes[name] < 0.1 for name in SIGNS[1:])
    assert min(estimate.slopes.values()) >= 0
    found = figures.figures(looked, figures.unseen(looked))
    assert found["rank_correlation"] > 0.95
    assert (found["films"], found["copies"]) == (40, 120)
    assert found["caught"] == found["at_most"] == 40
    assert found["below"] > 40
    assert sum(found["missed"].values()) == found["below"] - 40
    assert found["mean_error"] < 0.02
    opposite = [figures.Copy(c.film, c.kind, c.strength, 1.5 - c.dice, c.signs) for c in looked]
    assert figures.fit(opposite).slopes["margin"] == 0


def test_the_section_is_for_these_weights_only(looked, tmp_path, monkeypatch):
    found = figures.figures(looked, figures.unseen(looked))
    one = figures.figures([*looked[:3], *looked[4:6]], np.arange(5) / 10)  # one undamaged film
    text = figures.section({"wingspan": found, "v7": one, "slopes": dict.fromkeys(SIGNS, 0.5)})
    assert "40 films" in text
    assert "| none (1) |" in text
    assert "nan" not in text
    monkeypatch.setattr(card, "DOUBT", tmp_path / "doubt.md")
    assert card.read_doubt("abc") == card.NO_DOUBT
    (tmp_path / "doubt.md").write_text(text)
    (tmp_path / "doubt.json").write_text(json.dumps({"weights": "abc"}))
    assert card.read_doubt("abc") == text
    assert card.read_doubt("other") == card.NO_DOUBT


@pytest.mark.slow
def test_from_films_to_the_files(tmp_path, monkeypatch, capsys):
    """By the open model on a film of two masks, and again from what was kept."""
    model = load_model(find_weights("open"), "cpu")
    rng = np.random.default_rng(0)
    for part in ("images", *doubt.WINGSPAN, "lungs"):
        (tmp_path / part).mkdir()
        for name in ("a", "b"):
            pixels = rng.integers(0, 256, (64, 64), np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            mask[10:50, 10:30] = 255
            Image.fromarray(pixels if part == "images" else mask).save(
                tmp_path / part / f"{name}.png"
            )
    (tmp_path / "split.csv").write_text("id,split\na,val\nb,val\nc,test\n")
    (tmp_path / "v7.csv").write_text("id,patient,split\na,1,test\nb,2,train\n")
    monkeypatch.setattr(doubt, "V7_SPLIT", tmp_path / "v7.csv")
    monkeypatch.setattr(damage, "DAMAGES", {"blur": (damage.blur, [0.01, 0.02, 0.03, 0.04, 0.05])})
    for name in ("CALIBRATION", "FIGURES", "SECTION"):
        monkeypatch.setattr(doubt, name, tmp_path / name)
    options = ["doubt", "--wingspan", str(tmp_path), "--v7", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*options, "--out", str(tmp_path / "out")])
    doubt.main()
    first = (tmp_path / "FIGURES").read_text()
    found = json.loads(first)
    assert (found["wingspan"]["copies"], found["v7"]["copies"]) == (12, 6)
    assert found["weights"] == script("measures").fingerprint(model)
    monkeypatch.setattr(doubt.Watcher, "look", None)
    doubt.main()
    assert (tmp_path / "FIGURES").read_text() == first
    assert capsys.readouterr().out.count("rank correlation") == 2
