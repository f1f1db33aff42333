"""Time overlays of 2, 20 and all 166 labels at 512 x 512 and print a markdown table: python benchmarks/overlay.py."""

import statistics
import sys
import time

import numpy as np

from paxray_lib.labels import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.overlay import compare, render


def ellipses(size: int, seed: int) -> PackedMasks:
    """Return one ellipse a label, as large as organs and bones are."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:size, :size]
    stack = np.empty((len(LABELS), size, size), bool)
    for mask in stack:
        (row, column), (a, b) = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.02, 0.2, 2) * size
        mask[:] = ((y - row) / a) ** 2 + ((x - column) / b) ** 2 < 1
    return PackedMasks.pack(stack, LABELS)


def median_ms(call, repeats: int) -> float:
    """Return the median time of a call in ms, after one call to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main(size: int = 512, repeats: int = 30) -> None:
    """Print the table."""
    image = np.random.default_rng(0).integers(0, 256, (size, size), np.uint8)
    masks, other = ellipses(size, 1), ellipses(size, 2)
    two = LABELS.select("heart", "aorta")
    rows = {
        "2 labels": lambda: render(image, masks, two),
        "2 labels, 3 px outlines": lambda: render(image, masks, two, outline=3),
        "24 ribs": lambda: render(image, masks, LABELS.select("rib_left_*", "rib_right_*")),
        "all 166 labels": lambda: render(image, masks),
        "all 166 labels, no outlines": lambda: render(image, masks, outline=0),
        "difference of 2 labels": lambda: compare(image, masks, other, two),
        "difference of all 166 labels": lambda: compare(image, masks, other),
    }
    lines = [f"| overlay, {size} x {size}, median of {repeats} | ms |", "|---|---|"]
    lines += [f"| {name} | {median_ms(call, repeats):.1f} |" for name, call in rows.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
