"""Commands on data: sample, notebooks, labels, check, pack, fetch, project."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

from paxray_lib.cli import command as shared
from paxray_lib.cli.command import DONE, SOME_FAILED, argument, command, option
from paxray_lib.utils import check_choice, did_you_mean, log, progress, say


@command
def sample(
    out: Annotated[Path, argument("Folder to write; an interrupted run is continued.")],
    cases: Annotated[int, option("Patients; each has a frontal and a lateral image.", min=1)] = 96,
    size: Annotated[int, option("Height and width of the images in pixels.", min=32)] = 256,
    seed: Annotated[int, option("The same seed gives the same files, bit for bit.")] = 0,
    format: Annotated[str, option("Masks as 'packed' (.pxm) or 'npy', as published.")] = "packed",
    varied: Annotated[
        bool, option("Also patients in bed, haze, faint pictures, wires.", "--varied")
    ] = False,
) -> None:
    """Generate the sample data set: random thorax phantoms in the PAXRay layout, no patients."""
    from paxray_lib.phantoms.sample_dataset import generate_sample

    path = generate_sample(out, cases=cases, size=size, seed=seed, format=format, varied=varied)
    say(f"{path}: {2 * cases} images")


@command
def notebooks(
    folder: Annotated[Path, argument("Folder to copy them to; files of your own are kept.")],
) -> None:
    """Copy the notebooks, their profiles and the example films to a folder, ready to run."""
    from paxray_lib.utils.shipped import copy_notebooks

    copied = copy_notebooks(folder)
    say(f"{folder}: {len(copied)} notebooks; go there and start: jupyter lab notebooks")


@command
def labels(
    patterns: Annotated[list[str], argument("Names, groups or patterns; all by default.")] = [],  # noqa: B006 - typer reads the default, nobody changes it
    as_json: Annotated[bool, option("As JSON, with indices for names.", "--json")] = False,
) -> None:
    """List the labels: index, name, group, side, mirror label, wholes that it is a part of.

    checked says what the open model's masks of it were compared with: masks that people drew on
    real films, projections of one real CT only (ct), or nothing real (none).
    """
    from paxray_lib.labels.listing import label_json, label_lines
    from paxray_lib.labels.table import LABELS

    indices = LABELS.select(patterns) if patterns else list(range(len(LABELS)))
    say(label_json(LABELS, indices) if as_json else "\n".join(label_lines(LABELS, indices)))


@command
def check(data_root: shared.DataRoot, datafile: shared.DataFile = Path("paxray.json")) -> int:
    """List every finding in a data set; exit code 1 if one of them is an error."""
    from paxray_lib.quality.check import check_dataset

    findings = check_dataset(data_root, datafile)
    for finding in findings:
        # a name may have a line end, after which it could say anything
        say(f"{finding.severity:8} {finding.where}: {finding.message}".replace("\n", "\\n"))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    say(f"{errors} errors, {warnings} warnings in {datafile} with data in {data_root}")
    return SOME_FAILED if errors else DONE


@command
def pack(
    data_root: shared.DataRoot,
    datafile: shared.DataFile = Path("paxray.json"),
    workers: Annotated[int, option("Files at a time; 0: one per core, at most 64.")] = 0,
    remove_npy: Annotated[
        bool, option("Delete a .npy once its packed file was read back.", "--remove-npy")
    ] = False,
) -> int:
    """Write a verified packed file (.pxm, a thousandth of the size) beside every .npy target."""
    from paxray_lib.data.datafile import read_datafile
    from paxray_lib.data.packing import MAX_WORKERS, npy_targets, pack_dataset

    data = read_datafile(data_root, datafile)
    total = len(npy_targets(data))
    counts: Counter[str] = Counter()
    packing = pack_dataset(data, workers or min(MAX_WORKERS, os.cpu_count() or 1), remove_npy)
    for item in progress(packing, "packing", total):
        counts.update({item.status: 1, "removed": item.removed})
        if item.reason:
            log(f"failed: {item.reason}")
    say(
        f"{counts['packed']} packed, {counts['skipped']} already packed, "
        f"{counts['failed']} failed of {total} .npy targets"
    )
    if remove_npy:
        say(f"{counts['removed']} .npy files deleted")
    return SOME_FAILED if counts["failed"] else DONE


@command
def fetch(
    what: Annotated[str, argument("dataset or weights, as published by the authors of PAXRay.")],
    which: Annotated[
        str | None,
        option(
            "Data set: paxray (default) or paxraypp. Weights: full (default), half or quarter "
            "training split, or cxas."
        ),
    ] = None,
    to: Annotated[
        Path | None, option("Target: by default data/paxray, data/paxraypp or weights.")
    ] = None,
    archive: Annotated[Path | None, option("A file fetched by hand, for a download.")] = None,
) -> int | None:
    """Download a published data set or weights (or take a local file), verify and unpack them.

    PAX-Ray++ (paxraypp) becomes a data set in the PAXRay layout, its masks packed. PAX-Ray++ and
    CXAS are for non-commercial use only (CC BY-NC-SA 4.0).
    """
    from paxray_lib.data.fetch import LICENSE, fetch_dataset, fetch_weights

    check_choice(what, ("dataset", "weights"), "fetch")
    if what == "weights":
        say(f"done: {fetch_weights(which or 'full', to or Path('weights'), archive)}")
        return None
    check_choice(which or "paxray", ("paxray", "paxraypp"), "--which")
    if which != "paxraypp":
        return check(fetch_dataset(to or Path("data/paxray"), archive), Path("paxray.json"))
    from paxray_lib.cli.importing import tell
    from paxray_lib.importing.paxraypp import fetch_paxraypp

    code = tell(fetch_paxraypp(to or Path("data/paxraypp"), archive))
    say(LICENSE)
    return code


@command
def project(
    ct: Annotated[Path, option("CT in Hounsfield units (.nii, .nii.gz), or a folder of them.")],
    segmentation: Annotated[
        Path, option("Its label volume, folder of masks, or a folder of these.")
    ],
    out: Annotated[Path, option("Data set to make or to add to.")],
    names: Annotated[
        Path | None, option("Table of value and name, if not TotalSegmentator's.")
    ] = None,
    size: Annotated[int, option("Height and width of the images in pixels.")] = 512,
    formation: Annotated[
        str, option("attenuation, or published: PAXRay's recipe.")
    ] = "attenuation",
    split: Annotated[
        str | None, option("train, val or test; by default as before, or test.")
    ] = None,
) -> int:
    """Project CTs with TotalSegmentator segmentations to frontal and lateral images with masks.

    Two folders are paired by file name, without .nii.gz and without _ct or _0000, and _seg,
    _segmentation, _totalseg or _labels; or by folder: CASE/ct.nii.gz, CASE/segmentations. What a
    scan shows more than 60 mm above or 120 mm below the lungs is left out. The same command again
    skips what is done; another CT of the same name is refused. Exit code 1 if some could not be
    done or paired.
    """
    from paxray_lib.ct.dataset import project_cases
    from paxray_lib.ct.pairing import find_cases
    from paxray_lib.ct.structures import CODES

    cases, unmatched = find_cases(ct, segmentation)
    outcomes = project_cases(cases, out, names=names, size=size, formation=formation, split=split)
    counts = Counter(outcome.status for outcome in outcomes)
    failed = [f"{one.case}: {one.reason}" for one in outcomes if one.status == "failed"]
    for line in failed + unmatched:
        log(f"failed: {line}")
    for outcome in outcomes:
        if outcome.moved_from:
            say(f"moved: {outcome.case} from {outcome.moved_from} to {split}")
    for name in sorted({name for outcome in outcomes for name in outcome.names_not_used}):
        say(f"not used, an unknown name: {name!r}{did_you_mean(name, CODES)}")
    if values := sorted({value for outcome in outcomes for value in outcome.values_without_name}):
        say(f"not used, values without a name: {', '.join(map(str, values))}")
    say(
        f"{counts['ok']} projected, {counts['skipped']} skipped, {len(failed)} failed, "
        f"{len(unmatched)} without counterpart; {out / 'paxray.json'}"
    )
    return SOME_FAILED if failed or unmatched else DONE
