"""Networks by name: build, save, load, prepare for inference. Label names and preprocessing travel with the weights.

Two families: `paxray_unet`, the published network (see `published.py`), and every decoder of
segmentation_models_pytorch with every encoder it knows. Both become an `AnatomySegmenter`.
"""

import os
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from paxray_lib.common import atomic_write
from paxray_lib.images import Image, Preprocessing
from paxray_lib.labels import LABELS, LabelSet
from paxray_lib.networks import PUBLISHED, fold_batch_norm, make_network
from paxray_lib.published import LAST_LAYER, PublishedUNet
from paxray_lib.weights import fill, read_weights, state_of

FORMAT, VERSION = "paxray-checkpoint", 1
# Our U-Net stops at half the input's resolution: with 166 labels the last decoder block and a head at full
# resolution cost more than all the rest, and bilinear upsampling of logits draws contours as smooth. 1 is smp's U-Net.
UNET_HEAD_STRIDE = 2
# smp's decoders fail at other sizes, all but the U-Net; `pan` halves its smallest map three times
_MULTIPLE, _LEAST_SIZE = 32, {"pan": 128}
_PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.Tensor)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Number types for inference, by name."""


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

    def __init__(self, network: nn.Module, config: Mapping, labels: LabelSet, preprocessing: Preprocessing):
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
        return architecture if architecture == PUBLISHED else f"{architecture}-{self.config['encoder']}"

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32 from an image, or pixels (H, W) float in 0..1."""
        return self.preprocessing(image)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, h, w) from preprocessed images (N, 3, h, w) of any size; dtype is the network's."""
        return self.upsample(self.coarse(images), images.shape[-2:])

    def coarse(self, images: Tensor) -> Tensor:
        """Return the logits at the resolution of the last convolution, before `upsample`: the cheap form to keep."""
        height, width = images.shape[-2:]
        padded_height, padded_width = self.padded(height, width)
        if (padded_height, padded_width) != (height, width):
            # replicate: zeros would be an edge that no X-ray has; reflection needs an image larger than the border
            images = functional.pad(images, (0, padded_width - width, 0, padded_height - height), mode="replicate")
        return self.network.coarse(images) if isinstance(self.network, PublishedUNet) else self.network(images)

    def upsample(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits (N, L, h, w) for `size` = (h, w) of the images that `coarse` was computed from."""
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


def build_model(
    architecture: str,
    labels: LabelSet | Iterable[str],
    encoder: str = "resnet50",
    encoder_weights: str | os.PathLike | None = None,
    preprocessing: Preprocessing | None = None,
) -> AnatomySegmenter:
    """Build a network with new weights, in training mode.

    Parameters
    ----------
    architecture : str
        "paxray_unet" for the published network, or a decoder of segmentation_models_pytorch: "unet", "unetplusplus",
        "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer", "dpt".
    labels : LabelSet or names
        One label for each channel of the output.
    encoder : str
        An encoder of segmentation_models_pytorch ("resnet18", "efficientnet-b0", "tu-convnext_tiny", ...).
    encoder_weights : None, "imagenet" or path
        None: random. "imagenet": downloaded once (torchvision's IMAGENET1K_V1 for "paxray_unet"), needs internet.
        Otherwise a local file with the encoder's weights, as PyTorch or safetensors.
    preprocessing : Preprocessing, optional
        Default: "published" for "paxray_unet", else "standard", both 512 x 512.

    Raises
    ------
    ValueError
        If a name is unknown (near matches are listed), encoder and architecture do not go together, or weights do
        not fit.
    OSError
        If weights cannot be downloaded, or the file is missing.
    """
    architecture = architecture.lower()
    labels = labels if isinstance(labels, LabelSet) else LabelSet(labels)
    config = {"architecture": architecture, "encoder": encoder}
    if architecture == "unet":
        config["head_stride"] = UNET_HEAD_STRIDE
    if preprocessing is None:
        preprocessing = Preprocessing("published" if architecture == PUBLISHED else "standard")
    return AnatomySegmenter(make_network(config, len(labels), encoder_weights), config, labels, preprocessing)


def save_model(path: str | os.PathLike, model: AnatomySegmenter, **extra) -> None:
    """Write a checkpoint: weights, config, label names, preprocessing, and `extra`; whole or not at all.

    Parameters
    ----------
    path : path of the file
    model : AnatomySegmenter, as built or loaded
    extra : plain values, tensors, and lists, tuples and dicts of them: optimizer state, epoch, ...

    Raises
    ------
    ValueError
        If `extra` holds anything else, which could not be read back, or the model comes from `optimize_for_inference`.
    OSError
        If the file cannot be written.
    """
    if model.optimized:
        raise ValueError(f"{path}: a model optimized for inference cannot be saved; save the one that it was made from")
    _check_plain(extra, "extra")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config,
        "labels": list(model.labels.names),
        "preprocessing": model.preprocessing.to_dict(),
        "model": model.network.state_dict(),
        "extra": extra,
    }
    with atomic_write(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer says nothing else of a full disk
            raise OSError(f"{path}: cannot be written ({error}); is the disk full?") from error


def _check_plain(value: object, where: str) -> None:
    if isinstance(value, (dict, list, tuple)) and type(value) in (dict, list, tuple, OrderedDict, Counter):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) not in _PLAIN:
        raise ValueError(f"checkpoint: {where} is a {type(value).__name__}; convert it to plain values or a tensor")


def load_model(
    path: str | os.PathLike,
    device: str | torch.device = "cpu",
    labels: LabelSet | Iterable[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> AnatomySegmenter:
    """Load a network in eval mode from any of the files below; the weights of the file, or an error.

    - Our checkpoints: nothing else is needed.
    - A published checkpoint (`.pth` with "opt", "model", "optimizer", "epoch"), with or without `module.` in its keys.
    - A plain state dict of the published network, or a file with one as "model", such as CXAS's.

    Parameters
    ----------
    path : path of the file
    device : "cpu", "cuda", "cuda:1", or "auto" for the GPU if there is one
    labels : LabelSet or names, optional
        Names for a file that carries none. Default: the published table for 166 labels, else "label_0", "label_1", ...
    preprocessing : Preprocessing, optional
        For a file that says nothing of it. Default: "published" for files of the published code and for 166 labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds other objects, does not fit the network, the labels or the preprocessing, or
        `device` is not there.
    """
    device = find_device(device)
    labels = labels if labels is None or isinstance(labels, LabelSet) else LabelSet(labels)
    content = read_weights(path)
    ours = isinstance(content, Mapping) and content.get("format") == FORMAT
    describe = _describe_ours if ours else _describe_published
    config, labels, preprocessing = describe(content, path, labels, preprocessing)
    # on "meta" nothing is allocated or initialized; smp's encoders may have buffers outside of the state dict
    with torch.device("meta" if config["architecture"] == PUBLISHED else "cpu"):
        try:
            network = make_network(config, len(labels))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    model = AnatomySegmenter(network, config, labels, preprocessing)
    fill(network, state_of(content, path), path, f"{model.name} with {len(labels)} labels")
    return model.to(device).eval()


def read_extra(path: str | os.PathLike) -> dict:
    """Return the `extra` of a checkpoint that `save_model` wrote, in memory of its own."""
    content = read_weights(path, mapped=False)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of a training run here, so it cannot be resumed")
    return content["extra"]


def _describe_ours(content: Mapping, path, labels, preprocessing) -> tuple[dict, LabelSet, Preprocessing]:
    if content.get("version") != VERSION:
        raise ValueError(f"{path}: checkpoint version {content.get('version')}, not {VERSION}; update paxray_lib")
    try:
        config = dict(content["config"])
        found = LabelSet(content["labels"]), Preprocessing.from_dict(content["preprocessing"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged checkpoint ({error}); copy it again") from error
    kinds = {"architecture": str, "encoder": str, "head_stride": int}
    if not all(isinstance(({"head_stride": 1} | config).get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{path}: damaged checkpoint (config {config}); copy it again")
    for given, own, what in zip((labels, preprocessing), found, ("labels", "preprocessing"), strict=True):
        if given is not None and given != own:
            raise ValueError(f"{path}: carries its own {what}, {own}, other than the given {given}; leave {what} out")
    return config, *found


def _describe_published(content: object, path, labels, preprocessing) -> tuple[dict, LabelSet, Preprocessing]:
    state = state_of(content, path)
    if LAST_LAYER not in state or not state[LAST_LAYER].ndim:
        raise ValueError(
            f"{path}: neither a checkpoint of this library nor weights of the published network (no convolution "
            f"{LAST_LAYER}; first key: {next(iter(state))}); weights of other networks need a checkpoint written by "
            "save_model"
        )
    count = len(state[LAST_LAYER])
    if labels is None:
        labels = LABELS if count == len(LABELS) else LabelSet(f"label_{i}" for i in range(count))
    if len(labels) != count:
        raise ValueError(f"{path}: a network for {count} labels, but {len(labels)} names given; another file or list?")
    if preprocessing is None and count != len(LABELS) and "opt" not in content:
        raise ValueError(
            f"{path}: {count} labels, and nothing says how its input was prepared; give load_model preprocessing="
            "Preprocessing('published') for networks of the published PAXRay code, 'standard' for CXAS, then save_model"
        )
    config = {"architecture": PUBLISHED, "encoder": "resnet50"}
    return config, labels, preprocessing or Preprocessing("published")


def find_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the name is unknown, or this machine has no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(1, device=found).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} is not available here; use 'cpu' or 'auto'") from error
    return found


def check_precision(precision: str) -> None:
    """Raise ValueError if a name is not one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r} (one of {', '.join(PRECISIONS)})")


def optimize_for_inference(
    model: AnatomySegmenter, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> AnatomySegmenter:
    """Return a faster copy for inference: BatchNorm folded into convolutions, channels last, no gradients.

    Logits differ from the model's by rounding, about 1e-5 in float32. With bfloat16 input, weights and logits have 8
    bits of mantissa. The copy cannot be trained or saved.
    """
    fast = AnatomySegmenter(fold_batch_norm(model.network), model.config, model.labels, model.preprocessing)
    fast.optimized = True
    return fast.eval().to(find_device(device), dtype, memory_format=torch.channels_last)
