"""The command export: a data set in another layout, a model or films for others."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from paxray_lib.cli import command as shared
from paxray_lib.cli.command import DONE, SOME_FAILED, app, command, option, split_names
from paxray_lib.utils import log, say

exporting = typer.Typer(
    name="export",
    no_args_is_help=True,
    help="Export a data set or a model to other programs, films to a colleague.",
)
app.add_typer(exporting)


@partial(command, to=exporting)
def coco(
    data_root: shared.DataRoot,
    out: Annotated[Path, option("Folder for a file of each split, such as train.json.")],
    datafile: shared.DataFile = Path("paxray.json"),
    polygons: Annotated[
        bool, option("Polygons where these are drawn as the same bits.", "--polygons")
    ] = False,
) -> int:
    """Export a data set to COCO; paxray import coco brings it back without a changed bit.

    Masks are run lengths; categories have the index of their label for an id, so that labels of one
    name stay apart.
    """
    from paxray_lib.importing.coco_export import export_coco

    done = export_coco(data_root, datafile, out, polygons=polygons)
    for line in done.failed:
        log(f"failed: {line}")
    drawn, runs = done.counts["polygons"], done.counts["run lengths"]
    if polygons:
        say(f"{drawn} masks are polygons; {runs} are run lengths, since polygons would change them")
    say(
        f"{done.counts['images']} images, {drawn + runs} masks, "
        f"{done.counts['without masks']} images without masks left out, "
        f"{len(done.failed)} failed; {out}"
    )
    say(f"file names are relative to {done.images}, the --images of paxray import coco")
    return SOME_FAILED if done.failed else DONE


@partial(command, to=exporting)
def onnx(
    out: Annotated[Path, option("File to write, such as model.onnx.")],
    weights: shared.Weights = Path("open"),
) -> None:
    """Export a model as one ONNX file: gray pixels of any size in, logits and probabilities out.

    Its logits are compared with torch's before it is written.
    """
    from paxray_lib.graphs.export import export_onnx

    model = export_onnx(weights, out)
    size = " x ".join(map(str, model.preprocessing.size))
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {len(model.labels)} labels at {size}")


@partial(command, to=exporting)
def hub(
    out: Annotated[Path, option("Folder to make.")],
    weights: shared.Weights = Path("open"),
    licence: Annotated[
        str | None, option("Of weights that do not say theirs: MIT, CC-BY-4.0, ...")
    ] = None,
) -> None:
    """Export a model as model hubs have them: safetensors, config.json, model card.

    Nothing is uploaded. Every command takes the folder as --weights.
    """
    from paxray_lib.sharing.hub import export_hub

    model = export_hub(weights, out, licence)
    size = sum(path.stat().st_size for path in out.iterdir())
    say(
        f"{out}: {size / 1e6:.1f} MB, {len(model.labels)} labels; read README.md before it goes out"
    )


@partial(command, to=exporting)
def page(
    images: Annotated[Path, option("A film, or a folder with everything below it.")],
    out: Annotated[Path, option("Page to write, such as page.html.")],
    masks: Annotated[
        Path | None, option("Folder that paxray predict wrote; without it, predicted now.")
    ] = None,
    labels: shared.Labels = "",
    size: Annotated[
        int, option("Longest side of a film in pixels; larger ones are reduced.", min=64)
    ] = 1024,
) -> int:
    """Export films and masks with the viewer, as one page that opens offline, for a colleague.

    With --labels it has these alone. Names of files are in the page.
    """
    from paxray_lib.sharing.page import export_page

    made = export_page(images, out, masks=masks, labels=split_names(labels), size=size)
    for reason in made.problems:
        log("failed: " + reason.replace("\n", "\\n"))
    films = "1 film" if made.films == 1 else f"{made.films} films"
    say(f"{out}: {films}, {made.bytes / 1e6:.1f} MB, {len(made.problems)} failed")
    return SOME_FAILED if made.problems else DONE


@partial(command, to=exporting)
def live(
    runtime: Annotated[Path, option("Archive that npm pack onnxruntime-web fetches.")],
    out: Annotated[Path, option("Page to write, such as live.html.")],
    weights: shared.Weights = Path("open"),
) -> None:
    """Export a page that segments films dropped on it, in the reader's browser, offline."""
    from paxray_lib.sharing.live import export_live

    size = export_live(runtime, out, weights)
    say(f"{out}: {size / 1e6:.1f} MB")
