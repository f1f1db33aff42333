"""Time and memory of projecting a CT, by stage, beside plain numpy.

``python benchmarks/projection.py [--ct DIR] [--update]``

Without a CT a phantom of the same size stands in, and the table says so. Reading the files is not
counted."""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _report import conditions, table, update
from scipy import ndimage

from paxray_lib.ct.body import body_mask, limit_contrast
from paxray_lib.ct.derive import derive
from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import CT_EXPOSURE, project_scan
from paxray_lib.ct.scan import Scan, read_scan
from paxray_lib.ct.structures import STRUCTURES
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.ct_files import write_phantom_ct
from paxray_lib.projection.radiograph import line_integrals, radiograph
from paxray_lib.projection.rays import Geometry, cast_shadows, project_masks

CT = Path(__file__).resolve().parents[2] / "shared" / "data" / "ct"
SIZE = 512


def load(folder: Path) -> tuple[Scan, str]:
    """Return the CT of a folder, or a phantom where there is none, and its name."""
    if folder.is_dir():
        case = find_cases(folder, folder)[0][0]
        return read_scan(case.ct, case.segmentation), "a real CT"
    with tempfile.TemporaryDirectory() as out:
        return read_scan(*write_phantom_ct(out, size=SIZE)), "a phantom (no CT at hand)"


def plain(scan: Scan) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Project as one would at first: float volume, one dense mask after the other, zoomed; no
    derived labels.
    """
    tissue = ndimage.binary_opening(scan.hu > -200, np.ones((1, 5, 5)))
    pieces, _ = ndimage.label(tissue)
    body = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    body = np.stack([ndimage.binary_fill_holes(s) for s in body])
    attenuation = np.where(body, np.clip(scan.hu.astype(np.float64), -1000, 2000) + 1000, 0)
    pixel_mm = Geometry.fit(scan.hu.shape, scan.spacing, SIZE).pixel_mm
    views = {}
    for axis in (1, 2):
        zoom = [scan.spacing[a] / pixel_mm for a in range(3) if a != axis]
        image = ndimage.zoom(attenuation.sum(axis), zoom, order=1)
        stack = np.zeros((len(LABELS), *image.shape), bool)
        for structure in STRUCTURES:
            if structure.label:
                shadow = (scan.structures == structure.code).any(axis)
                stack[LABELS.index(structure.label)[0]] |= (
                    ndimage.zoom(shadow.astype(np.float32), zoom, order=1) > 0.5
                )
        views[axis] = np.exp(-image * 0.0195 * scan.spacing[axis] / 1000), stack
    return views


def stages(scan: Scan) -> dict[str, float]:
    """Return the seconds of each stage, one after the other on the whole volume."""
    seconds, state = {}, {}

    def clock(name: str, call: Callable) -> None:
        start = time.perf_counter()
        state[name] = call()
        seconds[name] = time.perf_counter() - start

    spacing, geometry = scan.spacing, Geometry.fit(scan.hu.shape, scan.spacing, SIZE)
    clock("body mask", lambda: body_mask(scan.hu, spacing))
    clock(
        "contrast and metal",
        lambda: limit_contrast(scan.hu, scan.structures, state["body mask"], spacing),
    )
    hu = state["contrast and metal"]
    clock(
        "line integrals, 2 views",
        lambda: [line_integrals(hu, geometry, view, CT_EXPOSURE.bone) for view in VIEWS],
    )
    clock(
        "pictures, 2 views",
        lambda: [radiograph(d, CT_EXPOSURE) for d in state["line integrals, 2 views"]],
    )
    clock("derived labels", lambda: derive(scan))
    clock("shadows", lambda: cast_shadows(state["derived labels"].volumes))
    clock(
        "masks, 2 views",
        lambda: [project_masks(state["shadows"], geometry, view) for view in VIEWS],
    )
    return seconds


def timed(call: Callable) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print the table; put it into RESULTS.md with --update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ct", type=Path, default=CT, help="folder of a CT, its segmentation and label list"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md")
    options = parser.parse_args()
    scan, source = load(options.ct)
    project_scan(scan, SIZE)  # warms up
    whole = statistics.median(
        timed(lambda: project_scan(scan, SIZE)) for _ in range(options.repeats)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    single = [stages(scan) for _ in range(options.repeats)]
    rows = [[name, f"{statistics.median(run[name] for run in single):.2f}"] for name in single[0]]
    slow = timed(lambda: plain(scan))
    rows += [
        ["**all stages, two threads, cropped to the body**", f"**{whole:.2f}**"],
        ["plain numpy and scipy, without derived labels", f"{slow:.2f}"],
    ]
    z, y, x = scan.hu.shape
    text = (
        f"## Projecting a CT\n\nBoth views with all masks, {SIZE} x {SIZE}, of {source} of "
        f"{x} x {y} x {z} voxels. "
        f"Reading the files is not counted. Median of {options.repeats}; plain: one run. "
        f"Peak memory of the process, volumes included: {peak:.2f} GiB."
        f"\n\n{table(['stage', 'seconds'], rows)}\n\n{conditions('numpy', 'scipy')}\n"
    )
    sys.stdout.write(text)
    if options.update:
        update("projection", text)


if __name__ == "__main__":
    main()
