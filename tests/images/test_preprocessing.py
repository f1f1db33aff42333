"""Resizing and preprocessing of images, ours and the published one."""

import json

import numpy as np
import pytest
import torch
from helpers.pixels import same
from helpers.sampledata import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image, read_image

REFERENCE = ROOT / "tests/reference"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# ---------------------------------------------------------------- resizing

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def area_oracle(pixels, size):
    """Area mean along shrinking axes, bilinear along growing ones, in float64."""

    def weights(n, m):
        if m > n:
            x = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
            return np.maximum(0, 1 - np.abs(x[:, None] - np.arange(n)))
        low, high = np.arange(m) * n / m, (np.arange(m) + 1) * n / m
        cover = np.minimum(high[:, None], np.arange(n) + 1) - np.maximum(low[:, None], np.arange(n))
        return np.maximum(0, cover) * m / n

    return weights(pixels.shape[0], size[0]) @ pixels @ weights(pixels.shape[1], size[1]).T


@settings(max_examples=80, deadline=None)
@given(source=sizes, size=sizes, seed=st.integers(0, 99))
def test_resize_against_torch_and_area(source, size, seed):
    pixels = np.random.default_rng(seed).random(source, dtype=np.float32)
    plain = Preprocessing("published", size).resize(pixels)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None, None], size, mode="bilinear"
    )[0, 0].numpy()
    assert plain.shape == size
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain, wanted, atol=5e-6)
    np.testing.assert_allclose(
        Preprocessing("standard", size).resize(pixels), area_oracle(pixels, size), atol=5e-6
    )


