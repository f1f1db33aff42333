"""Time overlays of 2, 109 and all 166 labels at 512 x 512: python benchmarks/overlay.py
[--update].
"""

import statistics
import sys
import time

import numpy as np
from _report import conditions, table, update

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.overlay import compare, render


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
        "109 ribs": lambda: render(image, masks, LABELS.select("ribs")),
        "all 166 labels": lambda: render(image, masks),
        "all 166 labels, no outlines": lambda: render(image, masks, outline=0),
        "difference of 2 labels": lambda: compare(image, masks, other, two),
        "difference of all 166 labels": lambda: compare(image, masks, other),
    }
    lines = [[name, f"{median_ms(call, repeats):.1f}"] for name, call in rows.items()]
    text = f"## Overlays\n\n{table([f'{size} x {size}, 1 px outlines', 'ms'], lines)}\n\n"
    text += f"Median of {repeats}. {conditions('numpy')}"
    print(text)
    if "--update" in sys.argv:
        update("overlay", text)


if __name__ == "__main__":
    main()
