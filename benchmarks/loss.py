"""Time and memory of the packed loss beside the plain way: ``python benchmarks/loss.py [--size PX]
[--update]``.

Each row runs in a process of its own, so that its peak memory is its own: resident memory above
that of the imports, in units of the logits as float32 (438 MiB at the default size), logits and
targets included. On a GPU it is the allocator's peak. The table ends with the losses and gradients
that each row computed: they must agree. The last row starts from the logits before the upsampling,
a sixteenth in number, which it includes; its gradient is theirs."""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import _plain
import torch
from _report import conditions, table, update
from torch.nn.functional import interpolate

LABELS = 166
ROWS = {
    "plain: sigmoid, Dice, BCE, float targets": {},
    "packed": {"packed": True},
    "packed, channels-last": {"packed": True, "channels_last": True},
    "packed, bfloat16 logits": {"packed": True, "dtype": "bfloat16"},
    "packed, bfloat16, channels-last": {"packed": True, "dtype": "bfloat16", "channels_last": True},
    "packed, Dice over present labels": {"packed": True, "kind": "present"},
    "packed, last upsampling included": {"packed": True, "channels_last": True, "coarse": True},
}


def make_inputs(
    case: dict, batch: int, size: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and targets, the same for every row; in a "coarse" one the logits from before
    the upsampling.
    """
    torch.manual_seed(0)
    memory_format = torch.channels_last if case.get("channels_last") else torch.contiguous_format
    dtype = getattr(torch, case.get("dtype", "float32"))
    logits = (3 * torch.randn(batch, LABELS, size // 4, size // 4)).contiguous(
        memory_format=memory_format
    )
    if not case.get("coarse"):
        coarse = logits
        logits = torch.empty(batch, LABELS, size, size, dtype=dtype, memory_format=memory_format)
        for image in range(batch):
            # plane by plane, so that no second tensor of this size is ever there
            for label in range(LABELS):
                logits[image, label] = interpolate(
                    coarse[image, label][None, None], (size, size), mode="bilinear"
                )[0, 0]
    target = torch.randint(0, 256, (batch, size, size, -(-LABELS // 8)), dtype=torch.uint8)
    if not case.get("packed"):
        dense = torch.empty_like(logits)
        for label in range(LABELS):
            dense[:, label] = (target[..., label // 8] >> label % 8) & 1
        target = dense
    return logits.to(device), target.to(device)


def measure(case: dict, batch: int, size: int, device: str, repeats: int) -> dict:
    """Return seconds forward and backward, and peak memory and results of one row."""
    from paxray_lib.training.losses import dice_bce, dice_bce_coarse

    ours = dice_bce_coarse if case.get("coarse") else dice_bce
    before = resident_bytes()
    logits, target = make_inputs(case, batch, size, device)
    logits.requires_grad_()
    forward, backward = [], []
    for _ in range(repeats + 1):
        logits.grad = None
        start = clock(device)
        loss = (
            ours(logits, target, case.get("kind", "published"))
            if case.get("packed")
            else _plain.loss(logits, target)
        )
        middle = clock(device)
        loss.backward()
        forward.append(middle - start)
        backward.append(clock(device) - middle)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident_bytes() - before
    return {
        "forward": statistics.median(forward[1:]),  # the first one warms up
        "backward": statistics.median(backward[1:]),
        "tensors": peak / (4 * batch * LABELS * size**2),
        "loss": loss.item(),
        "gradient": sum(
            plane.abs().sum(dtype=torch.float64).item() for image in logits.grad for plane in image
        ),
    }


def clock(device: str) -> float:
    """Return seconds, after all work on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def resident_bytes() -> int:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def run_row(name: str, options: argparse.Namespace) -> dict:
    """Measure one row in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--row",
        name,
        "--size",
        str(options.size),
        "--batch",
        str(options.batch),
    ]
    command += ["--repeats", str(options.repeats), "--device", options.device]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_table(options: argparse.Namespace) -> str:
    """Return all rows as a markdown table, with the conditions above it."""
    shape = f"({options.batch}, {LABELS}, {options.size}, {options.size})"
    header = [
        "loss",
        "forward s",
        "backward s",
        "ratio",
        "peak, logits",
        "value",
        "sum of gradient",
    ]
    rows, first = [], None
    for name in ROWS:
        row = run_row(name, options)
        seconds = row["forward"] + row["backward"]
        first = first or seconds
        times = [
            f"{row['forward']:.4f}",
            f"{row['backward']:.4f}",
            f"{seconds / first:.2f}",
            f"{row['tensors']:.1f}",
        ]
        rows.append([name, *times, f"{row['loss']:.6f}", f"{row['gradient']:.6f}"])
    lines = ["## Loss", "", conditions("torch"), ""]
    lines += [
        f"Logits {shape}, {options.device}, {torch.get_num_threads()} threads, median of "
        f"{options.repeats}"
    ]
    lines += [
        f"The last row starts from logits of {options.size // 4} x {options.size // 4}; its "
        "gradient is theirs.",
        "",
    ]
    return "\n".join(lines) + "\n" + table(header, rows)


def main() -> None:
    """Measure one row if told to, else all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md too")
    parser.add_argument("--row", choices=ROWS, help="measure this row here and print JSON")
    options = parser.parse_args()
    if options.row is not None:
        print(
            json.dumps(
                measure(
                    ROWS[options.row], options.batch, options.size, options.device, options.repeats
                )
            )
        )
        return
    text = make_table(options)
    print(text)
    if options.update:
        update("loss", text)


if __name__ == "__main__":
    main()
