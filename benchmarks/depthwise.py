"""A training step on a CPU in bfloat16, its depthwise convolutions in bfloat16 or in float32:
``python benchmarks/depthwise.py [--size 256] [--batch 4] [--steps 4]``.

The network is that of the open model. Seconds are those of the processor, in one thread, best of
the steps, the two ways in turn.
"""

import argparse
import contextlib
import time

import torch

from paxray_lib import LABELS, build_model
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.masks.bits import byte_count
from paxray_lib.training import loop
from paxray_lib.training.depthwise import depthwise_in_float32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"size": 256, "batch": 4, "steps": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    preprocessing = Preprocessing("per_image", (args.size, args.size))
    model = build_model("unet", LABELS, "tu-tf_efficientnet_lite0", preprocessing=preprocessing)
    model = model.to(memory_format=torch.channels_last)
    network = loop.NetworkWithLoss(model, "present", loss_pixels="quarter")
    images = torch.rand(args.batch, args.size, args.size)
    targets = torch.randint(256, (*images.shape, byte_count(len(LABELS))), dtype=torch.uint8)
    targets[..., -1] &= 2 ** (len(LABELS) % 8) - 1
    ways = {"bfloat16": lambda device: contextlib.nullcontext(), "float32": depthwise_in_float32}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.steps + 1):
        for name, way in ways.items():
            loop.depthwise_in_float32 = way
            start = time.process_time()
            with torch.autocast("cpu", torch.bfloat16):
                loss = network(images, targets)
            loss.backward()
            seconds[name].append(time.process_time() - start)
            network.zero_grad()
    for name, each in seconds.items():
        print(f"depthwise in {name}: {min(each[1:]) / args.batch:.3f} s an image")


if __name__ == "__main__":
    main()
