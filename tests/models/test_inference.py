"""Masks of single images, alone and averaged with the mirrored image."""

import numpy as np
import pytest
import torch
from helpers.threshold_model import Threshold

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image
from paxray_lib.labels.table import LABELS
from paxray_lib.models.inference import predict_image


class Fixed(Threshold):
    """Logits do not depend on the image but on whether it is the mirrored one, whose left column is
    white.
    """

    def __init__(self, upright, mirrored, size=(8, 8)):
        super().__init__(size)
        self.preprocessing = Preprocessing("published", size)  # where strays stay
        self.upright, self.mirrored = (
            torch.as_tensor(a, dtype=torch.float32) for a in (upright, mirrored)
        )

    def coarse(self, images):
        return torch.stack(
            [self.mirrored if image[0, 0, 0] > 0 else self.upright for image in images]
        )


@pytest.mark.parametrize("view", ["frontal", "lateral", None])
def test_mirroring_is_the_mean_of_both_logits_with_sides_swapped_back(view):
    rng = np.random.default_rng(0)
    upright, mirrored = rng.normal(size=(2, 166, 8, 8)).astype(np.float32)
    pixels = np.zeros((8, 8), np.float32)
    pixels[:, -1] = 1
    masks = predict_image(
        Fixed(upright, mirrored), Image(pixels, None, view), threshold=0.6, mirror=True
    )
    cut = np.log(0.6 / 0.4)
    for i, name in enumerate(LABELS.names):
        other = {"frontal": LABELS.mirror[i], "lateral": i, None: None}[view]
        wanted = upright[i]
        # the right middle lobe has no counterpart: the mirrored image does not show where it lies
        if other is not None and not (view == "frontal" and name == "lung_right_lobemiddle"):
            wanted = (upright[i] + mirrored[other][:, ::-1]) / 2
        np.testing.assert_array_equal(masks.unpack()[i], wanted > cut, err_msg=name)


def test_a_network_that_is_symmetric_is_not_changed_by_mirroring():
    class Symmetric(Threshold):
        def coarse(self, images):
            gray = images[:, :1] * 0.229 + 0.485
            return (
                gray
                - torch.rand(166, generator=torch.Generator().manual_seed(0))[None, :, None, None]
            ) * 50

    pixels = np.random.default_rng(1).random((16, 16), np.float32)
    model = Symmetric((16, 16))
    masks = predict_image(model, Image(pixels, None, "lateral"), mirror=True)
    assert masks == predict_image(model, pixels)