@pytest.mark.parametrize("source", [(300, 420), (512, 512), (1500, 1400), (2453, 1769), (3001, 17)])
def test_published_resize_equals_torch_at_512(source):
    pixels = np.random.default_rng(0).integers(0, 256, source).astype(np.float32) / 255
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None, None], (512, 512), mode="bilinear"
    )[0, 0]
    np.testing.assert_allclose(
        Preprocessing("published", (512, 512)).resize(pixels), wanted.numpy(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("source", [(300, 420), (512, 512), (2453, 1769), (3001, 17)])
def test_cxas_normalizes_and_takes_the_nearest_pixel_as_torch(source):
    pixels = np.random.default_rng(0).random(source, dtype=np.float32)
    preprocessing = Preprocessing("cxas")
    wide = torch.from_numpy(preprocessing.normalize(pixels))[None]
    wanted = torch.nn.functional.interpolate(wide, (512, 512), mode="nearest")[0].numpy()
    np.testing.assert_array_equal(preprocessing(pixels), wanted)


def test_antialias_keeps_fine_lines_gray():
    lines = np.tile(np.array([0, 1], np.float32), (64, 64))  # one-pixel lines
    assert np.ptp(Preprocessing("standard", (16, 16)).resize(lines)) < 1e-6


def test_resize_does_not_change_its_input():
    pixels = np.random.default_rng(0).random((9, 7), dtype=np.float32)
    before = pixels.copy()
    Preprocessing("standard", (9, 7)).resize(pixels)[:] = 0
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("shape", [(0, 4), (3, 4, 5), (4,)])
def test_resize_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="one grayscale image"):
        Preprocessing("published", (8, 8)).resize(np.zeros(shape, np.float32))


# ---------------------------------------------------------------- preprocessing


@pytest.fixture(scope="module")
def published():
    return json.loads((REFERENCE / "published_preprocessing.json").read_text())


@pytest.fixture(scope="module")
def formula():
    return read_image(REFERENCE / "formula_300x420.png")


def test_reference_image_is_the_formula(formula):
    y, x = np.mgrid[:300, :420]
    same(formula.pixels, (3 * x + 5 * y + (x * y) // 50) % 256, 255)


def test_published_resize_equals_the_reference(published, formula):
    wanted = published["inference"]
    raw = Preprocessing("published").resize(formula.pixels) * np.float32(255)
    for y, x, value in wanted["samples_y_x_value_channel0"]:
        assert raw[y, x] == pytest.approx(value, rel=1e-6)
    stats = wanted["stats"]
    assert raw.mean(dtype=np.float64) == pytest.approx(stats["mean"], rel=1e-6)
    # the reference may divide by n - 1
    assert raw.std(dtype=np.float64) == pytest.approx(stats["std"], rel=1e-5)
    # libraries round otherwise
    assert (raw.min(), raw.max()) == pytest.approx((stats["min"], stats["max"]), rel=1e-5)


def test_published_input_equals_the_reference(published, formula):
    wanted = published["val_or_test_sample_with_pt_pretrained"]
    tensor = Preprocessing("published")(formula)
    assert (list(tensor.shape), tensor.dtype) == (wanted["stats"]["shape"], np.float32)
    for y, x, *values in wanted["samples_y_x_c0_c1_c2"]:
        assert tensor[:, y, x].tolist() == pytest.approx(values, rel=1e-6)
    assert tensor.mean(dtype=np.float64) == pytest.approx(wanted["stats"]["mean"], rel=1e-6)
    assert tensor.min() == pytest.approx(wanted["stats"]["min"], rel=1e-6)
    assert tensor.max() == pytest.approx(wanted["stats"]["max"], rel=1e-6)


def test_published_gives_back_8_bit_integers_exactly():
    ramp = np.arange(256, dtype=np.float32).reshape(16, 16)
    tensor = Preprocessing("published", (16, 16))(ramp / np.float32(255))
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    np.testing.assert_array_equal(tensor, (ramp - mean[:, None, None]) / std[:, None, None])


def test_standard_is_normalized_from_0_to_1():
    tensor = Preprocessing("standard", (4, 6))(Image(np.full((9, 9), 0.5, np.float32)))
    assert tensor.shape == (3, 4, 6)
    wanted = [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]
    np.testing.assert_allclose(tensor[:, 0, 0], wanted, rtol=1e-5)


def test_per_image_exposure_and_contrast_go(rng):
    preprocessing = Preprocessing("per_image", (16, 16))
    pixels = rng.random((40, 30), dtype=np.float32)
    found = preprocessing(pixels)
    assert found.shape == (3, 16, 16)
    assert np.allclose(found.mean((1, 2)), 0, atol=1e-6)
    assert np.allclose(found.std((1, 2)), 1, atol=0.02)
    # a darker film of half the contrast
    np.testing.assert_allclose(preprocessing(0.1 + 0.5 * pixels), found, atol=0.06)
    resized = Preprocessing("standard", (16, 16)).resize(pixels)
    wanted = (resized - resized.mean()) / (resized.std() + 1e-3)
    np.testing.assert_allclose(found[1], wanted, atol=1e-5)
    assert not preprocessing(np.full((9, 9), 0.3, np.float32)).any()
    both = preprocessing.normalize(np.stack([resized, resized / 2]))
    np.testing.assert_allclose(both[0], found, atol=1e-6)


@pytest.mark.parametrize("kind", ["published", "standard"])
def test_affine_and_batches_equal_normalize(kind, rng):
    preprocessing = Preprocessing(kind, (8, 8))
    batch = rng.random((5, 8, 8), dtype=np.float32)
    scale, offset = preprocessing.affine()
    assert (scale.shape, offset.shape, scale.dtype) == ((3,), (3,), np.float32)
    normalized = preprocessing.normalize(batch)
    assert normalized.shape == (5, 3, 8, 8)
    fused = batch[:, None] * scale[:, None, None] + offset[:, None, None]
    np.testing.assert_allclose(normalized, fused, rtol=2e-6, atol=1e-5)
    np.testing.assert_array_equal(normalized[2], preprocessing(batch[2]))


@pytest.mark.parametrize("kind", ["published", "standard", "per_image"])
@pytest.mark.parametrize(
    "pixels",
    [
        np.full((8, 8), 7, np.uint8),
        np.full((8, 8), 7, np.float32),
        np.full((8, 8), -0.5),
        np.full((8, 8), np.nan, np.float32),
    ],
)
def test_values_outside_0_to_1_are_refused(kind, pixels):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Preprocessing(kind, (8, 8))(pixels)


def test_dict_round_trip_through_json():
    original = Preprocessing("published", (480, 512))
    assert Preprocessing.from_dict(json.loads(json.dumps(original.to_dict()))) == original
    assert Preprocessing() == Preprocessing("standard", (512, 512))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "publshed", "size": [512, 512]}, "did you mean 'published'"),
        ({"kind": None, "size": [512, 512]}, "preprocessing kind None"),
        ({"kind": ["published"], "size": [512, 512]}, "preprocessing kind"),
        ({"kind": "published"}, "exactly kind and size"),
        ({"kind": "published", "size": [8, 8], "scale": 1}, "exactly kind and size"),
        (None, "exactly kind and size"),
        ({"kind": "published", "size": [512]}, "two positive whole numbers"),
        ({"kind": "published", "size": [0, 5]}, "two positive whole numbers"),
        ({"kind": "published", "size": [5.0, 5]}, "two positive whole numbers"),
        ({"kind": "published", "size": 512}, "two positive whole numbers"),
    ],
)
def test_from_dict_is_strict(values, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(values)
