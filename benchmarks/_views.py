"""The image and masks that benchmarks of data work on.

The masks are those of a real CT with 88 labelled structures, projected to 512 x 512; where the CT is missing, random
smooth blobs stand in, and the tables say so.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from paxray_lib.labels import LABELS
from paxray_lib.masks import PackedMasks
from paxray_lib.projection import project

CT = Path(__file__).resolve().parents[2] / "shared" / "data" / "ct"
SIZE = 512
LOBES = {f"lung_{lobe}_lobe_{side}": f"lung_{side}_lobe{lobe}"
         for side in ("left", "right") for lobe in ("upper", "middle", "lower")}  # fmt: skip
FRONT = 1000  # added to the value of a rib in its front half


def label_of(structure: str) -> str | None:
    """Return our label of a TotalSegmentator structure, or None."""
    name = LOBES.get(structure, structure.removeprefix("vertebrae_").lower())
    return {"trachea": "airways"}.get(name, name if name in LABELS.names else None)


def real_views(folder: Path) -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Project the CT and its structures; ribs are cut into halves, and wholes are unions along the label tree."""
    import nibabel

    files = {kind: next(folder.glob(f"*_{kind}.nii.gz")) for kind in ("ct", "totalseg")}
    # (x, y, z) to the right, front, head -> (z, y, x) from head, front, right
    loaded = {kind: nibabel.as_closest_canonical(nibabel.load(path)) for kind, path in files.items()}
    hu, volume = (np.asarray(image.dataobj).transpose(2, 1, 0)[::-1, ::-1, ::-1].astype(np.int16)
                  for image in loaded.values())  # fmt: skip
    with next(folder.glob("*_labels.tsv")).open(encoding="utf-8") as file:
        found = {int(value): label_of(name) for value, name in csv.reader(file, delimiter="\t")}
    names = {value: name for value, name in found.items() if name}
    for value, name in list(names.items()):
        if name.startswith("rib_"):
            _, side, number = name.split("_")
            where = np.nonzero(volume == value)
            front = where[1] < np.median(where[1])
            volume[tuple(axis[front] for axis in where)] = value + FRONT
            names |= {value: f"rib_{side}_posterior_{number}", value + FRONT: f"rib_{side}_anterior_{number}"}
    return project(hu, loaded["ct"].header.get_zooms()[2::-1], [(volume, names)], SIZE)


def blobs() -> dict[str, tuple[np.ndarray, PackedMasks]]:
    """Return an image and masks of random smooth blobs."""
    rng = np.random.default_rng(0)
    fields = (gaussian_filter(rng.standard_normal((SIZE, SIZE)), 25) for _ in LABELS)
    stack = np.stack([field > 2 * field.std() for field in fields])
    return {"frontal": (rng.random((SIZE, SIZE), np.float32), PackedMasks.pack(stack, LABELS))}


def find_views(folder: Path) -> tuple[dict[str, tuple[np.ndarray, PackedMasks]], str]:
    """Return the views and where they are from."""
    if folder.is_dir():
        return real_views(folder), "masks projected from a real CT"
    return blobs(), "random smooth blobs (no CT at hand)"


def write_view(folder: Path, view: str, image: np.ndarray, masks: PackedMasks) -> tuple[Path, Path, Path]:
    """Write the image as PNG, its masks as .npy and .pxm, and return the paths."""
    png, npy, pxm = (folder / f"case0{view}.{suffix}" for suffix in ("png", "npy", "pxm"))
    Image.fromarray((image * 255).round().astype(np.uint8)).save(png)
    masks.write(npy)
    masks.write(pxm)
    return png, npy, pxm
