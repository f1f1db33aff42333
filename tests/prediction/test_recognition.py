"""Views and flags: from true masks of phantoms, from the open model on real films, in reports."""

import json

import cv2
import numpy as np
import pytest
import torch
from helpers.phantoms import phantom
from helpers.threshold_model import Threshold
from PIL import Image

from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, swap_sides
from paxray_lib.measurement.tables import failures, measure_predictions
from paxray_lib.models import load_model
from paxray_lib.models.named import find_weights
from paxray_lib.prediction.doubt import Signs
from paxray_lib.prediction.predict import predict
from paxray_lib.prediction.recognition import Found, Recognizer
from paxray_lib.utils import Manifest


class Blind(Threshold):
    """Finds nothing in an image that is turned, so that the masks at hand decide."""

    def coarse(self, images):
        return torch.full((len(images), 166, *images.shape[2:]), -9.0) + self.weight


def found_in(image, masks):
    inputs = np.repeat(image[None] / np.float32(255), 3, axis=0)
    return Recognizer(Blind())(inputs, masks)


@pytest.mark.parametrize("case", range(4))
def test_phantoms_and_their_mirror_images(case):
    for view, (image, masks) in phantom(0, case, 128).items():
        found = found_in(image, masks)
        name, probability = found.recognized()
        assert (name, found.flags) == (view, ())
        assert probability > 0.8
        mirrored = PackedMasks(masks.data[:, ::-1], masks.labels)
        if view == "frontal":  # a network that knows mirror images calls sides by the image
            mirrored = PackedMasks(swap_sides(mirrored.data, masks.labels), masks.labels)
        found = found_in(image[:, ::-1].copy(), mirrored)
        assert found.recognized()[0] == view
        if view == "lateral":
            assert found.flags == ()
        else:
            middle = masks.union("heart").nonzero()[1].mean() / 128
            assert found.flags == (("mirrored",) if middle > 0.54 else found.flags)


def test_inverted_and_turned_phantoms():
    image, masks = phantom(0, 0, 128)["frontal"]
    assert found_in(255 - image, masks).flags == ("inverted",)
    for degrees, flags in ((5, ()), (20, ("rotated",)), (-20, ("rotated",))):
        turn = cv2.getRotationMatrix2D((64, 64), degrees, 1)
        planes = [
            cv2.warpAffine(plane.view(np.uint8), turn, (128, 128), flags=cv2.INTER_NEAREST) > 0
            for plane in masks.unpack()
        ]
        turned = PackedMasks.pack(np.array(planes), masks.labels)
        assert found_in(cv2.warpAffine(image, turn, (128, 128)), turned).flags == flags


def test_noise_is_no_film_whatever_its_masks():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    found = found_in(noise, phantom(0, 0, 128)["frontal"][1])
    assert found == Found(flags=("not_a_chest_film",))


def test_labels_that_tell_nothing_get_no_flags():
    model = Threshold()
    model.labels = LabelSet(["left lung", "bone"])
    assert Recognizer(model).needed == []
    masks = PackedMasks(np.zeros((8, 8, 1), np.uint8), model.labels)
    assert Recognizer(model)(np.zeros((3, 8, 8), np.float32), masks, "frontal") == Found("frontal")


def test_found_comes_back_from_plain_values():
    signs = Signs(0.5, 1, 3, 0, 2, 400, 34)
    found = Found("lateral", 0.25, ("rotated", "inverted"), signs, "no spacing")
    assert Found.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Found.from_dict({"told": "x", "frontal": "much", "flags": [["a"], 3]}) == Found()
    plain = signs.to_dict()
    for wrong in (3, {}, plain | {"margin": 2}, plain | {"missing": -1}, plain | {"rules": True}):
        assert Found.from_dict({"signs": wrong, "note": wrong}) == Found()
    assert Found.from_dict({}) == Found()


@pytest.fixture
def noise(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_flags_are_known_again_and_hide_the_numbers(noise, tmp_path):
    for status in ("ok", "skipped"):
        report = predict(Threshold(), noise, tmp_path / "out", labels="heart")
        (row,) = report.itertuples()
        assert (row.status, row.flags, row.view) == (status, "not_a_chest_film", "")
        assert np.isnan(row.view_probability)
        hidden = measure_predictions(tmp_path / "out", report)
        assert hidden["heart_area_px"].isna().all()
        assert "flagged not a chest film" in hidden["problem"][0]
        assert failures(hidden) == []
        shown = measure_predictions(tmp_path / "out", report, doubtful=True)
        assert shown["heart_area_px"].notna().all()
        assert shown["problem"].isna().all()
    # only the labels that were asked for are written
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.about("a.pxm")["flags"] == ["not_a_chest_film"]
    assert PackedMasks.read(tmp_path / "out/a.pxm").labels.names == ("heart",)


def test_what_is_told_counts_more(noise, tmp_path):
    for options in ({"view": "lateral"}, {"views": {str(noise): "lateral"}}):
        (row,) = predict(Threshold(), noise, tmp_path / "out", **options).itertuples()
        assert row.view == "lateral"
        assert np.isnan(row.view_probability)


@pytest.mark.slow
def test_real_films_by_the_open_model(real_data, tmp_path):
    try:
        model = load_model(find_weights("open"), "cpu")
    except FileNotFoundError:
        pytest.skip("the open model is not there yet")
    folder = tmp_path / "films"
    folder.mkdir()
    front = read_image(real_data / "cxr/hannover_pa_0957ce54.png").pixels
    side = read_image(real_data / "cxr/cc0_lateral_normal_haggstrom.jpg").pixels[::4, ::4]
    films = {
        "a": (front, "frontal", ""),
        "b": (front[:, ::-1], "frontal", "mirrored"),
        "c": (front[::-1, ::-1], "frontal", "upside_down"),
        "d": (1 - front, "frontal", "inverted"),
        "e": (np.rot90(front), "frontal", "rotated"),
        "f": (side, "lateral", ""),
        "g": (side[:, ::-1], "lateral", ""),
    }
    for name, (pixels, _, _) in films.items():
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{name}.png")
    report = predict(model, folder, tmp_path / "out")
    assert report["view"].tolist() == [view for _, view, _ in films.values()]
    assert report["flags"].tolist() == [flags for _, _, flags in films.values()]
    assert (report["view_probability"] > 0.8).all()
