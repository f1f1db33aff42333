"""Commands on models: train, evaluate, predict, overlay."""

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

from paxray_lib.cli import command as shared
from paxray_lib.cli.command import DONE, SOME_FAILED, command, option, split_names
from paxray_lib.compute.launch import find_launch
from paxray_lib.utils import atomic_write, log, say

#: Of so many films all can be looked at, and none is named.
MANY = 5
#: Options that measure.
MEASURING = "--measure, --report, --sheet or --json"


@command
def train(
    profile: shared.Profile,
    settings: shared.Settings = [],  # noqa: B006
    resume: Annotated[bool, option("Go on from the last checkpoint.", "--resume")] = False,
) -> None:
    """Train a model; checkpoints and logs go to run_dir, else to runs/ and the profile's name.

    On several GPUs: torchrun --nproc-per-node 4 -m paxray_lib train --profile P.yaml
    """
    from paxray_lib import TrainConfig, fit
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.runs.run import train_settings

    folder = fit(build_config(TrainConfig, train_settings(profile, settings)), resume=resume)
    if find_launch().rank == 0:
        say(f"done: {folder}")


@command
def evaluate(
    weights: shared.Weights,
    data_root: shared.DataRoot,
    datafile: shared.DataFile = Path("paxray.json"),
    split: Annotated[str, option("train, val or test.")] = "test",
    map: Annotated[
        str | None,
        option("What labels of the data are in the model's: YAML file, or a known name."),
    ] = None,
    out: Annotated[Path | None, option("Folder for tables, counts and summary.")] = None,
    device: shared.Device = "auto",
    threshold: shared.Threshold = 0.5,
    mirror: shared.Mirror = False,
    close_tree: shared.CloseTree = False,
    precision: shared.Precision = "float32",
) -> None:
    """Evaluate a model on a split: IoU and Dice by label, group and view, in both conventions.

    On data with other labels those of equal names are compared; --map says of others what they are
    in the model's. Maps known by name: chexmask, jsrt, montgomery, shenzhen, v7, wingspan.
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
            map=map,
            out=out,
            device=device,
            threshold=threshold,
            mirror=mirror,
            close_tree=close_tree,
            precision=precision,
        )
        if is_first():
            say("\n".join(score_lines(result.summary["overall"])))


@command
def predict(
    images: Annotated[
        Path, option("An image, a folder with all below it, or a list in a .txt file.")
    ],
    out: Annotated[Path, option("Folder for the outputs and report.csv.")],
    weights: Annotated[
        Path, option("open, a checkpoint, what export hub or onnx wrote, published weights, cxas.")
    ] = Path("open"),
    format: Annotated[str, option("packed, npy, coco, or dicom-seg for DICOM images.")] = "packed",
    threshold: shared.Threshold = 0.5,
    labels: shared.Labels = "",
    probabilities: Annotated[
        str, option("Labels whose probabilities are written, too: as in --labels.")
    ] = "",
    mirror: shared.Mirror = False,
    close_tree: shared.CloseTree = False,
    measure: Annotated[
        bool, option("Cardiothoracic ratio, ... to measurements.csv.", "--measure")
    ] = False,
    measure_doubtful: Annotated[
        bool, option("Measure films with flags, too.", "--measure-doubtful")
    ] = False,
    overlays: Annotated[
        bool, option("Pictures with a legend, of --labels or the large structures.", "--overlays")
    ] = False,
    page: Annotated[
        bool, option("One page of all films and their measurements, report.html.", "--report")
    ] = False,
    sheet: Annotated[
        bool, option("A contact sheet of them to print or send, sheet.pdf.", "--sheet")
    ] = False,
    as_json: Annotated[
        bool, option("Say all of each film as a line of JSON; measures, too.", "--json")
    ] = False,
    view: Annotated[
        str | None, option("frontal or lateral: of images that do not say theirs.")
    ] = None,
    views: Annotated[
        Path | None, option("CSV table of image and view: of images known better than by name.")
    ] = None,
    spacing: Annotated[
        float | None, option("Distance of pixels in mm: of images that do not say theirs.")
    ] = None,
    overwrite: Annotated[bool, option("Make existing outputs again.", "--overwrite")] = False,
    batch_size: Annotated[
        int | None, option("Images at once; by default 1, on a GPU 8.", min=1)
    ] = None,
    precision: shared.Precision = "float32",
    device: shared.Device = "auto",
) -> int:
    """Write masks for X-rays (PNG, JPEG, DICOM), each of its image's size.

    The same command again goes on where a stopped one was, and tries again what failed. Exit code 1
    if some could not be done.
    """
    import paxray_lib
    from paxray_lib.compute.collectives import is_first, joined
    from paxray_lib.measurement.tables import check_spacing
    from paxray_lib.prediction.engines import find_model
    from paxray_lib.prediction.views import read_views

    measure = measure or measure_doubtful or page or sheet or as_json
    if spacing is not None and not measure:
        raise ValueError(f"--spacing is for measurements; add {MEASURING}")
    check_spacing(spacing)
    known = read_views(views, images, out) if views else {}
    seen: Any = {"view": view, "views": known}
    names = split_names(labels) or None
    model = find_model(weights, device, precision)
    with redirect_stdout(sys.stderr if as_json else sys.stdout), joined():
        report = paxray_lib.predict(
            model,
            images,
            out,
            format=format,
            threshold=threshold,
            labels=names,
            probabilities=split_names(probabilities),
            batch_size=batch_size,
            mirror=mirror,
            overwrite=overwrite,
            precision=precision,
            close_tree=close_tree,
            **seen,
        )
        if not is_first():
            return SOME_FAILED if (report["status"] == "failed").any() else DONE
        problems, measured = _tell(out, report, model), None
        if measure:
            measured, missed = _measure(out, report, seen, spacing, measure_doubtful)
            problems += missed
        problems += _draw(out, report, measured, names, overlays, page, sheet)
    if as_json:
        _say_json(out, report, measured)
    return SOME_FAILED if problems else DONE


def _tell(out: Path, report: Any, model: Any) -> list[str]:
    """Say how a prediction went; return why files failed."""
    from paxray_lib.prediction.engines import engine_of
    from paxray_lib.prediction.predict import size_of_probabilities

    counts = Counter(report["status"])
    problems = report.loc[report["status"] == "failed", "reason"].tolist()
    _list_failed(problems)
    flags = report["flags"].where(report["status"].isin(["ok", "skipped"]), "")
    flagged = Counter(flag for text in flags for flag in text.split())
    numbers = ", ".join(f"{counts[status]} {status}" for status in ("ok", "skipped", "failed"))
    say(f"{numbers}; {out}/report.csv; {model.name} by {engine_of(model)}")
    if size := size_of_probabilities(out, report):
        say(f"probabilities: {size}")
    if flagged:
        numbers = ", ".join(f"{count} {flag}" for flag, count in flagged.most_common())
        say(f"flags of films to look at: {numbers}")
    _tell_doubtful(report)
    return problems


def _tell_doubtful(report: Any) -> None:
    """Say which films to look at first, if they are many."""
    from paxray_lib.prediction.doubt import by_doubt

    films = by_doubt(report)
    if len(films) <= MANY:
        return
    first = films[(films["flags"] != "") | films["doubt"].notna()].head(3)
    said = [
        f"{row.file} ({row.flags.replace(' ', ', ') or f'doubt {row.doubt:.2f}'})"
        for row in first.itertuples()
    ]
    if said:
        say("most doubtful: " + ", ".join(said).replace("\n", "\\n"))


def _measure(
    out: Path, report: Any, seen: dict[str, Any], spacing: float | None, doubtful: bool
) -> tuple[Any, list[str]]:
    """Measure predictions; return the table, and why films failed."""
    from paxray_lib.measurement.tables import failures, measure_predictions, without_view

    measured = measure_predictions(out, report, **seen, spacing_mm=spacing, doubtful=doubtful)
    problems = failures(measured)
    _list_failed(problems, "measurements")
    if unknown := without_view(measured):
        remedy = "no widths measured; say --view frontal or --view lateral, or --views"
        say(f"{unknown} image{'s' if unknown > 1 else ''} of unknown view: {remedy}")
    return measured, problems


def _say_json(out: Path, report: Any, measured: Any) -> None:
    from paxray_lib.measurement.lines import json_lines

    for line in json_lines(out, report, measured):
        say(line)


def _draw(
    out: Path, report: Any, measured: Any, names: Any, overlays: bool, page: bool, sheet: bool
) -> list[str]:
    """Draw predictions, and write the page and the sheet that are asked for; return problems."""
    if not (overlays or page or sheet):
        return []
    from paxray_lib.results.overlays import draw_predictions
    from paxray_lib.results.page import in_order, write_page
    from paxray_lib.results.sheet import write_sheet

    small = set(in_order(report)["file"]) if page or sheet else ()
    pictures = draw_predictions(out, report, names, overlays=overlays, thumbnails=small)
    problems = [picture.problem for picture in pictures.values() if picture.problem]
    _list_failed(problems)
    if overlays:
        say(f"{sum(bool(p.overlay) for p in pictures.values())} pictures; {out}/overlays")
    for is_wanted, write in ((page, write_page), (sheet, write_sheet)):
        if is_wanted:
            path = write(out, report, measured, pictures, names)
            say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return problems


def _list_failed(reasons: Iterable[str], what: str = "failed") -> None:
    for reason in reasons:
        log(f"{what}: {reason}".replace("\n", "\\n"))  # a name with a line end is one line, too


@command
def overlay(
    image: Annotated[Path, option("PNG, JPEG or DICOM.")],
    masks: Annotated[Path, option("Its masks: .pxm, .npy or .json (COCO RLE).")],
    out: Annotated[Path, option("PNG file to write.")],
    labels: shared.Labels = "",
    legend: Annotated[bool, option("List the labels and their colours beside it.")] = True,
    concat: Annotated[bool, option("Put the plain image beside the overlay.")] = False,
) -> None:
    """Draw labels over an image; without --labels all that are present."""
    from paxray_lib.viz.overlay import visualize_certain_labels, visualize_label

    if out.suffix.lower() != ".png":
        raise ValueError(f"{out}: overlays are written as PNG; end the name with .png")
    if names := split_names(labels):
        drawn = visualize_certain_labels(names, image, masks, concat=concat, legend=legend)
    else:
        drawn = visualize_label(masks, image, concat=concat, legend=legend)
    with atomic_write(out) as temporary:
        drawn.save(temporary, format="PNG")
    say(f"{out}: {drawn.width} x {drawn.height}")
