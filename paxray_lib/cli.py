"""The `paxray` command: argument parsing only; the work is done by the modules of the same names.

Exit codes: 0 done; 1 done, with items that failed and are listed; 2 could not start (bad arguments, missing files);
3 stopped before the end.
"""

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from paxray_lib.common import progress, say

app = typer.Typer(
    name="paxray",
    help="Multi-label anatomy segmentation of chest X-rays: 166 overlapping labels, from data to report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DONE, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 3

DataRoot = Annotated[Path, typer.Option(help="Folder that the paths in the data file are relative to.")]
DataFile = Annotated[Path, typer.Option(help="The data file, such as paxray.json, in the data root or elsewhere.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting; can be repeated.")]
Labels = Annotated[str, typer.Option(help="Label names, groups or patterns, separated by commas: heart,ribs,t1?")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]


def _command(function):
    """Make a function a command whose expected errors end in one line and an exit code."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            code = function(*args, **kwargs)
        except (ValueError, OSError) as error:
            _fail(str(error), NOT_STARTED)
        except KeyboardInterrupt:
            _fail("interrupted", STOPPED)
        raise typer.Exit(code or DONE)

    return app.command()(wrapped)


def _fail(message: str, code: int):
    sys.stderr.write(f"paxray: {message}\n")
    raise typer.Exit(code) from None


@_command
def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write; made if missing. An interrupted run is continued.")],
    cases: Annotated[int, typer.Option(min=1, help="Patients; each has a frontal and a lateral image.")] = 96,
    size: Annotated[int, typer.Option(min=32, help="Height and width of the images in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files, bit for bit.")] = 0,
    format: Annotated[
        str, typer.Option(help="Masks as 'packed' (.pxm) or 'npy', as the data set ships them.")
    ] = "packed",
):
    """Generate the sample data set: random thorax phantoms in the PAXRay layout. Synthetic, no patient."""
    from paxray_lib.phantom import generate_sample

    say(f"{generate_sample(out, cases=cases, size=size, seed=seed, format=format)}: {2 * cases} images")


@_command
def check(data_root: DataRoot, datafile: DataFile = Path("paxray.json")):
    """List every finding in a data set; exit code 1 if one of them is an error."""
    from paxray_lib.check import check_dataset

    findings = check_dataset(data_root, datafile)
    for finding in findings:
        say(f"{finding.severity:8} {finding.where}: {finding.message}")
    errors = sum(finding.severity == "error" for finding in findings)
    say(f"{errors} errors, {len(findings) - errors} warnings in {Path(data_root) / datafile}")
    return SOME_FAILED if errors else DONE


@_command
def pack(data_root: DataRoot, datafile: DataFile = Path("paxray.json")):
    """Write a packed file (.pxm, about a thousandth of the size) beside every .npy target, and verify it."""
    from paxray_lib.dataset import npy_targets, pack_target, read_datafile

    data = read_datafile(data_root, datafile)
    targets = npy_targets(data)
    done = {"packed": 0, "skipped": 0}
    failed = 0
    for path in progress(targets, "packing"):
        try:
            done[pack_target(path, data.labels)] += 1
        except (ValueError, OSError) as error:
            failed += 1
            sys.stderr.write(f"failed: {error}\n")
    say(f"{done['packed']} packed, {done['skipped']} already packed, {failed} failed of {len(targets)} .npy targets")
    return SOME_FAILED if failed else DONE


@_command
def overlay(
    image: Annotated[Path, typer.Option(help="PNG, JPEG or DICOM.")],
    masks: Annotated[Path, typer.Option(help="Its masks: .pxm, .npy or .json (COCO RLE).")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    labels: Labels = "",
    legend: Annotated[bool, typer.Option(help="List the labels and their colours beside the image.")] = True,
    concat: Annotated[bool, typer.Option(help="Put the plain image beside the overlay.")] = False,
):
    """Draw labels over an image; without --labels all that are present."""
    from paxray_lib.common import atomic_write
    from paxray_lib.overlay import visualize_certain_labels, visualize_label

    names = [name for name in labels.split(",") if name.strip()]
    if names:
        picture = visualize_certain_labels(names, image, masks, concat=concat, legend=legend)
    else:
        picture = visualize_label(masks, image, concat=concat, legend=legend)
    with atomic_write(out) as temporary:
        picture.save(temporary, format="PNG")
    say(f"{out}: {picture.width} x {picture.height}")


def main() -> None:
    """Entry point of the console script."""
    app()
