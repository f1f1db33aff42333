"""The `paxray` command: argument parsing only; the work is done by the modules of the same names.

Exit codes: 0 done; 1 done, with items that failed and are listed; 2 could not start (bad arguments,
missing files); 3 stopped before the end."""

import functools
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from paxray_lib.compute.launch import find_launch
from paxray_lib.utils.errors import Stopped, did_you_mean
from paxray_lib.utils.progress import progress, say

app = typer.Typer(
    name="paxray",
    help="Multi-label anatomy segmentation of chest X-rays: 166 overlapping labels, from data to report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DONE, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 3

DataRoot = Annotated[
    Path, typer.Option(help="Folder that the paths in the data file are relative to.")
]
DataFile = Annotated[
    Path, typer.Option(help="The data file, such as paxray.json, in the data root or elsewhere.")
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting; can be repeated."),
]
Labels = Annotated[
    str, typer.Option(help="Label names, groups or patterns, separated by commas: heart,ribs,t1?")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Mirror = Annotated[
    bool, typer.Option("--mirror", help="Average with the mirrored image (known view).")
]
Precision = Annotated[
    str, typer.Option(help="float32, or bfloat16 where the hardware has it: faster.")
]
CloseTree = Annotated[
    bool, typer.Option("--close-tree", help="Add parts to their wholes in the label tree.")
]


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
    launch, who = find_launch(), ""
    if launch.world > 1:
        from paxray_lib.compute.collectives import rank_and_world

        if rank_and_world()[1] > 1:  # once they have joined, each may fail for a reason of its own
            who = f"[process {launch.rank}] "
    if who or launch.local_rank == 0:  # before that they all find the same
        sys.stderr.write(f"paxray: {who}{message}\n")
    raise typer.Exit(code) from None


@_command
def sample(
    out: Annotated[
        Path,
        typer.Argument(help="Folder to write; made if missing. An interrupted run is continued."),
    ],
    cases: Annotated[
        int, typer.Option(min=1, help="Patients; each has a frontal and a lateral image.")
    ] = 96,
    size: Annotated[
        int, typer.Option(min=32, help="Height and width of the images in pixels.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files, bit for bit.")] = 0,
    format: Annotated[
        str, typer.Option(help="Masks as 'packed' (.pxm) or 'npy', as the data set ships them.")
    ] = "packed",
    varied: Annotated[
        bool,
        typer.Option(
            "--varied", help="As on the wards: also patients in bed, haze, faint pictures, wires."
        ),
    ] = False,
):
    """Generate the sample data set: random thorax phantoms in the PAXRay layout. Synthetic, no
    patient.
    """
    from paxray_lib.phantoms.sample_dataset import generate_sample

    path = generate_sample(out, cases=cases, size=size, seed=seed, format=format, varied=varied)
    say(f"{path}: {2 * cases} images")


@_command
def check(data_root: DataRoot, datafile: DataFile = Path("paxray.json")):
    """List every finding in a data set; exit code 1 if one of them is an error."""
    from paxray_lib.quality.check import check_dataset

    findings = check_dataset(data_root, datafile)
    for finding in findings:
        say(f"{finding.severity:8} {finding.where}: {finding.message}")
    errors = sum(finding.severity == "error" for finding in findings)
    say(
        f"{errors} errors, {len(findings) - errors} warnings in {datafile} with data in {data_root}"
    )
    return SOME_FAILED if errors else DONE


@_command
def pack(
    data_root: DataRoot,
    datafile: DataFile = Path("paxray.json"),
    workers: Annotated[
        int, typer.Option(help="Files worked on at a time; 0 takes as many as there are cores.")
    ] = 0,
    remove_npy: Annotated[
        bool,
        typer.Option(
            "--remove-npy",
            help="Delete a .npy once its packed file has been read back and equals it.",
        ),
    ] = False,
):
    """Write a packed file (.pxm, about a thousandth of the size) beside every .npy target, and
    verify it.
    """
    from paxray_lib.data.datafile import read_datafile
    from paxray_lib.data.packing import npy_targets, pack_dataset

    data = read_datafile(data_root, datafile)
    total = len(npy_targets(data))
    done = []
    for item in progress(
        pack_dataset(data, workers or os.cpu_count() or 1, remove_npy), "packing", total
    ):
        done.append(item)
        if item.reason:
            sys.stderr.write(f"failed: {item.reason}\n")
    packed, skipped, failed = (
        sum(item.status == s for item in done) for s in ("packed", "skipped", "failed")
    )
    say(f"{packed} packed, {skipped} already packed, {failed} failed of {total} .npy targets")
    if remove_npy:
        say(f"{sum(item.removed for item in done)} .npy files deleted")
    return SOME_FAILED if failed else DONE


@_command
def overlay(
    image: Annotated[Path, typer.Option(help="PNG, JPEG or DICOM.")],
    masks: Annotated[Path, typer.Option(help="Its masks: .pxm, .npy or .json (COCO RLE).")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    labels: Labels = "",
    legend: Annotated[
        bool, typer.Option(help="List the labels and their colours beside the image.")
    ] = True,
    concat: Annotated[bool, typer.Option(help="Put the plain image beside the overlay.")] = False,
):
    """Draw labels over an image; without --labels all that are present."""
    from paxray_lib.utils.files import atomic_write
    from paxray_lib.viz.overlay import visualize_certain_labels, visualize_label

    if out.suffix.lower() != ".png":
        raise ValueError(f"{out}: overlays are written as PNG; end the name with .png")
    names = [name for name in labels.split(",") if name.strip()]
    if names:
        picture = visualize_certain_labels(names, image, masks, concat=concat, legend=legend)
    else:
        picture = visualize_label(masks, image, concat=concat, legend=legend)
    with atomic_write(out) as temporary:
        picture.save(temporary, format="PNG")
    say(f"{out}: {picture.width} x {picture.height}")


@_command
def fetch(
    what: Annotated[
        str, typer.Argument(help="dataset or weights, as published by the authors of PAXRay.")
    ],
    which: Annotated[
        str, typer.Option(help="Weights trained with the full, half or quarter training split.")
    ] = "full",
    to: Annotated[
        Path | None,
        typer.Option(help="Target folder: data/paxray for the data set, weights for those."),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="A file fetched by hand, in place of a download.")
    ] = None,
):
    """Download the published data set or weights (or take a local file), verify and unpack them."""
    from paxray_lib.data import fetch

    if what == "dataset":
        return check(
            data_root=fetch.fetch_dataset(to or Path("data/paxray"), archive),
            datafile=Path("paxray.json"),
        )
    if what == "weights":
        say(f"done: {fetch.fetch_weights(which, to or Path('weights'), archive)}")
        return DONE
    raise ValueError(f"cannot fetch {what!r}; it is 'dataset' or 'weights'")


@_command
def train(
    profile: Annotated[
        Path, typer.Option(help="YAML file of settings, such as notebooks/profiles/demo.yaml.")
    ],
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
):
    """Train a model; checkpoints, metrics.csv and logs go to run_dir, by default runs/ and the
    profile's name.

    On several GPUs: torchrun --nproc-per-node 4 -m paxray_lib train --profile P.yaml
    """
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.runs.run import train_settings
    from paxray_lib.training.config import TrainConfig
    from paxray_lib.training.loop import fit

    values = train_settings(profile, settings)
    try:
        folder = fit(build_config(TrainConfig, values), resume=resume)
    except Stopped as error:
        _fail(str(error), STOPPED)
    if find_launch().rank == 0:
        say(f"done: {folder}")


@_command
def evaluate(
    weights: Annotated[
        Path, typer.Option(help="A checkpoint of a training run, or published weights.")
    ],
    data_root: DataRoot,
    datafile: DataFile = Path("paxray.json"),
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Folder for per_label.csv, summary.json and counts.npz.")
    ] = None,
    device: Device = "auto",
    threshold: Annotated[
        float, typer.Option(help="A pixel has a label where its probability is greater.")
    ] = 0.5,
    mirror: Mirror = False,
    close_tree: CloseTree = False,
    precision: Precision = "float32",
):
    """Evaluate a model on a split: IoU and Dice by label, group and view, under both
    conventions.
    """
    from paxray_lib.compute.collectives import is_first, joined
    from paxray_lib.evaluation.evaluate import evaluate as run_evaluation
    from paxray_lib.evaluation.tables import score_lines

    with joined():
        result = run_evaluation(
            weights,
            data_root,
            datafile,
            split=split,
            out=out,
            device=device,
            threshold=threshold,
            mirror=mirror,
            close_tree=close_tree,
            precision=precision,
        )
        lines = score_lines(result.summary["overall"]) if is_first() else ()
    for line in lines:
        say(line)


@_command
def predict(
    images: Annotated[
        Path, typer.Option(help="An image, or a folder that is read with everything below it.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs and report.csv.")],
    weights: Annotated[
        Path, typer.Option(help="A checkpoint of a training run, or published weights.")
    ],
    format: Annotated[
        str, typer.Option(help="packed, npy, coco, or dicom-seg for DICOM images.")
    ] = "packed",
    threshold: Annotated[
        float, typer.Option(help="A pixel has a label where its probability is greater.")
    ] = 0.5,
    labels: Labels = "",
    mirror: Mirror = False,
    close_tree: CloseTree = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Cardiothoracic ratio, ... to measurements.csv.")
    ] = False,
    view: Annotated[
        str | None,
        typer.Option(
            help="frontal or lateral: of images that do not say theirs by header or name."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make outputs again that are there.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images that pass through the network together; default 1, on a GPU 8."
        ),
    ] = None,
    precision: Precision = "float32",
    device: Device = "auto",
):
    """Write masks for X-rays (PNG, JPEG, DICOM), each of its image's size; exit code 1 if some
    could not be done.

    The same command again goes on where a stopped one was, and tries again what failed.
    """
    from paxray_lib.compute.collectives import is_first, joined, local_device
    from paxray_lib.measurement.tables import check_measurable, measure_predictions, without_view
    from paxray_lib.models.checkpoints import load_model
    from paxray_lib.prediction.predict import predict as run_prediction

    if measure:
        check_measurable(format)
    names = [name for name in labels.split(",") if name.strip()] or None
    model = load_model(weights, local_device(device))
    with joined():
        try:
            report = run_prediction(
                model,
                images,
                out,
                format=format,
                threshold=threshold,
                labels=names,
                batch_size=batch_size,
                mirror=mirror,
                overwrite=overwrite,
                precision=precision,
                close_tree=close_tree,
                view=view,
            )
        except Stopped as error:
            _fail(str(error), STOPPED)
        failed = report[report["status"] == "failed"]
        if is_first():
            _say_predicted(report, failed, out)
            if measure:
                unknown = without_view(measure_predictions(out, report, view))
                if unknown:
                    say(
                        f"{unknown} images of unknown view: no widths measured; say --view frontal or --view lateral"
                    )
    return SOME_FAILED if len(failed) else DONE


