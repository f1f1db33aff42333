"""Time and memory of one training step beside the plain way: ``python benchmarks/step.py [--size
PX] [--update]``.

A step is forward, loss, backward and AdamW of the published network with 166 labels. Each row runs
in a process of its own, so that its peak memory is its own: all resident memory of the process,
libraries, weights and batch included. The last columns compare loss and gradients of the first step
with the plain way's, from the same weights and batch."""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _report import conditions, peak_bytes, table, update

LABELS = 166
PARTS = ("forward", "loss", "backward", "optimizer")
PLAIN = "plain"
ROWS = (PLAIN, "float32", "bfloat16")
TITLES = {PLAIN: "plain", "float32": "ours", "bfloat16": "ours, bfloat16"}
DIFFERENCES = ("loss differs by", "gradients differ by at most", "in norm")
EXACT_SIZE = 96  # for the comparison in float64


def make_batch(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels (N, h, w) in 0..1 and packed targets (N, h, w, B): ellipses, a tenth of the
    area or so.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(batch, size, size, generator=generator)
    targets = torch.zeros(batch, size, size, -(-LABELS // 8), dtype=torch.uint8)
    rows, columns = torch.arange(size)[:, None] / size, torch.arange(size) / size
    for image in range(batch):
        for label in range(LABELS):
            y, x, height, width = torch.rand(4, generator=generator)
            inside = ((rows - y) / (0.05 + 0.2 * height)) ** 2 + (
                (columns - x) / (0.05 + 0.2 * width)
            ) ** 2 < 1
            targets[image, ..., label // 8] |= inside.to(torch.uint8) << label % 8
    return pixels, targets


def new_model() -> torch.nn.Module:
    """Return the published network, the same weights in every process."""
    from paxray_lib.labels.table import LABELS as TABLE
    from paxray_lib.models.build import build_model

    torch.manual_seed(0)
    return build_model("paxray_unet", TABLE)


def plain_step(batch: int, size: int) -> tuple[torch.nn.Module, Callable[[Callable], torch.Tensor]]:
    """Return the plain network, and a function that does one step and calls a clock after each
    part.
    """
    import _plain

    model = new_model()
    pixels, packed = make_batch(batch, size)
    scale, offset = (
        torch.from_numpy(values)[:, None, None] for values in model.preprocessing.affine()
    )
    images, target = pixels[:, None] * scale + offset, _plain.dense(packed, LABELS)
    network = _plain.PlainUNet.like(model.network)
    optimizer = _plain.adamw(network)
    del model

    def step(clock: Callable) -> torch.Tensor:
        optimizer.zero_grad()
        logits = network(images)
        clock()
        loss = _plain.loss(logits, target)
        clock()
        loss.backward()
        clock()
        optimizer.step()
        clock()
        return loss.detach()

    return network, step


def our_step(
    batch: int, size: int, precision: str
) -> tuple[torch.nn.Module, Callable[[Callable], torch.Tensor]]:
    """Return our network, and a function that does one step as `fit` does and calls a clock after
    each part.
    """
    from paxray_lib.compute.fabric import make_fabric
    from paxray_lib.training.config import TrainConfig
    from paxray_lib.training.loop import NetworkWithLoss
    from paxray_lib.training.optimizer import make_optimizer

    fabric = make_fabric("cpu", precision)
    model = new_model().to(memory_format=torch.channels_last)
    network = model.network
    optimizer = make_optimizer(model, TrainConfig())
    module, optimizer = fabric.setup(NetworkWithLoss(model, "published"), optimizer)
    pixels, targets = make_batch(batch, size)

    def step(clock: Callable) -> torch.Tensor:
        hook = network.register_forward_hook(lambda *_: clock())
        loss = module(pixels, targets)
        hook.remove()
        clock()
        fabric.backward(loss)
        clock()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock()
        return loss.detach()

    return network, step


def measure(row: str, batch: int, size: int, steps: int, out: Path) -> dict:
    """Return the seconds of each part (medians), peak memory, loss; write gradients of the first
    step to `out`.
    """
    network, step = plain_step(batch, size) if row == PLAIN else our_step(batch, size, row)
    marks = []

    def first_clock() -> None:
        marks.append(time.perf_counter())
        if len(marks) == PARTS.index("backward") + 1:
            torch.save([parameter.grad for parameter in network.parameters()], out)

    loss = step(first_clock).item()  # warms up too
    taken = []
    for _ in range(steps):
        marks[:] = [time.perf_counter()]
        step(lambda: marks.append(time.perf_counter()))
        taken.append([after - before for before, after in itertools.pairwise(marks)])
    parts = [statistics.median(column) for column in zip(*taken, strict=True)]
    total = statistics.median(map(sum, taken))
    return {
        **dict(zip(PARTS, parts, strict=True)),
        "total": total,
        "peak": peak_bytes(),
        "value": loss,
    }


def gradient_difference(ours: list[torch.Tensor], plain: list[torch.Tensor]) -> tuple[float, float]:
    """Return the largest difference relative to the largest gradient, and the norm of all relative
    to the norm.
    """
    ours, plain = (
        torch.cat([part.flatten() for part in parts]).double() for parts in (ours, plain)
    )
    difference = ours - plain
    return float(difference.abs().max() / plain.abs().max()), float(
        difference.norm() / plain.norm()
    )


def exact_differences(batch: int, size: int) -> tuple[float, float, float]:
    """Compare loss and gradients in float64, where rounding plays no part.

    Returns
    -------
    Relative differences: of our loss and of our gradients from the plain way's, both in float64;
    and of the plain way's gradients in float32 from its own in float64."""
    import _plain

    from paxray_lib.training.loop import NetworkWithLoss

    model = new_model()
    pixels, packed = make_batch(batch, size)
    target, module = _plain.dense(packed, LABELS), NetworkWithLoss(model, "published")
    single = _plain.PlainUNet.like(model.network)
    double = _plain.PlainUNet.like(model.network).double()
    pixels = pixels.double()
    inputs = module.double().normalize(pixels)
    losses = [
        module(pixels, packed),
        _plain.loss(double(inputs), target.double()),
        _plain.loss(single(inputs.float()), target),
    ]
    for loss in losses:
        loss.backward()
    ours, plain, rounded = (
        [p.grad for p in network.parameters()] for network in (model, double, single)
    )
    gap = abs(losses[0].item() / losses[1].item() - 1)
    return gap, gradient_difference(ours, plain)[0], gradient_difference(rounded, plain)[0]


def run_row(row: str, options: argparse.Namespace, out: Path) -> dict:
    """Measure one row in a process of its own."""
    command = [sys.executable, __file__, "--row", row, "--out", str(out)]
    command += [f"--{name}={getattr(options, name)}" for name in ("size", "batch", "steps")]
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )


def make_table(options: argparse.Namespace) -> str:
    """Measure all rows and return the section of RESULTS.md."""
    lines, plain = [], None
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            found = run_row(row, options, Path(folder, row))
            plain = plain or found
            numbers = [f"{found[part]:.2f}" for part in (*PARTS, "total")]
            numbers += [f"{found['total'] / plain['total']:.2f}", f"{found['peak'] / 2**30:.2f}"]
            numbers += [
                f"{found['peak'] / plain['peak']:.2f}",
                f"{abs(found['value'] / plain['value'] - 1):.0e}",
            ]
            gradients = [torch.load(Path(folder, name)) for name in (row, PLAIN)]
            numbers += [f"{value:.0e}" for value in gradient_difference(*gradients)]
            lines.append([TITLES[row], *numbers])
    head = [
        "step",
        *(f"{part} s" for part in (*PARTS, "whole")),
        "ratio",
        "peak GiB",
        "ratio",
        *DIFFERENCES,
    ]
    exact = [
        f"{value:.0e}" for value in exact_differences(options.batch, min(EXACT_SIZE, options.size))
    ]
    return (
        f"## One training step\n\nPublished network, batch {options.batch}, {options.size} "
        "px, 166 labels; median of "
        f"{options.steps} after a warm-up, {torch.get_num_threads()} threads. The last "
        "upsampling counts with the loss "
        f"in our rows.\n\n{table(head, lines)}\n\n"
        "Differences: of the loss, relative; the largest of a gradient, relative to the "
        "largest gradient; the norm of "
        "all, relative to their norm. Gradients of a new network with BatchNorm by batch "
        "amplify rounding: at "
        f"{min(EXACT_SIZE, options.size)} px the plain way in float32 is {exact[2]} away "
        "from itself in float64. In "
        f"float64 our loss differs from the plain way's by {exact[0]}, our gradients by "
        f"{exact[1]} at most. "
        "bfloat16 keeps 8 bits: the first gradients of such a network then have little in "
        "common with those in float32."
        f"\n\n{conditions('torch')}"
    )


def main() -> None:
    """Measure one row if told to, else all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=3, help="steps to time, after one that warms up"
    )
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md too")
    parser.add_argument("--row", choices=ROWS, help="measure this row here and print JSON")
    parser.add_argument(
        "--out", type=Path, help="with --row: file to write the gradients of the first step to"
    )
    options = parser.parse_args()
    if options.row is not None:
        print(
            json.dumps(
                measure(options.row, options.batch, options.size, options.steps, options.out)
            )
        )
        return
    text = make_table(options)
    print(text)
    if options.update:
        update("step", text)


if __name__ == "__main__":
    main()
