"""The networks behind `build_model`: by name, with the weights of their encoder.

Two families: `paxray_unet`, the published network, and every decoder of segmentation_models_pytorch
with every encoder that it knows. Each gives logits (N, L, h / s, w / s) at the stride s of its last
convolution, which `AnatomySegmenter` enlarges.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.config import PUBLISHED
from paxray_lib.models.published import PublishedUNet
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.models.weights import fill, read_weights, state_of
from paxray_lib.utils.errors import check_choice, did_you_mean

# Our U-Net stops at half the input's resolution: with 166 labels the last decoder block and a head
# at full resolution cost more than all the rest, and bilinear upsampling of logits draws contours
# as smooth. 1 is smp's U-Net.
UNET_HEAD_STRIDE = 2
# layers after the last convolution, as torchvision, timm and EfficientNet name them: a file of
# encoder weights may have them, a segmentation network drops them
_CLASSIFIERS = (
    *("fc.", "classifier.", "head.", "last_linear."),
    *("_fc.", "_conv_head.", "_bn1.", "last_layer."),
)


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
        "paxray_unet" for the published network, or a decoder of segmentation_models_pytorch:
        "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus",
        "pan", "upernet", "segformer", "dpt".
    labels : one label per channel of the output
    encoder : an encoder of segmentation_models_pytorch: "resnet18", "tu-convnext_tiny", ...
    encoder_weights : None, "imagenet" or path
        None: random. "imagenet": downloaded once (torchvision's IMAGENET1K_V1 for "paxray_unet"),
        needs internet. Otherwise a local file with the encoder's weights, as PyTorch or
        safetensors.
    preprocessing : by default "published" for "paxray_unet", else "standard", both 512 x 512

    Raises
    ------
    ValueError
        If a name is unknown (near matches are listed), encoder and architecture do not go together,
        or weights do not fit.
    OSError
        If weights cannot be downloaded, or the file is missing.
    """
    architecture = architecture.lower()
    labels = labels if isinstance(labels, LabelSet) else LabelSet(labels)
    config: dict[str, Any] = {"architecture": architecture, "encoder": encoder}
    if architecture == "unet":
        config["head_stride"] = UNET_HEAD_STRIDE
    network = make_network(config, len(labels), encoder_weights)
    usual = Preprocessing("published" if architecture == PUBLISHED else "standard")
    return AnatomySegmenter(network, config, labels, preprocessing or usual)


def make_network(
    config: Mapping[str, Any], num_labels: int, encoder_weights: str | os.PathLike | None = None
) -> nn.Module:
    """Return the network that `config` (architecture, encoder, head_stride) describes."""
    encoder, published = config["encoder"], config["architecture"] == PUBLISHED
    stride = config.get("head_stride", 1)
    if stride != 1 and (config["architecture"], stride) != ("unet", 2):
        raise ValueError(f"head_stride is {stride}: must be 1, or for the architecture 'unet' 2")
    if published and encoder != "resnet50":
        raise ValueError(
            f"{PUBLISHED} has the encoder resnet50, not {encoder!r}; use 'unet' for others"
        )
    online = encoder_weights == "imagenet"
    network: Any = (
        PublishedUNet(num_labels) if published else _smp_network(config, num_labels, online)
    )
    if encoder_weights is None or (online and not published):
        return network
    state = (
        _imagenet_resnet50() if online else state_of(read_weights(encoder_weights), encoder_weights)
    )
    own = network.encoder.state_dict()
    state = {k: value for k, value in state.items() if k in own or not k.startswith(_CLASSIFIERS)}
    fill(network.encoder, state, encoder_weights, f"the encoder {encoder}")
    return network


def _imagenet_resnet50() -> dict[str, Tensor]:
    # here, as below: only downloads need them
    import httpx
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.IMAGENET1K_V1
    with _download_advice("resnet50"):
        if not Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name).is_file():
            httpx.head(weights.url, timeout=3)  # fails soon where the download would hang
        return dict(weights.get_state_dict(progress=False, check_hash=True))


def _smp_network(config: Mapping[str, Any], num_labels: int, online: bool) -> nn.Module:
    # here, because it takes seconds, which the published network need not wait for
    import segmentation_models_pytorch as smp

    architecture, encoder = config["architecture"], config["encoder"]
    check_choice(architecture, [PUBLISHED, *smp.MODEL_ARCHITECTURES_MAPPING], "architecture")
    names = smp.encoders.get_encoder_names()
    if encoder not in names:
        import timm

        names += [f"tu-{name}" for name in timm.list_models()]
        if encoder.partition(".")[0] not in names:
            hint = did_you_mean(encoder, names)
            raise ValueError(f"unknown encoder {encoder!r}{hint}; for instance resnet18, resnet50")
    weights = (True if encoder.startswith("tu-") else "imagenet") if online else None
    options = {"dynamic_img_size": True} if architecture == "dpt" else {}
    with _download_advice(encoder) if online else contextlib.nullcontext():
        try:
            network = smp.create_model(
                architecture, encoder, weights, classes=num_labels, **options
            )
        # what smp and timm raise for a decoder and an encoder that do not go together
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{architecture} does not work with the encoder {encoder}: {error}"
            ) from error
    # to return the logits of its last convolution: the segmenter enlarges them
    head = network.segmentation_head
    if isinstance(head, nn.Sequential):  # convolution, upsampling, activation
        head[1] = nn.Identity()
    else:
        head.upsampling_factor = 1
    if config.get("head_stride", 1) == 2:
        _halve(network, num_labels)
    return network


def _halve(unet: Any, num_labels: int) -> None:
    """Remove the U-Net's last decoder block, which has no skip connection; classify by 1x1."""
    unet.decoder.blocks = unet.decoder.blocks[:-1]
    channels = unet.decoder.blocks[-1].conv2[0].out_channels
    head = unet.segmentation_head = nn.Conv2d(channels, num_labels, kernel_size=1)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type] # a convolution without bias has None


@contextlib.contextmanager
def _download_advice(encoder: str) -> Iterator[None]:
    """Fail at once where there is no internet, and say what to do instead."""
    import httpx
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    try:
        if not offline:
            # huggingface_hub retries for 23 s; offline it looks into its cache and gives up
            try:
                httpx.head(constants.ENDPOINT, timeout=3)
            except httpx.HTTPError:
                constants.HF_HUB_OFFLINE = True
        yield
    except (OSError, httpx.HTTPError) as error:
        raise OSError(
            f"encoder_weights='imagenet': the weights of {encoder} cannot be downloaded; without "
            "internet use encoder_weights=null (random weights) or the path of a local file"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = offline
