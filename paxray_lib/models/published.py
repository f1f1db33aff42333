"""The published PAXRay network: a ResNet-50 with a U-Net head.

Seibold et al., BMVC 2022, arXiv 2210.03416. Module names and layer sizes are those of the released
checkpoints, so that their weights load by name. Two facts of the published code need care when
reading this file: the skip comes first in every concatenation, and the convolutions of the head
have a bias although a BatchNorm follows.
"""

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

LAST_LAYER = "head.out.conv.weight"  # (L, 128, 1, 1): a file's number of labels


class PublishedUNet(nn.Module):
    """The network that the published code calls `unet` with `resnet50`.

    It has 73,381,094 parameters for 166 labels, L.

    Notes
    -----
    The published code enlarges the 128 feature maps to the input's size and then applies the last
    1x1 convolution. Both are linear and bilinear weights sum to one, so they commute: here the
    convolution comes first, at a sixteenth of the pixels. Values and gradients are the same up to
    rounding.
    """

    def __init__(self, num_labels: int):
        super().__init__()
        resnet = torchvision.models.resnet50(weights=None)
        stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        layers = {f"layer{i}": resnet.get_submodule(f"layer{i}") for i in range(1, 5)}
        self.backbone: Any = _named(backbone=_named(layer0=stem, **layers))
        self.head: Any = _named(
            up1=_FirstUp(),
            up2=_named(conv=_double_conv(1024, 256)),
            up3=_named(conv=_double_conv(512, 64)),
            up4=_named(conv=_double_conv(128, 128)),
            out=_named(conv=nn.Conv2d(128, num_labels, kernel_size=1)),
        )

    def features(self, images: Tensor) -> Tensor:
        """Return the 128 maps (N, 128, h/4, w/4) that the last convolution reads."""
        maps = [images]
        for stage in self.backbone.backbone:
            maps.append(stage(maps[-1]))
        # 64, 256, 512, 1024 and 2048 channels at strides 4, 4, 8, 16 and 32
        d1, d2, d3, d4, d5 = maps[1:]
        x = self.head.up1(d5, d4)  # (N, 512, h/16, w/16)
        x = self.head.up2(_concatenate(d3, x))  # (N, 256, h/8, w/8)
        x = self.head.up3(_concatenate(d2, x))  # (N, 64, h/4, w/4)
        return self.head.up4(_concatenate(d1, x))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, ceil(h / 4), ceil(w / 4)) from images (N, 3, h, w) of any size."""
        return self.head.out(self.features(images))

    @property
    def encoder(self) -> nn.Module:
        """The layers of the ResNet-50 under torchvision's names."""
        (conv, norm, *_), *layers = self.backbone.backbone
        stages = {f"layer{i}": layer for i, layer in enumerate(layers, 1)}
        return nn.ModuleDict({"conv1": conv, "bn1": norm, **stages})


class _FirstUp(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = _named(conv=_conv_norm_relu(2048, 1024))
        self.conv2 = _double_conv(2048, 512)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv2(_concatenate(skip, self.conv1(x)))


def _named(**module: nn.Module) -> nn.Sequential:
    """Wrap modules in order, so that their names in the state dict are the published ones."""
    return nn.Sequential(OrderedDict(module))


def _double_conv(channels: int, out: int) -> nn.Sequential:
    middle = channels // 2
    layers = [*_conv_norm_relu(channels, middle), *_conv_norm_relu(middle, out)]
    return _named(double_conv=nn.Sequential(*layers))


def _conv_norm_relu(channels: int, out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel_size=3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def _concatenate(skip: Tensor, x: Tensor) -> Tensor:
    size = skip.shape[-2:]
    if x.shape[-2:] != size:  # for `up4` both maps have stride 4
        x = functional.interpolate(x, size, mode="bilinear", align_corners=False)
    return torch.cat([skip, x], dim=1)
