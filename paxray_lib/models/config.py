"""What a model's config (architecture, encoder, head_stride) says without its network."""

from collections.abc import Mapping
from typing import Any

PUBLISHED = "paxray_unet"
# Architecture: the number that heights and widths must be a multiple of, and the least size. smp's
# decoders fail at other sizes, all but the U-Net; `pan` halves its smallest map three times.
_SIZES = {PUBLISHED: (1, 1), "pan": (32, 128)}
#: How names of BatchNorm's counters of batches end, which are no weights.
COUNTER = "num_batches_tracked"
_KINDS = {"architecture": str, "encoder": str, "head_stride": int}  # the last is optional


def check_config(config: Any) -> dict[str, Any]:
    """Return a config that a file has; ValueError if it cannot be one."""
    if not isinstance(config, Mapping) or len(str(config)) > 500:
        raise ValueError(f"config {config!s:.200}")
    if {"head_stride": int} | {key: type(value) for key, value in config.items()} != _KINDS:
        raise ValueError(f"config {config}")
    return dict(config)


def model_name(config: Mapping[str, Any]) -> str:
    """Return a model's name for people: `paxray_unet`, `unet-resnet18`."""
    architecture, encoder = config["architecture"], config["encoder"]
    return architecture if architecture == PUBLISHED else f"{architecture}-{encoder}"


def padded_size(config: Mapping[str, Any], height: int, width: int) -> tuple[int, int]:
    """Return the height and width at which a network runs for images of the given size."""
    multiple, least = _SIZES.get(config["architecture"], (32, 32))
    down, across = (max(least, -(-n // multiple) * multiple) for n in (height, width))
    return down, across
