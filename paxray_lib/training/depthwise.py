"""Depthwise convolutions in float32, where a processor trains in bfloat16."""

import contextlib
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


def depthwise_in_float32(device: torch.device) -> contextlib.AbstractContextManager:
    """Keep convolutions in groups of channels in float32 while autocast is on for a CPU.

    In bfloat16 the gradient of a depthwise convolution takes two to four times as long there, see
    benchmarks/LOG.md. Inputs and results have autocast's type, as without this. Elsewhere and in
    float32 it does nothing. It is no change of the network: copies and checkpoints know nothing of
    it.
    """
    active = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return _GroupsInFloat32() if active else contextlib.nullcontext()


class _GroupsInFloat32(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        convolve: Any = torch.conv2d
        kwargs = kwargs or {}
        if function is not convolve or not _in_groups(*args[:2]):
            return function(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            single = [arg.float() if isinstance(arg, torch.Tensor) else arg for arg in args]
            return convolve(*single, **kwargs).to(torch.get_autocast_dtype("cpu"))


def _in_groups(images: Any = None, weight: Any = None, *_: Any) -> bool:
    return weight is not None and weight.shape[1] < images.shape[1]
