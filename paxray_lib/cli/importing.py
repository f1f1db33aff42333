"""The command import: data sets in other layouts."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paxray_lib.cli import command as shared
from paxray_lib.cli.command import DONE, SOME_FAILED, app, argument, command, option, split_names
from paxray_lib.utils import log, say

if TYPE_CHECKING:
    from paxray_lib.importing.common import Imported, Source

importing = typer.Typer(
    name="import", no_args_is_help=True, help="Import a data set of another layout, masks packed."
)
app.add_typer(importing)
_command = partial(command, to=importing)

Out = Annotated[Path, option("Data set to make; an interrupted import is continued.")]
Images = Annotated[Path, option("Folder of the images, which are copied.")]
Splits = Annotated[Path | None, option("CSV with the columns id and split.")]
Split = Annotated[str | None, option("train, val or test, for all images not in --splits.")]
Known = Annotated[
    list[str], option("Labels that are annotated, as in heart,ribs; all by default. Repeatable.")
]


def _import(
    source: "Source", out: Path, splits: Path | None, split: str | None, known: list[str]
) -> int:
    from paxray_lib.importing.common import import_dataset

    names = [name for part in known for name in split_names(part)]
    return tell(import_dataset(source, out, splits=splits, split=split, known=names))


def tell(done: "Imported") -> int:
    """Say what became of a source, and return the exit code."""
    for line in done.failed:
        log(f"failed: {line}")
    for line in done.notes:
        say(line)
    counts = done.counts
    say(
        f"{counts['ok']} imported, {counts['skipped']} skipped, {counts['failed']} failed; "
        f"{done.path}"
    )
    return SOME_FAILED if counts["failed"] else DONE


def _check_apart(images: Path, out: Path) -> None:
    """Refuse an output folder whose images would be taken for those to import the next time."""
    if out.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {out}: lies in --images {images}; choose a folder elsewhere")


@_command
def masks(
    out: Out,
    images: Images,
    mask: Annotated[
        list[str], option("A structure and the folder of its masks; repeated.", metavar="NAME=DIR")
    ],
    ignore: Annotated[
        int | None, option("Value of pixels that may be either: the label is unknown there.")
    ] = None,
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import a folder of mask pictures for each structure: JSRT with SCR, Montgomery, Shenzhen.

    A mask has the name of its image, or that and _mask; a pixel belongs to the structure if it has
    more than half of the full value. A label whose mask is missing, or has pixels to --ignore, is
    unknown in that image.
    """
    from paxray_lib.importing.mask_folders import mask_folders

    _check_apart(images, out)
    pairs = [text.partition("=") for text in mask]
    if wrong := [text for text, pair in zip(mask, pairs, strict=True) if not all(pair)]:
        raise ValueError(f"--mask {wrong[0]!r}: must be NAME=DIR, as in heart=masks/heart")
    source = mask_folders(images, [(name, folder) for name, _, folder in pairs], ignore)
    return _import(source, out, splits, split, known)


