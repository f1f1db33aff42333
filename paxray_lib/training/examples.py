"""What a lesson shows of a training: an augmented sample, and the loss of given masks."""

import dataclasses
import math

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from paxray_lib.data.augmentation import apply, draw
from paxray_lib.data.dataset import Sample
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.losses import dice_bce


def augment(sample: Sample, config: TrainConfig, seed: int = 0) -> Sample:
    """Return a sample as `fit` may show it to the network: resized, cropped, and so on."""
    if sample.masks is None:
        raise ValueError(f"{sample.name}: no masks; choose a sample with a target")
    params = draw(np.random.default_rng(seed), config, sample.view)
    image, masks = apply(params, sample.image, sample.masks)
    return dataclasses.replace(sample, image=image, masks=masks)


def loss_of_masks(
    guess: PackedMasks, truth: PackedMasks, kind: str = "present", certainty: float = 0.9999
) -> dict[str, float]:
    """Return what the loss would be if a network were certain of the masks `guess`.

    `certainty` is the probability of what the guess says of each pixel and label. The two terms
    are cross_entropy and dice, of the `kind` that `dice_bce` has; loss is their sum.
    """
    said, target = (torch.from_numpy(m.unpack())[None].float() for m in (guess, truth))
    logits = (2 * said - 1) * math.log(certainty / (1 - certainty))  # (1, L, h, w)
    entropy = binary_cross_entropy_with_logits(logits, target).item()
    loss = dice_bce(logits, target, kind).item()
    return {"cross_entropy": entropy, "dice": loss - entropy, "loss": loss}
