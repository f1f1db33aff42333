"""From logits to packed bits, at one threshold, and to probabilities of 8 bits."""

import math

import numpy as np

from paxray_lib.masks.bits import pack_planes


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless a threshold lies between 0 and 1."""
    if not 0 < threshold < 1:
        raise ValueError(f"threshold {threshold}: must lie between 0 and 1")


def pack_decisions(logits: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return the packed bits of ``sigmoid(logits) > threshold`` (strictly, as published).

    The logits are compared with logit(threshold), so that no probabilities are computed.
    A logit that is not a number is not above the threshold.

    Parameters
    ----------
    logits : (L, H, W) float32 or float64
    threshold : float in (0, 1)

    Returns
    -------
    (H, W, ceil(L / 8)) uint8

    Raises
    ------
    ValueError
        If the threshold is not between 0 and 1 or the logits are not those of one image.
    """
    if logits.ndim != 3:
        shape = tuple(logits.shape)
        raise ValueError(f"logits must have shape (labels, height, width), got {shape}")
    cut = cut_of(threshold, logits.dtype)
    planes = (plane > cut for plane in logits)
    return pack_planes(planes, logits.shape[1:], [""] * len(logits))


def quantize(logits: np.ndarray) -> np.ndarray:
    """Return probabilities as uint8 of the same shape: 255 times the sigmoid, rounded."""
    return np.rint(255 * sigmoid(logits)).astype(np.uint8)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits)), of the same shape and type."""
    with np.errstate(over="ignore"):  # to infinity, and the sigmoid to 0
        return 1 / (1 + np.exp(-logits))


def cut_of(threshold: float, dtype: np.dtype) -> np.floating:
    """Return the logit of a threshold, as a number of that type."""
    check_threshold(threshold)
    exact = math.log(threshold / (1 - threshold))
    cut = dtype.type(exact)
    # rounded up, it could pass over a logit
    return np.nextafter(cut, dtype.type(-math.inf)) if cut > exact else cut
