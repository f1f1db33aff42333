import math

import numpy as np
import pytest
from helpers.sampledata import small_training

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.examples import augment, loss_of_masks


def test_a_sample_is_augmented_as_the_settings_say(tiny, tmp_path):
    config = TrainConfig(**small_training(tiny, tmp_path), resize_prob=1.0)
    sample = PaxrayDataset(tiny, split="train")[0]
    first, again, other = (augment(sample, config, seed) for seed in (0, 0, 1))
    assert first.image.shape == (32, 32)
    assert first.masks.shape == (166, 32, 32)
    assert (first.name, first.view) == (sample.name, sample.view)
    assert np.array_equal(first.masks.data, again.masks.data)
    assert not np.array_equal(first.masks.data, other.masks.data)


@pytest.mark.parametrize("kind", ["present", "published"])
def test_loss_of_masks_orders_guesses_by_quality(kind):
    stack = np.zeros((2, 16, 16), bool)
    stack[0, 4:12, 4:12] = True
    labels = LabelSet(["heart", "aorta"])
    guesses = [stack, np.roll(stack, 2, axis=2), np.zeros_like(stack)]
    truth, *others = (PackedMasks.pack(guess, labels) for guess in guesses)
    losses = [loss_of_masks(guess, truth, kind) for guess in (truth, *others)]
    totals = [loss["loss"] for loss in losses]
    assert totals == sorted(totals)
    assert losses[0]["cross_entropy"] == pytest.approx(-math.log(0.9999), rel=1e-2)
    assert all(loss["loss"] == loss["cross_entropy"] + loss["dice"] for loss in losses)
    if kind == "present":  # the aorta, which does not occur, does not count
        assert losses[0]["dice"] == pytest.approx(0, abs=0.01)
        assert losses[2]["dice"] == pytest.approx(1, abs=0.05)
