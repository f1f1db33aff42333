"""The networks behind `build_model`: by name, with their encoder's weights, and faster for inference.

Every network here gives logits (N, L, h / s, w / s) at the stride s of its last convolution (`PublishedUNet` does by
`coarse`); `model.AnatomySegmenter` enlarges them.
"""

import contextlib
import copy
import os
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from paxray_lib.common import did_you_mean
from paxray_lib.published import PublishedUNet, rename_resnet
from paxray_lib.weights import fill_encoder, read_weights, state_of

PUBLISHED = "paxray_unet"


def make_network(config: Mapping, num_labels: int, encoder_weights: str | os.PathLike | None = None) -> nn.Module:
    """Return the network that `config` (architecture, encoder, head_stride) describes; see `model.build_model`."""
    if config["architecture"] == PUBLISHED:
        if config["encoder"] != "resnet50":
            raise ValueError(f"{PUBLISHED} has the encoder resnet50, not {config['encoder']!r}; use 'unet' for others")
        network = PublishedUNet(num_labels)
        if encoder_weights is not None:
            state, source = _resnet50_weights(encoder_weights)
            fill_encoder(network.backbone.backbone, rename_resnet(state), source, "the encoder resnet50")
        return network
    online = encoder_weights == "imagenet"
    network = _smp_network(config, num_labels, online)
    if encoder_weights is not None and not online:
        state = state_of(read_weights(encoder_weights), encoder_weights)
        fill_encoder(network.encoder, state, encoder_weights, f"the encoder {config['encoder']}")
    return network


def _resnet50_weights(source: str | os.PathLike) -> tuple[dict[str, Tensor], str | os.PathLike]:
    if source != "imagenet":
        return state_of(read_weights(source), source), source
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    if not cached.is_file() and not _reachable(weights.url):
        raise OSError(_offline("resnet50"))
    with _explained("resnet50"):
        return weights.get_state_dict(progress=False, check_hash=True), weights.url


def _smp_network(config: Mapping, num_labels: int, online: bool) -> nn.Module:
    # here, because it takes seconds, which the published network need not wait for
    import segmentation_models_pytorch as smp

    architecture, encoder = config["architecture"], config["encoder"]
    known = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture not in known:
        hint = did_you_mean(architecture, [*known, PUBLISHED])
        raise ValueError(f"unknown architecture {architecture!r}{hint}; known: {', '.join([PUBLISHED, *known])}")
    _check_encoder(encoder, smp.encoders.get_encoder_names())
    weights = (True if encoder.startswith("tu-") else "imagenet") if online else None
    options = {"dynamic_img_size": True} if architecture == "dpt" else {}
    with _explained(encoder) if online else contextlib.nullcontext():
        try:
            network = smp.create_model(architecture, encoder, weights, classes=num_labels, **options)
        except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{architecture} does not work with the encoder {encoder}: {error}") from error
    _move_upsampling_out(network)
    if config.get("head_stride", 1) == 2:
        _halve(network, num_labels)
    return network


def _check_encoder(encoder: str, names: list[str]) -> None:
    if encoder in names:
        return
    import timm

    names = [*names, *(f"tu-{name}" for name in timm.list_models())]
    if encoder.partition(".")[0] not in names:
        raise ValueError(f"unknown encoder {encoder!r}{did_you_mean(encoder, names)}; for instance resnet18, resnet50")


def _move_upsampling_out(network: nn.Module) -> None:
    """Make smp's network return the logits of its last convolution; `AnatomySegmenter.upsample` does the rest."""
    head = network.segmentation_head
    if isinstance(head, nn.Sequential):  # convolution, upsampling, activation
        head[1] = nn.Identity()
    else:
        head.upsampling_factor = 1


def _halve(unet: nn.Module, num_labels: int) -> None:
    """Remove the U-Net's last decoder block, which has no skip connection, and classify by a 1x1 convolution."""
    unet.decoder.blocks = unet.decoder.blocks[:-1]
    channels = unet.decoder.blocks[-1].conv2[0].out_channels
    unet.segmentation_head = nn.Conv2d(channels, num_labels, kernel_size=1)
    nn.init.xavier_uniform_(unet.segmentation_head.weight)
    nn.init.zeros_(unet.segmentation_head.bias)


@contextlib.contextmanager
def _explained(encoder: str) -> Iterator[None]:
    """Fail at once where there is no internet, and say what to do instead."""
    import httpx
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    # huggingface_hub retries for 23 s; in its offline mode it looks into its cache and gives up
    constants.HF_HUB_OFFLINE = offline or not _reachable(constants.ENDPOINT)
    try:
        yield
    except (OSError, httpx.HTTPError) as error:
        raise OSError(_offline(encoder)) from error
    finally:
        constants.HF_HUB_OFFLINE = offline


def _offline(encoder: str) -> str:
    return (
        f"encoder_weights='imagenet': the weights of {encoder} cannot be downloaded; without internet use "
        "encoder_weights=null (random weights) or the path of a local file"
    )


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=3):
            return True
    except urllib.error.HTTPError:
        return True  # an answer
    except OSError:
        return False


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode with each BatchNorm folded into the convolution before it, in float32.

    Pairs are those seen in a trial run, where a BatchNorm reads the output of one convolution. Should the logits then
    change by more than rounding, the copy is left as it was.
    """
    network = copy.deepcopy(network).eval().float().requires_grad_(False)
    folded = copy.deepcopy(network)
    trial = torch.rand(1, 3, 128, 128, device=next(network.parameters()).device)
    for conv, norm in _conv_norm_pairs(network, trial):
        folded.set_submodule(conv, fuse_conv_bn_eval(folded.get_submodule(conv), folded.get_submodule(norm)))
        folded.set_submodule(norm, nn.Identity())
    with torch.inference_mode():
        before, after = network(trial), folded(trial)
    # a convolution whose output is also read elsewhere: the hooks cannot see it, the logits show it
    return folded if torch.allclose(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max())) else network


def _conv_norm_pairs(model: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of (Conv2d, BatchNorm2d) where the second reads just what the first, run once, has written."""
    writers: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no id is used twice
    runs: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []

    def wrote(name: str, output: Tensor) -> None:
        runs[name] += 1
        kept.append(output)
        writers[id(output)] = name

    def read(name: str, tensor: Tensor) -> None:
        runs[name] += 1
        if id(tensor) in writers:
            pairs.append((writers[id(tensor)], name))

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, __, out, name=name: wrote(name, out)))
        elif type(module) is nn.BatchNorm2d:  # not its subclasses, which may contain an activation
            hooks.append(module.register_forward_pre_hook(lambda _, args, name=name: read(name, args[0])))
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if runs[pair[0]] == runs[pair[1]] == 1]
