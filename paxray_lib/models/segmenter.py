"""The model type: a network with its labels and preprocessing."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.published import PUBLISHED, PublishedUNet

# smp's decoders fail at other sizes, all but the U-Net; `pan` halves its smallest map three times
_MULTIPLE, _LEAST_SIZE = 32, {"pan": 128}


class AnatomySegmenter(nn.Module):
    """A segmentation network with its label names and its preprocessing.

    Attributes
    ----------
    network : nn.Module
        The network proper; its `state_dict` is what a checkpoint holds.
    config : dict
        What rebuilds the network: `architecture`, `encoder`, and `head_stride` for a U-Net.
    labels : LabelSet
        One label for each of the L channels of the logits.
    preprocessing : Preprocessing
        How an image becomes the network's input.
    name : str
        For people: `paxray_unet`, `unet-resnet18`.
    """

    def __init__(
        self, network: nn.Module, config: Mapping, labels: LabelSet, preprocessing: Preprocessing
    ):
        super().__init__()
        self.network = network
        self.config = dict(config)
        self.labels = labels
        self.preprocessing = preprocessing
        self.optimized = False

    @property
    def name(self) -> str:
        """For people: the architecture, and the encoder where there is a choice."""
        architecture = self.config["architecture"]
        return (
            architecture
            if architecture == PUBLISHED
            else f"{architecture}-{self.config['encoder']}"
        )

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32 from an image, or pixels (H, W) float in
        0..1.
        """
        return self.preprocessing(image)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, h, w) from preprocessed images (N, 3, h, w) of any size; dtype is
        the network's.
        """
        return self.upsample(self.coarse(images), images.shape[-2:])

    def coarse(self, images: Tensor) -> Tensor:
        """Return the logits at the resolution of the last convolution, before `upsample`: the cheap
        form to keep.
        """
        height, width = images.shape[-2:]
        padded_height, padded_width = self.padded(height, width)
        if (padded_height, padded_width) != (height, width):
            # replicate: zeros would be an edge that no X-ray has; reflection needs an image larger
            # than the border
            images = functional.pad(
                images, (0, padded_width - width, 0, padded_height - height), mode="replicate"
            )
        return (
            self.network.coarse(images)
            if isinstance(self.network, PublishedUNet)
            else self.network(images)
        )

    def upsample(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits (N, L, h, w) for `size` = (h, w) of the images that `coarse` was computed
        from.
        """
        padded = self.padded(*size)
        if coarse.shape[-2:] != padded:
            coarse = functional.interpolate(coarse, padded, mode="bilinear", align_corners=False)
        # a slice of everything would still cost a fill and a copy of the gradient
        return coarse if padded == tuple(size) else coarse[..., : size[0], : size[1]]

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width at which the network runs for images of the given size."""
        if isinstance(self.network, PublishedUNet):
            return height, width
        least = _LEAST_SIZE.get(self.config["architecture"], _MULTIPLE)
        return tuple(max(least, -(-n // _MULTIPLE) * _MULTIPLE) for n in (height, width))
