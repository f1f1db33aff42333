"""The plain way that other benchmarks compare with: written straightforwardly, as the published
code works.

Planes (NCHW) all through, float targets as large as the logits, the 1x1 convolution after the
upsampling, one tensor a term of the loss, a float metric."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate


class PlainUNet(nn.Module):
    """The published network; its state dict has the order of `PublishedUNet`'s, under other
    names.
    """

    def __init__(self, labels: int):
        import torchvision

        super().__init__()
        net = torchvision.models.resnet50(weights=None)
        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([stem, net.layer1, net.layer2, net.layer3, net.layer4])
        self.first = _block(2048, 1024)
        self.ups = nn.ModuleList(
            [_block(2048, 1024, 512), _block(1024, 512, 256), _block(512, 256, 64)]
        )
        self.ups.append(_block(128, 64, 128))
        self.out = nn.Conv2d(128, labels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, h, w) from images (N, 3, h, w)."""
        maps, x = [], images
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        x = self.first(maps.pop())
        for up in self.ups:
            skip = maps.pop()
            x = up(torch.cat([skip, _enlarge(x, skip)], dim=1))
        return self.out(_enlarge(x, images))

    @classmethod
    def like(cls, network: nn.Module) -> "PlainUNet":
        """Return a network with the weights of a `PublishedUNet`."""
        state = network.state_dict()
        plain = cls(len(state["head.out.conv.weight"]))
        plain.load_state_dict(dict(zip(plain.state_dict(), state.values(), strict=True)))
        return plain.train(network.training)


def _block(*channels: int) -> nn.Sequential:
    layers = []
    for before, after in itertools.pairwise(channels):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def dense(packed: Tensor, labels: int) -> Tensor:
    """Return float targets (N, L, h, w) from packed ones (N, h, w, B)."""
    target = torch.empty(len(packed), labels, *packed.shape[1:3])
    for label in range(labels):
        target[:, label] = (packed[..., label // 8] >> label % 8) & 1
    return target


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the published loss on float targets (N, L, h, w)."""
    probs = logits.sigmoid()  # (N, L, h, w)
    both = (probs * target).sum((1, 2, 3))
    squares = (probs * probs).sum((1, 2, 3)) + (target * target).sum((1, 2, 3))
    dice_loss = 1 - (both + 1) / (squares + 1)
    return binary_cross_entropy_with_logits(logits, target) + dice_loss.mean()


def adamw(model: nn.Module) -> torch.optim.AdamW:
    """Return the published optimizer: biases at twice the rate, without decay."""
    named = list(model.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for name, p in named if "bias" in name], "lr": 2e-3, "weight_decay": 0.0},
            {
                "params": [p for name, p in named if "bias" not in name],
                "lr": 1e-3,
                "weight_decay": 1e-4,
            },
        ],
        betas=(0.9, 0.99),
    )


def scores(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and Dice (N, L) of float masks (N, L, h, w), all labels at once."""
    both = (predicted * target).sum((2, 3))
    union = ((predicted + target) > 0).float().sum((2, 3))
    found = both / (union + 1e-6)
    return found, 2 * found / (1 + found)


def scores_by_label(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `scores` does, a label at a time: its planes stay in the cache."""
    parts = [scores(predicted[:, [i]], target[:, [i]]) for i in range(predicted.shape[1])]
    return tuple(torch.cat(column, dim=1) for column in zip(*parts, strict=True))
