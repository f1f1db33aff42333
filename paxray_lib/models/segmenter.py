"""The model type: a network with its labels and preprocessing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from paxray_lib.images.image import Image
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.config import COUNTER, model_name, padded_size
from paxray_lib.models.digest import weights_digest


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
        return model_name(self.config)

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32 from an Image, or (H, W) float in 0..1."""
        return self.preprocessing(image)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, h, w) from preprocessed images (N, 3, h, w) of any size."""
        return self.upsample(self.coarse(images), images.shape[-2:])

    def coarse(self, images: Tensor) -> Tensor:
        """Return the logits of the last convolution, before `upsample`: the cheap form to keep."""
        return self.network(self.pad(images))

    def pad(self, images: Tensor) -> Tensor:
        """Return images of the size at which the network runs, see `padded`."""
        height, width = images.shape[-2:]
        bottom, right = self.padded(height, width)
        if (bottom, right) == (height, width):
            return images
        # replicate: zeros would be an edge that no X-ray has, and reflection needs an image larger
        # than the border
        return functional.pad(images, (0, right - width, 0, bottom - height), "replicate")

    def upsample(self, coarse: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return logits (N, L, h, w) from `coarse`, for images of `size` = (h, w)."""
        padded = self.padded(*size)
        if coarse.shape[-2:] != padded:
            coarse = functional.interpolate(coarse, padded, mode="bilinear", align_corners=False)
        # a slice of everything would still cost a fill and a copy of the gradient
        return coarse if padded == size else coarse[..., : size[0], : size[1]]

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width at which the network runs for images of the given size."""
        return padded_size(self.config, height, width)

    @torch.inference_mode()
    def coarse_logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return `coarse` of arrays, on the model's device, (N, L, h / s, w / s) float32.

        The model is in eval mode meanwhile, so that no image depends on the others. Raises
        MemoryError if the device has too little memory.
        """
        was_training = self.training
        if was_training:  # to set it takes a while, in all parts of it
            self.eval()
        weight = next(self.parameters())
        given = torch.from_numpy(np.ascontiguousarray(inputs))
        try:
            given = given.to(weight.device, weight.dtype, memory_format=torch.channels_last)
            return self.coarse(given).float().cpu().contiguous().numpy()
        except torch.OutOfMemoryError as error:
            # of no class that a network of another size would raise, see `WRONG_SIZE`
            raise MemoryError(". ".join(str(error).split(". ")[:2])) from error
        finally:
            if was_training:
                self.train()

    def weights_digest(self) -> str:
        """Return a fingerprint of the weights."""
        return weights_digest(self.weights().values())

    def weights(self) -> dict[str, Tensor | None]:
        """Return the weights by key, in the network's order; None of BatchNorm's counters."""
        state = self.network.state_dict()
        return {
            key: None if key.endswith(COUNTER) else value
            for key, value in state.items()
            if key.endswith(COUNTER) or value.is_floating_point()
        }
