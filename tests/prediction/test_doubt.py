"""Doubt: its signs, the number made of them, and where they are told."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.phantoms import phantom
from helpers.threshold_model import Threshold
from helpers.tiny_models import one_size, random_images, tiny_model
from helpers.xrays import write_xray

from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks import PackedMasks, swap_sides
from paxray_lib.models import load_model
from paxray_lib.models.named import find_weights
from paxray_lib.prediction import doubt
from paxray_lib.prediction.doubt import EXPECTED, SIGNS, Estimate, Inspector, Signs, by_doubt
from paxray_lib.prediction.pipeline import DOUBT_COLUMNS
from paxray_lib.prediction.predict import predict
from paxray_lib.utils import read_json, read_table

EXAMPLES = Path(__file__).resolve().parents[2] / "data/examples"


class Known(Threshold):
    """A network that says the masks it was given, whatever it sees, and mirrored ones if asked."""

    def __init__(self, masks, certainty=9.0, symmetric=True):
        super().__init__()
        self.stack = torch.as_tensor(masks.unpack())[None]
        self.certainty, self.symmetric, self.calls = certainty, symmetric, 0

    def coarse(self, images):
        self.calls += 1
        stack = self.stack
        if (
            self.calls > 1 and self.symmetric
        ):  # the film in the mirror: sides are those of the image
            stack = stack[:, LABELS.mirror.tolist()].flip(-1)
        return (2.0 * stack - 1) * self.certainty + self.weight


def signs_of(masks, view="frontal", **options):
    model = Known(masks, **options)
    inspector, inputs = Inspector(model), np.zeros((1, 3, 64, 64), np.float32)
    (coarse,), (mirrored,) = model.coarse_logits(inputs), inspector.mirrored(inputs)
    return inspector(coarse, mirrored, view)


@pytest.fixture
def masks():
    return phantom(0, 0, 128)["frontal"][1]


def test_sure_masks_of_a_phantom_that_the_mirror_repeats(masks):
    signs = signs_of(masks)
    assert signs.mirror_agreement == 1
    assert signs.margin == pytest.approx(1, abs=1e-3)
    assert signs.expected == len(EXPECTED)
    assert signs.missing == 0
    assert signs.rules > 300
    assert signs.broken_rules < 0.05 * signs.rules
    assert signs_of(masks, certainty=0.4).margin == pytest.approx(0.197, abs=1e-3)
    asymmetric = signs_of(masks, symmetric=False)
    assert asymmetric.mirror_agreement < 0.9
    # a network that calls sides by the image, seen from the side: nothing is swapped
    assert signs_of(masks, view="lateral").mirror_agreement < 0.9


def test_what_is_missing_in_pieces_or_upside_down_is_counted(masks):
    stack = masks.unpack()
    before = signs_of(masks)
    for name in ("heart", "t5", "lung_left"):
        stack[LABELS.index(name)[0]] = False
    lost = signs_of(PackedMasks.pack(stack, LABELS))
    assert lost.missing == 3
    assert lost.margin == pytest.approx(before.margin / 3, abs=1e-3)
    assert lost.mirror_agreement == pytest.approx(1 / 3)
    cut = masks.unpack()
    rows = np.flatnonzero(cut[LABELS.index("heart")[0]].any(axis=1))
    cut[LABELS.index("heart")[0], rows[len(rows) // 2]] = False
    assert signs_of(PackedMasks.pack(cut, LABELS)).in_pieces == before.in_pieces + 1
    turned = signs_of(PackedMasks(masks.data[::-1].copy(), LABELS))
    assert turned.broken_rules > before.broken_rules + 50
    swapped = signs_of(PackedMasks(swap_sides(masks.data, LABELS), LABELS))
    assert swapped.broken_rules > before.broken_rules + 50


def test_a_network_that_takes_one_size_only_sees_the_mirrored_film_at_that_size(tmp_path):
    model = one_size(tiny_model(labels=LABELS), (96, 64)).eval()
    inputs = random_images(2, 3, 96, 64).numpy()
    found = Inspector(model).mirrored(inputs)
    np.testing.assert_allclose(found, model.coarse_logits(inputs[..., ::-1])[..., ::-1])
    write_xray(tmp_path / "a_pa.dcm", (40, 48))
    (row,) = predict(model, tmp_path, tmp_path / "out").itertuples()
    assert (row.status, row.reason) == ("ok", "")
    assert 0 <= row.mirror_agreement <= 1


def test_a_lack_of_memory_is_not_taken_for_a_size_that_the_network_does_not_take(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has 80")

    model = tiny_model(labels=LABELS).eval()
    sizes = []
    monkeypatch.setattr(model, "pad", lambda images: sizes.append(images.shape[2:]) or full())
    with pytest.raises(MemoryError, match=r"^CUDA out of memory. Tried to allocate 2 GiB$"):
        Inspector(model).mirrored(np.zeros((1, 3, 64, 64), np.float32))
    assert len(sizes) == 1


def test_doubt_rises_with_each_shortfall_and_stays_within_its_range():
    estimate = Estimate(3, dict.fromkeys(SIGNS, 0.3))
    best = Signs(1, 1, 0, 0, 0, 400, 34)
    worse = [
        Signs(0.9, 1, 0, 0, 0, 400, 34),
        Signs(1, 0.9, 0, 0, 0, 400, 34),
        Signs(1, 1, 9, 0, 0, 400, 34),
        Signs(1, 1, 0, 4, 0, 400, 34),
        Signs(1, 1, 0, 0, 4, 400, 34),
    ]
    assert all(estimate(signs) > estimate(best) for signs in worse)
    assert Estimate(-50, dict.fromkeys(SIGNS, 0.0))(best) == 0
    assert Estimate(50, dict.fromkeys(SIGNS, 0.0))(best) == 1


def test_the_calibration_beside_the_open_model():
    path = find_weights("open")
    if not (path.is_file() and doubt.CALIBRATION.is_file()):
        pytest.skip("the open model is not there yet")
    calibration = read_json(doubt.CALIBRATION)
    estimate = Estimate.of(load_model(path, "cpu").weights_digest())
    assert estimate is not None, "another model: run benchmarks/open_model/doubt.py"
    assert tuple(estimate.slopes) == SIGNS
    assert min(estimate.slopes.values()) >= 0
    assert estimate.slopes == calibration["slopes"]
    assert Estimate.of("another") is None


@pytest.fixture
def calibrated(tmp_path, monkeypatch):
    """Make the threshold model one whose doubt is known."""
    path = tmp_path / "doubt.json"
    values = {"intercept": 0.5, "slopes": dict.fromkeys(SIGNS, 0.2)}
    path.write_text(json.dumps(values | {"weights": Threshold().weights_digest()}))
    monkeypatch.setattr(doubt, "CALIBRATION", path)


@pytest.mark.parametrize("format", ["packed", "npy", "coco", "dicom-seg"])
def test_columns_in_every_format_and_after_a_resume(calibrated, tmp_path, format):
    (tmp_path / "in").mkdir()
    for name in ("a_pa.dcm", "b_lat.dcm"):
        write_xray(tmp_path / "in" / name, (40, 48))
    (tmp_path / "in/c.png").write_text("no image")
    arguments = (Threshold(), tmp_path / "in", tmp_path / "out")
    first = predict(*arguments, format=format, labels="heart", overwrite=True)
    front, side, failed = first.itertuples()
    assert front.doubt == 1 if front.flags else 0 < front.doubt < 1
    assert math.isnan(side.doubt)  # fitted to frontal films alone
    for row in (front, side):
        assert 0 < row.margin <= 1
        assert 0 <= row.mirror_agreement <= 1
        assert row.broken_rules > 0
    assert failed.status == "failed"
    assert first.loc[2, DOUBT_COLUMNS].isna().all()
    again = predict(*arguments, format=format, labels="heart")
    assert again["status"].tolist() == ["skipped", "skipped", "failed"]
    pd.testing.assert_frame_equal(again[DOUBT_COLUMNS], first[DOUBT_COLUMNS])
    written = read_table(tmp_path / "out/report.csv")
    assert written["doubt"][0] == front.doubt
    assert "," + str(front.broken_rules) + "," in (tmp_path / "out/report.csv").read_text()


def test_other_models_have_signs_and_no_doubt(tmp_path):
    write_xray(tmp_path / "a_pa.dcm", (40, 48))
    (row,) = predict(Threshold(), tmp_path / "a_pa.dcm", tmp_path / "out").itertuples()
    assert math.isnan(row.doubt)
    assert row.broken_rules > 0
    others = Threshold()
    others.labels = LabelSet([f"structure {i}" for i in range(166)])
    report = predict(others, tmp_path / "a_pa.dcm", tmp_path / "other")
    assert report["status"].tolist() == ["ok"]
    assert report[DOUBT_COLUMNS].isna().all(axis=None)


def test_films_with_flags_come_first_and_unknown_ones_last():
    report = pd.DataFrame(
        {
            "file": list("abcdefg"),
            "status": ["ok", "ok", "skipped", "failed", "ok", "ok", "pending"],
            "flags": ["", "inverted", "", "", "rotated", "", ""],
            "doubt": [0.2, 0.1, 0.3, math.nan, 0.4, math.nan, math.nan],
        }
    )
    assert "".join(by_doubt(report)["file"]) == "ebcaf"


@pytest.mark.slow
def test_doubt_rises_with_damage_on_the_example_films():
    """By the open model: the mean over the three frontal films."""
    model = load_model(find_weights("open"), "cpu")
    estimate = Estimate.of(model.weights_digest())
    assert estimate is not None
    inspector, rng = Inspector(model), np.random.default_rng(0)
    means = []
    for strength in range(3):
        doubts = []
        for path in EXAMPLES.glob("*frontal*"):
            pixels = read_image(path).pixels
            if strength:
                pixels = cv2.GaussianBlur(pixels, (0, 0), 0.012 * strength * pixels.shape[1])
                pixels = (pixels + rng.normal(0, 0.1 * strength, pixels.shape)).clip(0, 1)
            inputs = model.preprocess(pixels.astype(np.float32))[None]
            (coarse,), (mirrored,) = model.coarse_logits(inputs), inspector.mirrored(inputs)
            doubts.append(estimate(inspector(coarse, mirrored, "frontal")))
        means.append(np.mean(doubts))
    assert means[0] < means[1] < means[2]
    assert means[0] < 0.15
