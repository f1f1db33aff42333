"""The model type: a network with its labels and preprocessing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.published import PUBLISHED

# Architecture: the number that heights and widths must be a multiple of, and the least size. smp's
# decoders fail at other sizes, all but the U-Net; `pan` halves its smallest map three times.
_SIZES = {PUBLISHED: (1, 1), "pan": (32, 128)}

#: What networks raise at a wrong size that take one size only, as many transformers of timm do.
WRONG_SIZE = (AssertionError, RuntimeError)


class AnatomySegmenter(nn.Module):
    """A segmentation network with its label names and its preprocessing.

    Attributes
    ----------
    network : the network proper; its `state_dict` is what a checkpoint holds
    config : what rebuilds it: `architecture`, `encoder`, and `head_stride` for a U-Net
    labels : one label per channel of the logits, L in all
    preprocessing : how an image becomes the network's input
    optimized : whether this is a copy for inference, which cannot be saved
    """

    def __init__(
        self,
        network: nn.Module,
        config: Mapping[str, Any],
        labels: LabelSet,
        preprocessing: Preprocessing,
    ):
        super().__init__()
        self.network, self.config = network, dict(config)
        self.labels, self.preprocessing = labels, preprocessing
        self.optimized = False

    @property
    def name(self) -> str:
        """For people: `paxray_unet`, `unet-resnet18`."""
        architecture, encoder = self.config["architecture"], self.config["encoder"]
        return architecture if architecture == PUBLISHED else f"{architecture}-{encoder}"

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32 from an Image, or (H, W) float in 0..1."""
        return self.preprocessing(image)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, h, w) from preprocessed images (N, 3, h, w) of any size."""
        return self.upsample(self.coarse(images), images.shape[-2:])

    def coarse(self, images: Tensor) -> Tensor:
        """Return the logits of the last convolution, before `upsample`: the cheap form to keep."""
        height, width = images.shape[-2:]
        bottom, right = self.padded(height, width)
        if (bottom, right) != (height, width):
            # replicate: zeros would be an edge that no X-ray has, and reflection needs an image
            # larger than the border
            images = functional.pad(images, (0, right - width, 0, bottom - height), "replicate")
        return self.network(images)

    def upsample(self, coarse: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return logits (N, L, h, w) from `coarse`, for images of `size` = (h, w)."""
        padded = self.padded(*size)
        if coarse.shape[-2:] != padded:
            coarse = functional.interpolate(coarse, padded, mode="bilinear", align_corners=False)
        # a slice of everything would still cost a fill and a copy of the gradient
        return coarse if padded == size else coarse[..., : size[0], : size[1]]

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width at which the network runs for images of the given size."""
        multiple, least = _SIZES.get(self.config["architecture"], (32, 32))
        down, across = (max(least, -(-n // multiple) * multiple) for n in (height, width))
        return down, across
