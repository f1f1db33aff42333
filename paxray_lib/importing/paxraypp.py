"""PAX-Ray++ as it is published, to a data set in the PAXRay layout."""

import os
import random
from dataclasses import replace
from pathlib import Path

from paxray_lib.data.fetch import PAXRAYPP_DATAFILES, paxraypp_files
from paxray_lib.data.unpack import check_target
from paxray_lib.importing.coco import coco_source
from paxray_lib.importing.common import Imported, Source, import_dataset
from paxray_lib.utils.manifest import NAME

IMAGES = "images_patlas"
_NOTE = (
    "train and val are split by image, not by patient, as by the author: both have views of the "
    "same patients, so that scores on val are too high"
)


def fetch_paxraypp(to: str | os.PathLike, archive: str | os.PathLike | None = None) -> Imported:
    """Download (or take) PAX-Ray++, and import it; the same call goes on with an interrupted one.

    Parameters
    ----------
    to : folder that will hold paxray.json; must not exist yet, or be empty
    archive : a local copy of the archive; without it, it is downloaded beside `to`

    Raises
    ------
    OSError
        If the target is not empty, the download fails, or the disk is full.
    ValueError
        If the archive is damaged, hostile or another one, or the target cannot be made.
    """
    to = Path(to)
    if (to / "paxray.json").exists() or not (to / NAME).exists():
        check_target(to)  # before an hour of download
    with paxraypp_files(to, archive) as folder:
        return import_dataset(paxraypp_source(folder), to)


def paxraypp_source(folder: str | os.PathLike) -> Source:
    """Return the source of an unpacked archive of PAX-Ray++, with its author's own split.

    He shuffles the images of `paxray_train_val.json` by Python's generator of seed 42; the last
    tenth is val. So the two views of a patient may be in both. The images are below a folder
    images_patlas, which may hold more than the files list.

    Raises FileNotFoundError or ValueError, naming the file, if one is missing or wrong.
    """
    folder = Path(folder)
    found = [path for path in folder.rglob(IMAGES) if path.is_dir()]
    if not found:
        raise ValueError(f"{folder}: holds no folder {IMAGES}; is it the right archive?")
    images = max(found, key=lambda path: len(path.parts))  # in some copies they stand in another
    source = coco_source([folder / name for name in PAXRAYPP_DATAFILES], images)
    items = list(source.items)
    shuffled = [number for number, item in enumerate(items) if item.split is None]
    count = round(0.9 * len(shuffled))
    random.Random(42).shuffle(shuffled)
    for order, number in enumerate(shuffled):
        items[number] = replace(items[number], split="train" if order < count else "val")
    return replace(source, items=items, notes=(*source.notes, _NOTE))
