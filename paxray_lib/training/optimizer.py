"""The optimizer of a training, and its learning rate at each step."""

import math

import torch

from paxray_lib.training.config import TrainConfig


def make_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW as published: any "bias" learns at twice the rate and does not decay."""
    other, bias = (
        [parameter for name, parameter in model.named_parameters() if ("bias" in name) == is_bias]
        for is_bias in (False, True)
    )
    rate = config.learning_rate
    groups = [
        {"params": other, "base_lr": rate, "weight_decay": config.weight_decay},
        {"params": bias, "base_lr": 2 * rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, steps_per_epoch: int
) -> None:
    """Set the rate of each group for a global step (counted from 0)."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * lr_factor(config, step, steps_per_epoch)


def lr_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the factor on the base learning rate at a global step (counted from 0).

    >>> [lr_factor(TrainConfig(lr_milestones=(1,)), step, 10) for step in (9, 10)]
    [1.0, 0.1]
    """
    if config.schedule == "multistep":
        passed = sum(step // steps_per_epoch >= epoch for epoch in config.lr_milestones)
        return config.lr_gamma**passed
    # one cycle: a fifth of the steps up from 0.04, then half a cosine down; chosen by eye
    total = config.epochs * steps_per_epoch
    rising = max(1, round(0.2 * total))
    if step < rising:
        return 0.04 + 0.96 * step / rising
    return max(1e-3, 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, total - rising)))
