"""Masks for X-rays of any size: one image, a list of files, or a folder tree.

Each output is written whole or not at all, and one that is there already is not made again, so that
a run that was stopped goes on where it was (see `utils.manifest`). In the output folder

- `report.csv` has one row per input: file, status, reason, output. The status is ok, skipped (done
  before), failed, or pending while the run is at work or where it was stopped. A file whose name is
  not UTF-8 is failed, since no table can name it; its other bytes are written as escapes.
- `settings.json` says with which model and settings all outputs of the folder were made.

Several processes (see `compute.collectives`) share the inputs; the report is of the first one's
share until all are done.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from paxray_lib.compute.collectives import from_first, gather, is_first, rank_and_world
from paxray_lib.compute.devices import check_precision
from paxray_lib.images.files import find_images
from paxray_lib.images.views import VIEWS
from paxray_lib.models.decisions import check_threshold
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.prediction.formats import FORMATS, output_names
from paxray_lib.prediction.pipeline import REPORT, Pipeline
from paxray_lib.utils.errors import Stopped, check_choice
from paxray_lib.utils.files import write_text
from paxray_lib.utils.manifest import NAME as MANIFEST
from paxray_lib.utils.manifest import Manifest, read_manifest

SETTINGS = "settings.json"


def predict(
    model: AnatomySegmenter,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    format: str = "packed",
    threshold: float = 0.5,
    labels: str | Iterable[str] | None = None,
    batch_size: int | None = None,
    mirror: bool = False,
    overwrite: bool = False,
    precision: str = "float32",
    close_tree: bool = False,
    view: str | None = None,
) -> pd.DataFrame:
    """Write masks for images, each at its own height and width.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    images : a file, a folder (read with everything below it), or several files
    out : folder for the outputs, which repeat the folders of the inputs, and `report.csv`
    format : "packed" (.pxm), "npy" ((L, H, W) bool, as published), "coco" (RLE JSON), or
        "dicom-seg" (for DICOM images)
    threshold : a pixel has a label where its sigmoid is greater
    labels : names, groups and patterns of the labels to write; all by default
    batch_size : images that pass through the network together; by default 1, on a GPU 8 (a CPU
        gains nothing from more)
    mirror : average each image of known view with its mirror image, sides swapped back
    overwrite : make outputs again that are there already
    precision : "float32", or "bfloat16": faster on hardware that has it, but outlines move a little
    close_tree : add the pixels of each label to the labels that it is a part of, see
        `masks.hierarchy.close_tree`
    view : "frontal" or "lateral" for the images that do not say theirs by header or name; only
        `mirror` asks for it

    Returns
    -------
    DataFrame
        The report: file, status, reason, output (relative to `out`), in the order of the inputs.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image, a setting is wrong, or `out` holds predictions made with other
        settings or files that were not made by a prediction.
    Stopped
        If the disk is full or fails; the same call goes on once it does not.
    """
    check_choice(format, FORMATS, "format")
    check_threshold(threshold)
    check_precision(precision)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be 1 or more")
    if view is not None:
        check_choice(view, VIEWS, "view")
    indices = model.labels.select(labels) if labels else list(range(len(model.labels)))
    out = Path(out)
    outputs = from_first(lambda: _plan(images, out, FORMATS[format]))
    settings = {
        "model": model.name,
        "weights": _digest(model),
        "preprocessing": model.preprocessing.to_dict(),
        "format": format,
        "threshold": threshold,
        "labels": [model.labels.names[i] for i in indices],
        "mirror": mirror,
        "precision": precision,
        "close_tree": close_tree,
        "view": view if mirror else None,  # without mirroring it changes no output
    }
    # the first process opens its manifest, and refuses for all of them, before the others do
    opened: list[Manifest] = []
    from_first(lambda: opened.append(_open_manifest(out, outputs, settings, overwrite)))
    with opened[0] if opened else Manifest(out, rank=rank_and_world()[0]) as manifest:
        pipeline = Pipeline(model, manifest, settings, indices, outputs)
        _work_together(pipeline, batch_size or (8 if next(model.parameters()).is_cuda else 1))
        return pipeline.table()


def _plan(
    images: str | os.PathLike | Iterable[str | os.PathLike], out: Path, suffix: str
) -> dict[Path, str]:
    """Return the inputs with the names of their outputs, in order."""
    if isinstance(images, (str, os.PathLike)):
        base = Path(images) if Path(images).is_dir() else Path(images).parent
        # in the folder of the images, outputs of an earlier run may look like images
        made = {os.path.abspath(out / output) for output in read_manifest(out)}
        paths = [path for path in find_images(images) if os.path.abspath(path) not in made]
    else:
        paths = [Path(name) for name in dict.fromkeys(os.fspath(path) for path in images)]
        if not paths:
            raise ValueError("no images to predict: the list is empty")
        base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    names = [os.path.relpath(path.absolute(), base.absolute()) for path in paths]
    outputs = output_names(names, suffix, (REPORT, SETTINGS, MANIFEST))
    return dict(zip(paths, outputs, strict=True))


def _digest(model: torch.nn.Module) -> str:
    """Return a fingerprint of the weights."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _open_manifest(
    out: Path, outputs: dict[Path, str], settings: dict[str, Any], overwrite: bool
) -> Manifest:
    """Return the manifest of a folder in which only outputs of these settings count as done.

    Nothing that was not predicted from these inputs is written over, unless `overwrite`.
    """
    manifest = Manifest(out)
    try:
        if overwrite:
            manifest.forget()
        else:
            _check_settings(out / SETTINGS, settings)
        for path, output in outputs.items():
            if not (overwrite or manifest.may_write(output, path)):
                raise ValueError(
                    f"{out / output}: is there already and was not predicted from {path}; "
                    "use another folder, or overwrite"
                )
        manifest.clean(outputs.values())
        write_text(out / SETTINGS, json.dumps(settings, indent=1))
    except (ValueError, OSError):
        manifest.close()
        raise
    return manifest


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    if not path.is_file():
        return
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: not the settings of a prediction ({error}); use another folder, or overwrite"
        ) from error
    changed = [name for name, value in settings.items() if old.get(name) != value]
    if changed:
        raise ValueError(
            f"{path.parent}: holds predictions with other {', '.join(changed)}; "
            "use another folder, or overwrite"
        )


def _work_together(pipeline: Pipeline, batch_size: int) -> None:
    """Do this process's share, then join reports and manifests; if one had to stop, all end so."""
    stopped = pipeline.run(batch_size)
    if not is_first():
        pipeline.manifest.close()
    for rows, reason in gather((pipeline.rows, stopped)):
        pipeline.rows |= rows
        stopped = stopped or reason
    if is_first():
        pipeline.finish()
    gather(None)  # the report is complete before any process goes on
    if stopped:
        done = sum(status in ("ok", "skipped") for status, _ in pipeline.rows.values())
        raise Stopped(
            f"{pipeline.out}: {stopped}; {done} of {len(pipeline.outputs)} done; "
            "when that is mended, the same again goes on"
        )