@_command
def coco(
    out: Out,
    images: Images,
    annotations: Annotated[list[Path], option("COCO JSON, such as train.json; can be repeated.")],
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import COCO files of any size: run lengths or polygons.

    The name of a file says its split: train, val or test. A category without an annotation in an
    image is absent there.
    """
    from paxray_lib.importing.coco import coco_source

    return _import(coco_source(annotations, images), out, splits, split, known)


@_command
def sharded_coco(
    folder: Annotated[Path, argument("Folder with index.json and categories.json.")],
    out: Out,
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import "sharded_coco_v1" of anatomy-datasets: one COCO file an image."""
    from paxray_lib.importing.coco import sharded_source

    return _import(sharded_source(folder), out, splits, split, known)


@_command
def dicom_seg(
    out: Out,
    images: Images,
    segmentations: Annotated[Path, option("Folder of DICOM Segmentations of these images.")],
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import DICOM Segmentations, such as predictions that were corrected elsewhere.

    Each is paired with its image by UID, whatever its name. They must be BINARY, not compressed,
    and of the size of their image. A label without a segment in a file is unknown in that image.
    """
    from paxray_lib.importing.dicom_seg import segmentation_source

    _check_apart(images, out)
    return _import(segmentation_source(images, segmentations), out, splits, split, known)


@_command
def multiclass(
    datafile: Annotated[Path, option("JSON with label_dict, train, val and test.")],
    out: Out,
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import a data set whose targets are PNG pictures of classes: the value of a pixel is its one.

    Paths are relative to the folder of the data file. Class 0 is the background, unless label_dict
    names it otherwise.
    """
    from paxray_lib.importing.multiclass import multiclass_source

    return _import(multiclass_source(datafile), out, splits, split, known)


@_command
def chexmask(
    table: Annotated[Path, option("CSV of CheXmask, of one source of images.")],
    images: Images,
    out: Out,
    min_dice: Annotated[
        float, option("Leave out masks with a lower Dice RCA (Mean): 0.7 as its authors advise.")
    ] = 0.7,
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Import CheXmask's masks of lungs and heart for a folder of images, of which it may have more.

    Rows without an image, and images without a row, are left out and counted.
    """
    from paxray_lib.importing.chexmask import chexmask_source

    _check_apart(images, out)
    return _import(chexmask_source(table, images, min_dice), out, splits, split, known)


@_command
def reviewed(
    review: Annotated[Path, option("Folder of review.csv.")],
    out: Out,
    predictions: Annotated[Path | None, option("Folder that predict wrote, reviewed.")] = None,
    data_root: Annotated[Path | None, option("Or the data set that was reviewed.")] = None,
    datafile: shared.DataFile = Path("paxray.json"),
    splits: Splits = None,
    split: Split = None,
    known: Known = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> int:
    """Make a data set of what a review accepted, of predictions or of a data set.

    The same command again adds what was accepted since. Images of a data set keep their splits.
    """
    from paxray_lib.review.accepted import accepted_source
    from paxray_lib.review.films import listed_films, predicted_films

    if predictions and not data_root:
        films = predicted_films(predictions)
    elif data_root and not predictions:
        films = listed_films(data_root, datafile)
    else:
        raise ValueError(
            "what was reviewed: name it by --predictions or by --data-root, one of both"
        )
    return _import(accepted_source(films, review), out, splits, split, known)


@_command
def strokes(
    file: Annotated[Path, argument("What a page without a kernel handed out: strokes.json.")],
    out: Annotated[Path, option("Folder of corrections, which is a data set.")],
    images: Annotated[Path | None, option("Folder of the films that were corrected.")] = None,
    predictions: Annotated[Path | None, option("Folder of their predicted masks.")] = None,
    data_root: Annotated[Path | None, option("Or the data set that was corrected.")] = None,
    datafile: shared.DataFile = Path("paxray.json"),
    split: Annotated[str, option("Of the data set.")] = "train",
    who: Annotated[str | None, option("Who corrected; by default the account.")] = None,
) -> int:
    """Save what was corrected in a page without a kernel, as the viewer does.

    The same command again saves what failed. Exit code 1 if an image failed.
    """
    from paxray_lib.data.dataset import PaxrayDataset
    from paxray_lib.review.decisions import account
    from paxray_lib.viewer.replay import read_strokes, save_strokes
    from paxray_lib.viewer.sources import from_dataset, from_folder

    if data_root and not images:
        source = from_dataset(PaxrayDataset(data_root, datafile, split), predictions)
    elif images and predictions and not data_root:
        source = from_folder(images, predictions)
    else:
        raise ValueError("what was corrected: name --images and --predictions, or --data-root")
    done, failed = save_strokes(read_strokes(file), source, out, who or account())
    for line in failed:
        log(f"failed: {line}")
    say(f"{len(done)} corrected, {len(failed)} failed; {out}")
    return SOME_FAILED if failed else DONE
