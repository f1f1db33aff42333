"""Phantoms beside a real CT and textbooks: ``python benchmarks/phantom_vs_ct.py [--ct DIR]
[--figure PNG] [--update]``.

Both pass through one projector; sizes are taken from the projected masks, line integrals from the
rays. The textbooks:

- Danzer 1919: the heart is at most half as wide as the chest (upright, film behind the back).
- Gray, Anatomy of the Human Body (1918): the heart begins below the second left costal cartilage,
  and the sternal angle above it is level with T5; behind, the lungs reach to the tenth thoracic
  spine in expiration, lower in inspiration.
- Taught everywhere: two thirds of the heart lie left of the midline; in good inspiration the right
  dome is level with the eighth to tenth rib at the back, and no more than 3 cm above the left one.
- Egwu et al. 2019: vertebral bodies of T2 to T9 are 17 to 20 mm high; with discs of 3 to 5 mm a
  step is 20 to 25 mm.

One CT, of a patient who lies and has not breathed in fully, is a point and no range: the phantoms
shall contain it, not imitate it."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from _report import conditions, table, update
from scipy import ndimage

from paxray_lib.ct.body import body_mask, bounding_box, limit_contrast
from paxray_lib.ct.derive import derive
from paxray_lib.ct.scan import read_scan
from paxray_lib.images.views import VIEWS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.phantoms.phantom import make_phantom, render
from paxray_lib.projection.radiograph import line_integrals, radiograph
from paxray_lib.projection.rays import Geometry, cast_shadows, project_masks

ROOT = Path(__file__).resolve().parents[1]
CT = ROOT.parent / "shared" / "data" / "ct"
SIZE, SEED = 256, 0
VERTEBRAE = [*(f"t{number}" for number in range(1, 13)), "l1", "l2", "l3"]
BELOW_APEX = 60.0  # mm; above it clavicles and shoulders lie over the lungs
ROWS = {
    "chest, inner width, mm": ("{:.0f}", ""),
    "heart, width, mm": ("{:.0f}", ""),
    "heart / chest width": ("{:.2f}", "at most 0.50"),
    "heart left of the midline, share": ("{:.2f}", "0.67"),
    "heart, top, level (thoracic vertebra)": ("{:.1f}", "5 to 6"),
    "heart, depth (lateral), mm": ("{:.0f}", ""),
    "heart / lung area": ("{:.2f}", ""),
    "right lung, height, mm": ("{:.0f}", ""),
    "left lung, height, mm": ("{:.0f}", ""),
    "lungs, depth (lateral), mm": ("{:.0f}", ""),
    "right dome, level (thoracic vertebra)": ("{:.1f}", "8 to 10"),
    "right dome above left, mm": ("{:.0f}", "up to 30"),
    "right lung below its dome, mm": ("{:.0f}", ""),
    "left lung below its dome, mm": ("{:.0f}", ""),
    "lowest lung, level (13: first lumbar vertebra)": ("{:.1f}", "10 to 12"),
    "step from vertebra to vertebra, T5 to T8, mm": ("{:.1f}", "20 to 25"),
    "T8 with transverse processes, width, mm": ("{:.0f}", ""),
    "rib 6, back, height, mm": ("{:.1f}", ""),
    "rib 6, back, slope, degrees": ("{:.0f}", ""),
    "rib 6, front, fall, mm": ("{:.0f}", ""),
    "body, width, mm": ("{:.0f}", ""),
    "line integral: lung": ("{:.2f}", ""),
    "line integral: rib in front of lung, more": ("{:.2f}", ""),
    "line integral: heart beside the spine": ("{:.2f}", ""),
    "line integral: heart and spine": ("{:.2f}", ""),
    "line integral: below the diaphragm": ("{:.2f}", ""),
    "line integral, lateral: lung": ("{:.2f}", ""),
    "line integral, lateral: heart": ("{:.2f}", ""),
    "line integral, lateral: below the diaphragm": ("{:.2f}", ""),
}
"""Format and textbook range of each row of the table."""

Views = dict[str, tuple[np.ndarray, PackedMasks]]
"""Line integrals (H, W) and masks of each view."""


def real_views(folder: Path) -> tuple[Views, float]:
    """Project the CT of a folder; contrast agent is bounded, as for `paxray project`."""
    ct, segmentation = (next(folder.glob(f"*_{kind}.nii.gz")) for kind in ("ct", "totalseg"))
    scan = read_scan(ct, segmentation)
    body = body_mask(scan.hu, scan.spacing)
    box = bounding_box(body)
    hu = limit_contrast(scan.hu, scan.structures, body, scan.spacing)[box]
    volumes = [(np.ascontiguousarray(volume[box]), names) for volume, names in derive(scan).volumes]
    geometry = Geometry.fit(hu.shape, scan.spacing, SIZE)
    return _views(dict.fromkeys(VIEWS, hu), volumes, geometry), geometry.pixel_mm


def phantom_views(case: int) -> tuple[Views, float]:
    """Project a phantom with its whole field."""
    phantom = make_phantom(SEED, case, SIZE, varied=True)
    shape, pixel_mm = phantom.hu["frontal"].shape, phantom.body.field / SIZE
    geometry = Geometry(shape, phantom.spacing, SIZE, pixel_mm)
    return _views(phantom.hu, phantom.volumes, geometry), pixel_mm


def _views(hu: dict[str, np.ndarray], volumes, geometry: Geometry) -> Views:
    shadows = cast_shadows(volumes)
    return {
        view: (
            line_integrals(hu[view], geometry, view),
            project_masks(shadows, geometry, view),
        )
        for view in VIEWS
    }


def measure(views: Views, pixel_mm: float) -> dict[str, float]:
    """Return the rows of the table for one body."""
    (depth, frontal), (deep, lateral) = views["frontal"], views["lateral"]
    front, side = frontal.union, lateral.union
    return dict(
        zip(
            ROWS,
            [*_sizes(front, side, pixel_mm), *_densities(depth, front, pixel_mm, deep, side)],
            strict=True,
        )
    )


def _sizes(front: Callable, side: Callable, pixel_mm: float) -> list[float]:
    heart, lungs = front("heart"), front("lung_overall")
    chest = max(_extent(row[None], 1) for row in lungs)
    left, right = _edges(heart, 1)
    beside_heart = front("spine")[slice(*_edges(heart, 0))]
    middle = np.mean([np.flatnonzero(row).mean() for row in beside_heart if row.any()])
    domes = [_dome(front("diaphragm"), middle, word, pixel_mm) for word in ("right", "left")]
    bottoms = [_edges(front(f"lung_{word}"), 0)[1] for word in ("right", "left")]
    levels = np.array([_middle(side(name))[0] for name in VERTEBRAE])
    numbers = 1 + np.flatnonzero(np.isfinite(levels))
    back, ahead = front("rib_right_posterior_6"), front("rib_right_anterior_6")
    return [
        chest * pixel_mm,
        (right - left) * pixel_mm,
        (right - left) / chest,
        (right - middle) / (right - left),
        float(np.interp(_edges(side("heart"), 0)[0], levels[numbers - 1], numbers)),
        _extent(side("heart"), 1) * pixel_mm,
        heart.sum() / lungs.sum(),
        *(_extent(front(f"lung_{word}"), 0) * pixel_mm for word in ("right", "left")),
        _extent(side("lung_overall"), 1) * pixel_mm,
        float(np.interp(domes[0], levels[numbers - 1], numbers)),
        (domes[1] - domes[0]) * pixel_mm,
        *((bottom - dome) * pixel_mm for bottom, dome in zip(bottoms, domes, strict=True)),
        float(np.interp(max(bottoms), levels[numbers - 1], numbers)),
        (levels[7] - levels[4]) / 3 * pixel_mm,
        _extent(front("t8"), 1) * pixel_mm,
        *_rib(back, pixel_mm),
        _extent(ahead, 0) * pixel_mm,
    ]


def _edges(mask: np.ndarray, axis: int) -> tuple[int, int]:
    """Return first and behind the last index of a mask along an axis."""
    found = np.flatnonzero(mask.any(axis=1 - axis))
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _extent(mask: np.ndarray, axis: int) -> int:
    first, last = _edges(mask, axis)
    return last - first


def _middle(mask: np.ndarray) -> tuple[float, float]:
    return ndimage.center_of_mass(mask) if mask.any() else (np.nan, np.nan)


def _dome(diaphragm: np.ndarray, middle: float, side: str, pixel_mm: float) -> int:
    """Return the first row of what is below the diaphragm, 30 mm and more beside the midline."""
    away = int(30 / pixel_mm)
    half = (
        diaphragm[:, : int(middle) - away]
        if side == "right"
        else diaphragm[:, int(middle) + away :]
    )
    return _edges(half, 0)[0]


def _rib(mask: np.ndarray, pixel_mm: float) -> tuple[float, float]:
    """Return height in mm and slope in degrees of the middle half of a right rib's back."""
    columns = np.flatnonzero(mask.any(axis=0))
    columns = columns[len(columns) // 4 : len(columns) * 3 // 4]
    rows = [np.flatnonzero(mask[:, column]).mean() for column in columns]
    slope = np.polyfit(columns, rows, 1)[0]
    return float(np.median(mask[:, columns].sum(axis=0)) * pixel_mm), float(
        -np.degrees(np.arctan(slope))
    )


def _densities(
    depth: np.ndarray, front: Callable, pixel_mm: float, deep: np.ndarray, side: Callable
) -> list[float]:
    heart, spine, under, ribs = (front(name) for name in ("heart", "spine", "diaphragm", "ribs"))
    lung = front("lung_overall") & ~front("mediastinum_overall") & ~spine & ~under
    lung[: _edges(lung, 0)[0] + int(BELOW_APEX / pixel_mm)] = False
    bare = lung & ~ndimage.binary_dilation(ribs)
    below, lateral = (
        under & ~front("lung_overall") & ~spine & ~ribs,
        side("lung_overall") & ~side("spine"),
    )
    return [
        float((front("lung_overall") | (depth > 0.3)).sum(axis=1).max() * pixel_mm),
        depth[bare].mean(),
        depth[lung & ribs].mean() - depth[bare].mean(),
        depth[heart & ~spine & ~under].mean(),
        depth[heart & spine].mean(),
        depth[below].mean() if below.any() else np.nan,
        deep[lateral & ~side("heart") & ~side("diaphragm")].mean(),
        deep[side("heart") & ~side("diaphragm")].mean(),
        deep[side("diaphragm") & ~side("lung_overall")].mean(),
    ]


def lines(phantoms: list[dict[str, float]], real: dict[str, float]) -> list[list[str]]:
    """Return the table's rows: phantoms' mean and 5 to 95 % range, the CT, textbook."""
    found = []
    for name, (form, book) in ROWS.items():
        values = np.array([row[name] for row in phantoms])
        low, high = np.nanpercentile(values, [5, 95])
        inside = "" if low <= real[name] <= high else " (outside)"
        span = f"{form.format(low)} to {form.format(high)}"
        found.append(
            [name, form.format(np.nanmean(values)), span, form.format(real[name]) + inside, book]
        )
    return found


def figure(path: Path, real: Views, cases: int = 5) -> None:
    """Save a figure: the CT and some phantoms with one exposure, the sample's own pictures, and
    gray levels.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn, axes = plt.subplots(3, cases + 1, figsize=(2.4 * cases + 2.4, 7.2), layout="constrained")
    columns = [real, *(phantom_views(case)[0] for case in range(cases))]
    for column, views in enumerate(columns):
        for row, view in enumerate(VIEWS):
            axes[row, column].imshow(radiograph(views[view][0]), cmap="gray")
        axes[0, column].set_title(f"phantom {column - 1}" if column else "CT", fontsize=9)
    histograms = axes[2, 0]
    for views, color in zip(columns, ["k", *["C0"] * cases], strict=True):
        depth = views["frontal"][0]
        histograms.hist(
            depth[depth > 0.3],
            bins=40,
            range=(0, 7),
            density=True,
            histtype="step",
            color=color,
            lw=0.8,
        )
    histograms.set_title("line integrals (black: CT)", fontsize=8)
    for case in range(cases):
        axes[2, case + 1].imshow(render(SEED, case, SIZE, varied=True)["frontal"][0], cmap="gray")
    for axis in (*axes[:2].flat, *axes[2, 1:]):
        axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=90)
    plt.close(drawn)


def main() -> None:
    """Print the table and save the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ct", type=Path, default=CT, help="folder of a CT and its TotalSegmentator volume"
    )
    parser.add_argument("--cases", type=int, default=48, help="phantoms to measure")
    parser.add_argument("--figure", type=Path, default=ROOT / "runs" / "phantom_vs_ct.png")
    parser.add_argument("--update", action="store_true", help="write the table into RESULTS.md")
    options = parser.parse_args()
    if not options.ct.is_dir():
        sys.stdout.write(
            f"phantom_vs_ct: skipped, no CT in {options.ct} (--ct names another folder)\n"
        )
        return
    real, pixel_mm = real_views(options.ct)
    phantoms = [measure(*phantom_views(case)) for case in range(options.cases)]
    header = ["", "phantoms, mean", "5 to 95 %", "real CT", "textbook"]
    text = (
        "## Phantoms beside a real CT\n\n"
        f"{options.cases} phantoms (seed {SEED}); LIDC-IDRI-0001, lying, contrast agent "
        "bounded. Masks and rays of one "
        f"projector, {SIZE} x {SIZE}. The script names the textbooks.\n\n"
        f"{table(header, lines(phantoms, measure(real, pixel_mm)))}\n\n"
        f"{conditions('numpy', 'scipy')}\n"
    )
    sys.stdout.write(text)
    if options.update:
        update("phantom_vs_ct", text)
    figure(options.figure, real)
    sys.stdout.write(f"\n{options.figure}\n")


if __name__ == "__main__":
    main()
