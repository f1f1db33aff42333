"""A small archive in the layout of the published PAX-Ray++."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

NAMES = ("heart", "left lung ", "left lung ")
"""Of the categories: one twice, with spaces at the end."""
SIZE = (12, 12)
COUNTS = {"train_val": 13, "test": 2}
"""Of the images."""
TAR = "paxray_images_unfiltered.tar.gz"  # which is not compressed


def file_names(part: str) -> list[str]:
    """Return the names of the images of a COCO file, "train_val" or "test"."""
    first = 0 if part == "train_val" else 20
    views = ("frontal", "lateral")
    numbers = range(first, first + COUNTS[part])
    return [f"case_{number // 2:03d}_{views[number % 2]}.png" for number in numbers]


def masks_of(name: str) -> np.ndarray:
    """Return the masks of an image, (L, H, W) bool; the first is empty in lateral ones."""
    rng = np.random.default_rng(list(name.encode()))
    masks = rng.random((len(NAMES), *SIZE)) > 0.6
    masks[0] &= "frontal" in name
    return masks


def coco_file(part: str) -> dict:
    """Return the content of a COCO file; annotations of an image are not adjacent."""
    names = file_names(part)
    annotations = []
    for category in range(len(NAMES)):
        for number, name in enumerate(names):
            mask = masks_of(name)[category]
            if mask.any():
                rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
                rle["counts"] = rle["counts"].decode()
                about = {"image_id": number, "category_id": category + 1, "bbox": [0, 0, 1, 1]}
                annotations.append({"id": len(annotations), **about, "segmentation": rle})
    size = {"height": SIZE[0], "width": SIZE[1]}
    return {
        "info": "PAX-Ray++, v2",
        "images": [{"id": i, "file_name": name, **size} for i, name in enumerate(names)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)],
        "annotations": annotations,
    }


def tar_of_images(*more: tarfile.TarInfo | str) -> bytes:
    """Return the tar file of all images, and of one that no file lists, then of more entries."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        folder = tarfile.TarInfo("images_patlas")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in [*file_names("train_val"), *file_names("test"), "case_999_frontal.png"]:
            picture = io.BytesIO()
            Image.fromarray(masks_of(name).sum(axis=0).astype(np.uint8) * 80).save(picture, "PNG")
            entry = tarfile.TarInfo(f"images_patlas/{name}")
            entry.size = len(picture.getvalue())
            tar.addfile(entry, io.BytesIO(picture.getvalue()))
        for entry in more:
            tar.addfile(tarfile.TarInfo(entry) if isinstance(entry, str) else entry)
    return content.getvalue()


def write_archive(
    path: Path, change: Callable[[dict[str, bytes]], object] = bool, padding: int = 0
) -> Path:
    """Write the archive; `change` gets its content by name before."""
    content = {
        "paxray_train_val.json": json.dumps(coco_file("train_val")).encode(),
        "paxray_test.json": json.dumps(coco_file("test")).encode(),
        TAR: tar_of_images(),
        "labels.zip": bytes(padding),
    }
    change(content)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path
