"""Networks so small that they cost little."""

import torch
from helpers.sampledata import TINY

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.build import build_model
from paxray_lib.models.segmenter import AnatomySegmenter

NAMES = LabelSet(["heart", "mediastinum_upper", "mediastinum_upper"])


def tiny_model(architecture="unet", labels=NAMES, preprocessing=None, seed=0) -> AnatomySegmenter:
    """Return a network with the smallest encoder of timm and random weights, in training mode."""
    torch.manual_seed(seed)
    return build_model(architecture, labels, TINY, preprocessing=preprocessing)


class _OneSize(torch.nn.Module):
    def __init__(self, network, size):
        super().__init__()
        self.inner, self.size = network, size

    def forward(self, images):
        assert images.shape[2:] == self.size, f"Input {images.shape} doesn't match {self.size}"
        return self.inner(images)


def one_size(model: AnatomySegmenter, size: tuple[int, int]) -> AnatomySegmenter:
    """Return a model that takes one size only, as encoders with windows or positions do."""
    network = _OneSize(model.network, size)
    return AnatomySegmenter(network, model.config, model.labels, Preprocessing(size=size))


def random_images(*shape: int) -> torch.Tensor:
    """Return normally distributed images, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