def _say_predicted(report, failed, out: Path) -> None:
    for row in failed.itertuples():
        sys.stderr.write(f"failed: {row.reason}\n")
    counts = report["status"].value_counts()
    numbers = ", ".join(
        f"{counts.get(status, 0)} {status}" for status in ("ok", "skipped", "failed")
    )
    say(f"{numbers}; {out}/report.csv")


@_command
def project(
    ct: Annotated[
        Path, typer.Option(help="CT in Hounsfield units (.nii, .nii.gz), or a folder of them.")
    ],
    segmentation: Annotated[
        Path,
        typer.Option(
            help="Its label volume, or folder of one mask for each structure; or a folder of these."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Data set to make or to add to: paxray.json, images, labels, provenance."
        ),
    ],
    names: Annotated[
        Path | None,
        typer.Option(
            help="Table of value and name (.tsv, .csv, dataset.json), if not TotalSegmentator's."
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Height and width of the images in pixels.")] = 512,
    formation: Annotated[
        str, typer.Option(help="attenuation, or published: the recipe of PAXRay.")
    ] = "attenuation",
    split: Annotated[
        str | None,
        typer.Option(
            help="Split that the cases go to: train, val or test; by default as before, or test."
        ),
    ] = None,
):
    """Project CTs with their TotalSegmentator segmentations to frontal and lateral images with
    masks.

    Two folders are paired by file name, without .nii.gz and without _ct or _0000, and _seg,
    _segmentation, _totalseg or _labels; or by folder: CASE/ct.nii.gz, CASE/segmentations. What a
    scan shows more than 60 mm above or 120 mm below the lungs is left out. The same command again
    skips what is done; another CT of the same name is refused. Exit code 1 if some could not be
    done or paired."""
    from paxray_lib.ct.dataset import project_cases
    from paxray_lib.ct.pairing import find_cases
    from paxray_lib.ct.structures import CODES

    cases, unmatched = find_cases(ct, segmentation)
    outcomes = project_cases(
        cases, out, names=names, size=size, formation=formation, split=split
    )
    failed = [
        f"{outcome.case}: {outcome.reason}" for outcome in outcomes if outcome.status == "failed"
    ]
    for line in failed + unmatched:
        sys.stderr.write(f"failed: {line}\n")
    for outcome in outcomes:
        if outcome.moved_from:
            say(f"moved: {outcome.case} from {outcome.moved_from} to {split}")
    for name in sorted({name for outcome in outcomes for name in outcome.names_not_used}):
        say(f"not used, an unknown name: {name!r}{did_you_mean(name, CODES)}")
    counts = [sum(outcome.status == status for outcome in outcomes) for status in ("ok", "skipped")]
    numbers = f"{counts[0]} projected, {counts[1]} skipped, {len(failed)} failed"
    say(f"{numbers}, {len(unmatched)} without counterpart; {out / 'paxray.json'}")
    return SOME_FAILED if failed or unmatched else DONE


@_command
def run(
    profile: Annotated[
        Path, typer.Option(help="YAML file of settings, such as notebooks/profiles/demo.yaml.")
    ],
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; by default the profile's run_dir, or else runs/ and the profile's name."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Start at the first notebook that is not done.")
    ] = False,
):
    """Execute all notebooks in order without a browser, and leave a report, index.html, in the
    run's folder.
    """
    from paxray_lib.runs.run import run as run_notebooks

    return run_notebooks(profile, settings, out, resume)


@_command
def sweep(
    profiles: Annotated[
        list[Path], typer.Argument(help="YAML files of settings; members are named after them.")
    ],
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
    out: Annotated[
        Path, typer.Option(help="Folder of the sweep, with a folder for each member.")
    ] = Path("runs/sweep"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the members that are not done.")
    ] = False,
):
    """Run several profiles one after another and compare them on one page, index.html, in the
    sweep's folder.

    Exit code 1 if a member failed (the others still run), 3 if the sweep was stopped; --resume goes
    on either way."""
    from paxray_lib.runs.sweep import sweep as run_sweep

    return run_sweep(profiles, settings, out, resume)


def main() -> None:
    """Entry point of the console script."""
    app()
