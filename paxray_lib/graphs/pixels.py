"""A model that takes the gray pixels of films of any size: preprocessing is a part of it.

Each axis is resized by a matrix, which is made for the size at hand, in whole numbers: exact for
films of any size. It does what `images.preprocessing` does, but for rounding.
"""

import torch
from torch import Tensor, nn

from paxray_lib.images.preprocessing import LEAST_STD
from paxray_lib.models.segmenter import AnatomySegmenter

# a part of a pixel's side that OpenCV leaves out where it averages areas: one thousandth
_LEAST_PART = 1000


class FromPixels(nn.Module):
    """A model from pixels to logits and probabilities, both at the network's own size (h, w).

    It also gives what the network proper takes and makes, see `network`.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, model: AnatomySegmenter):
        super().__init__()
        self.model = model
        for name, values in zip(("scale", "offset"), model.preprocessing.affine(), strict=True):
            self.register_buffer(name, torch.from_numpy(values)[:, None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return (N, L, h, w) float32 logits, and their sigmoid times 255 as uint8; two more.

        `pixels` are (N, H, W) uint8, high values bright.
        """
        preprocessing = self.model.preprocessing
        kind, size = preprocessing.kind, preprocessing.size
        gray = pixels.float() / 255
        if kind == "cxas":
            for axis, side in enumerate(size, 1):
                gray = gray.index_select(axis, _nearest(gray.shape[axis], side))
        else:
            averaged = kind != "published"
            rows, columns = (
                _resizing(gray.shape[axis], side, averaged) for axis, side in enumerate(size, 1)
            )
            gray = rows @ (gray @ columns.T)  # (N, h, w)
        if kind == "per_image":
            # the network takes a film of little contrast tenfold: a mean of 32 bits would show
            exact = gray.double()
            exact = exact - exact.mean((1, 2), keepdim=True)
            std = exact.square().mean((1, 2), keepdim=True).sqrt()
            gray = (exact / (std + LEAST_STD)).float()
        inputs = gray[:, None] * self.scale + self.offset  # (N, 3, h, w)
        padded = self.model.pad(inputs)
        coarse = self.model.network(padded)
        logits = self.model.upsample(coarse, size)
        return logits, (logits.sigmoid() * 255).round().to(torch.uint8), padded, coarse


def _nearest(source: int, target: int) -> Tensor:
    return torch.div(torch.arange(target) * source, target, rounding_mode="floor")


def _resizing(source: int, target: int, averaged: bool) -> Tensor:
    """Return the (target, source) float32 matrix that resizes an axis.

    It interpolates linearly, but if `averaged` and the axis shrinks, each new pixel is the mean of
    what it covers.
    """
    new, old = torch.arange(target)[:, None], torch.arange(source)[None]
    # centres of new pixels, in parts of an old one's side: 2 * target
    centres = ((2 * new + 1) * source - target).clamp(min=0)
    centres = torch.minimum(centres, 2 * target * (old[:, -1:]))
    linear = (2 * target - (centres - 2 * target * old).abs()).clamp(min=0).float() / (2 * target)
    if not averaged:
        return linear
    # what both cover, in parts: an old pixel has `target` of them, a new one `source`
    ends = torch.minimum((new + 1) * source, (old + 1) * target)
    covered = (ends - torch.maximum(new * source, old * target)).clamp(min=0)
    covered = covered * (covered * _LEAST_PART > target)
    length = old[:, -1:] + 1  # `source`, also in a graph
    return torch.where(length > target, covered.float() / length, linear)
