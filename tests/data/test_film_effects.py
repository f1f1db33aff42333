import numpy as np
import pytest
import torch

from paxray_lib.data.augmentation import AugmentConfig, augment, draw
from paxray_lib.data.film_effects import EFFECTS, apply_effects, change_tones, invert
from paxray_lib.labels.table import LabelSet


@pytest.fixture
def image() -> np.ndarray:
    y, x = np.mgrid[:96, :128] / 128
    waves = 0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y)
    return np.where(x > 0.7, 0.2, waves).astype(np.float32)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_each_effect_changes_what_is_seen_and_keeps_its_shape(effect, image):
    for seed in range(5):
        original = image.copy()
        changed = effect(image, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert np.isfinite(changed).all()
        assert np.array_equal(image, original)  # the argument is not written to
    assert np.abs(np.clip(changed, 0, 1) - image).max() > 0.01


def test_effects_depend_on_the_seed_alone(image):
    pixels = torch.from_numpy(image)
    one, again, other = (apply_effects(pixels, seed, 1.0) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.dtype == torch.float32
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(apply_effects(pixels, 3, 0.0), pixels)


def test_tones_stay_in_order(image):
    rows = np.argsort(image, axis=None)
    changed = change_tones(image, np.random.default_rng(0)).ravel()[rows]
    assert (np.diff(changed) >= 0).all()
    assert np.allclose(invert(invert(image, None), None), image)


def test_effects_move_no_mask_and_shift_no_other_draw(image):
    bits = torch.randint(0, 255, (64, 64, 1), dtype=torch.uint8)
    pixels, labels = torch.rand(64, 64), LabelSet([*"abcdefgh"])
    plain = AugmentConfig(image_size=64, crop_size=48, rotate_degrees=9, zoom=0.2, flip_prob=0.5)
    film = AugmentConfig(**{**vars(plain), "film": 1.0})
    drawn = [draw(np.random.default_rng(5), config, "lateral") for config in (plain, film)]
    one, other = (augment(params, pixels, bits, labels) for params in drawn)
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])
