"""The image and masks that benchmarks of data work on.

The masks are those of a real CT with 88 labelled structures, projected to 512 x 512; where the CT
is missing, random smooth blobs stand in, and the tables say so."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import project_scan
from paxray_lib.ct.scan import read_scan
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks

CT = Path(__file__).resolve().parents[2] / "shared" / "data" / "ct"
SIZE = 512


def real_views(folder: Path) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Project the CT of a folder."""
    case = find_cases(folder, folder)[0][0]
    return project_scan(read_scan(case.ct, case.segmentation), SIZE).views


def blobs() -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return an image and masks of random smooth blobs."""
    rng = np.random.default_rng(0)
    fields = (gaussian_filter(rng.standard_normal((SIZE, SIZE)), 25) for _ in LABELS)
    stack = np.stack([field > 2 * field.std() for field in fields])
    return {
        "frontal": (rng.integers(0, 256, (SIZE, SIZE), np.uint8), PackedMasks.pack(stack, LABELS))
    }


def find_views(folder: Path) -> tuple[dict[str, tuple[np.ndarray, PackedMasks]], str]:
    """Return the views and where they are from."""
    if folder.is_dir():
        return real_views(folder), "masks projected from a real CT"
    return blobs(), "random smooth blobs (no CT at hand)"


def write_view(
    folder: Path, view: str, image: np.ndarray, masks: PackedMasks
) -> tuple[Path, Path, Path]:
    """Write the image as PNG, its masks as .npy and .pxm, and return the paths."""
    png, npy, pxm = (folder / f"case0{view}.{suffix}" for suffix in ("png", "npy", "pxm"))
    Image.fromarray(image).save(png)
    masks.write(npy)
    masks.write(pxm)
    return png, npy, pxm
