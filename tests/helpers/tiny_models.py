"""Networks so small that they cost little."""

import torch
from helpers.sampledata import TINY

from paxray_lib.labels.table import LabelSet
from paxray_lib.models.build import build_model
from paxray_lib.models.segmenter import AnatomySegmenter

NAMES = LabelSet(["heart", "mediastinum_upper", "mediastinum_upper"])


def tiny_model(architecture="unet", labels=NAMES, preprocessing=None, seed=0) -> AnatomySegmenter:
    """Return a network with the smallest encoder of timm and random weights, in training mode."""
    torch.manual_seed(seed)
    return build_model(architecture, labels, TINY, preprocessing=preprocessing)


def random_images(*shape: int) -> torch.Tensor:
    """Return normally distributed images, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
