"""From logits to packed bits, at one threshold, and to probabilities of 8 bits."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless a threshold lies between 0 and 1."""
    if not 0 < threshold < 1:
        raise ValueError(f"threshold {threshold}: must lie between 0 and 1")


def pack_decisions(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Return the packed bits of ``sigmoid(logits) > threshold`` (strictly, as published).

    The logits are compared with logit(threshold), so that no probabilities are computed.
    A logit that is not a number is not above the threshold.

    Parameters
    ----------
    logits : (N, L, H, W) floating tensor, contiguous or channels-last
    threshold : float in (0, 1)

    Returns
    -------
    (N, H, W, ceil(L / 8)) uint8 tensor on the same device

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1 or the logits are not 4-dimensional.
    """
    check_threshold(threshold)
    if logits.ndim != 4:
        shape = tuple(logits.shape)
        raise ValueError(f"logits must have shape (images, labels, height, width), got {shape}")
    cut = cut_of(threshold, logits.dtype)
    # numpy compares small blocks in a fifth of torch's time, but does not know all of its types
    known_to_numpy = logits.dtype in (torch.float32, torch.float64)
    channels_last = logits.device.type == "cpu" and logits.stride(1) == 1
    pack = _pack_channels_last if channels_last and known_to_numpy else _pack_planes
    return pack(logits.detach(), cut)


def quantize(logits: Tensor) -> Tensor:
    """Return probabilities as uint8 of the same shape: 255 times the sigmoid, rounded."""
    return logits.sigmoid().mul(255).round().byte()


def cut_of(threshold: float, dtype: torch.dtype) -> float:
    """Return the logit of a threshold, as a number of that type."""
    exact = math.log(threshold / (1 - threshold))
    cut = torch.tensor(exact, dtype=dtype)
    if cut.item() > exact:  # rounded up, it could pass over a logit
        cut = torch.nextafter(cut, torch.tensor(-math.inf, dtype=dtype))
    return cut.item()


def _pack_channels_last(logits: Tensor, cut: float) -> Tensor:
    """Pack pixel by pixel, in blocks of rows whose booleans stay in the cache."""
    pixels = logits.permute(0, 2, 3, 1).numpy()  # (N, H, W, L)
    n, height, width, labels = pixels.shape
    packed = np.empty((n, height, width, -(-labels // 8)), np.uint8)
    step = max(1, 2**20 // (width * labels))  # rows of about a megabyte

    def pack(block: tuple[int, slice]) -> None:
        packed[block] = np.packbits(pixels[block] > cut, axis=-1, bitorder="little")

    blocks = [(i, slice(top, top + step)) for i in range(n) for top in range(0, height, step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(pack, blocks))  # a list, so that an error is raised here
    return torch.from_numpy(packed)


def _pack_planes(logits: Tensor, cut: float) -> Tensor:
    """Pack eight label planes into one byte plane, for all images at once."""
    n, labels, height, width = logits.shape
    packed = torch.zeros(-(-labels // 8), n, height, width, dtype=torch.uint8, device=logits.device)
    for label in range(labels):
        plane = (logits[:, label] > cut).byte()  # (N, H, W)
        packed[label // 8] |= plane.bitwise_left_shift_(label % 8)
    return packed.permute(1, 2, 3, 0).contiguous()
