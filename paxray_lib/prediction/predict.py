"""Masks for X-rays of any size: one image, a list of files, or a folder tree.

Each output is written whole or not at all, and one that is there already is not made again, so that
a run that was stopped goes on where it was (see `utils.manifest`). In the output folder

- `report.csv` has one row per input: file, status, reason, output; height and width in pixels;
  view, view_probability and flags, see `recognition`; doubt and its signs, see `doubt`. The status
  is ok, skipped (done before), failed, or pending while the run is at work or where it was stopped.
  The reason of a row that is done is what its file says and cannot be, such as a spacing of zero. A
  file whose name is not UTF-8 is failed, since no table can name it; its other bytes are written as
  escapes.
- `settings.json` says with which model and settings all outputs of the folder were made.

Several processes (see `compute.collectives`) share the inputs; the report is of the first one's
share until all are done.
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from paxray_lib.compute.collectives import from_first, rank_and_world
from paxray_lib.compute.devices import PRECISIONS
from paxray_lib.images.files import IMAGE_SUFFIXES, find_images
from paxray_lib.images.views import VIEWS
from paxray_lib.masks.probabilities import SUFFIX, probabilities_name
from paxray_lib.models.decisions import check_threshold
from paxray_lib.models.inference import AS_PUBLISHED, Segmenter, outline_kind
from paxray_lib.prediction.engines import find_model
from paxray_lib.prediction.pipeline import (
    DEFINITIONS_FILE,
    MEASUREMENTS,
    OVERLAYS,
    PAGE,
    REPORT,
    SHEET,
    Pipeline,
    files_of,
)
from paxray_lib.utils import check_choice, parse_json, read_bytes, write_text
from paxray_lib.utils.manifest import NAME, Manifest, read_manifest

SETTINGS = "settings.json"
_OURS = (REPORT, MEASUREMENTS, DEFINITIONS_FILE, PAGE, SHEET, SETTINGS, NAME)
FORMATS = {"packed": ".pxm", "npy": ".npy", "coco": ".json", "dicom-seg": ".seg.dcm"}


def predict(
    model: Segmenter | str | os.PathLike,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    format: str = "packed",
    threshold: float = 0.5,
    labels: str | Iterable[str] | None = None,
    probabilities: str | Iterable[str] | None = None,
    batch_size: int | None = None,
    mirror: bool = False,
    overwrite: bool = False,
    precision: str = "float32",
    close_tree: bool = False,
    view: str | None = None,
    views: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Write masks for images, each at its own height and width.

    Parameters
    ----------
    model : "open", a file of weights, or a module from `build_model` or `load_model`
        By name, the open model and files of `paxray export onnx` run without torch, see `engines`.
    images : a file, a folder with everything below it, a list in a .txt file, or several files
    out : folder for the outputs, which repeat the folders of the inputs, and `report.csv`
    format : "packed" (.pxm), "npy" ((L, H, W) bool, as published), "coco" (RLE JSON), or
        "dicom-seg" (for DICOM images)
    threshold : a pixel has a label where its sigmoid is greater
    labels : names, groups and patterns of the labels to write; all by default
    probabilities : the same of those whose probabilities are written beside the masks, too, see
        `masks.probabilities`; none by default
    batch_size : images that pass through the network together; by default 1, on a GPU 8 (a CPU
        gains nothing from more)
    mirror : average each image of known view with its mirror image, sides swapped back
    overwrite : make outputs again that are there already, and remove those in other formats
    precision : "float32", or "bfloat16": faster on hardware that has it, but outlines move a little
    close_tree : add the pixels of each label to the labels that it is a part of, see
        `masks.hierarchy.close_tree`
    view : "frontal" or "lateral" for the images that do not say theirs by header or name; by
        default it is recognized in the masks
    views : {file: view} of what is known better than by header or name, such as by `read_views`

    Returns
    -------
    DataFrame
        The report, in the order of the inputs: file, status, reason, output (relative to `out`),
        height, width, view, view_probability, flags, doubt and its signs.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image, a setting is wrong, or `out` holds predictions made with other
        settings or files that were not made by a prediction.
    Stopped
        If the disk is full or fails, or memory runs out; the same call goes on once it does not.
    """
    check_choice(format, FORMATS, "format")
    check_threshold(threshold)
    check_choice(precision, PRECISIONS, "precision")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be 1 or more")
    for name in [name for name in {*(views or {}).values(), view} if name is not None]:
        check_choice(name, VIEWS, "view")
    if isinstance(model, (str, os.PathLike)):
        model = find_model(model, precision=precision)
    indices = model.labels.select(labels) if labels else list(range(len(model.labels)))
    chosen = model.labels.select(probabilities) if probabilities else []
    out = Path(out)
    outputs = from_first(lambda: _plan(images, out, FORMATS[format]))
    known = {path: seen for path in outputs if (seen := (views or {}).get(str(path)))}
    settings = {
        "model": model.name,
        "weights": model.weights_digest(),
        "preprocessing": model.preprocessing.to_dict(),
        "outlines": outline_kind(model),
        "format": format,
        "threshold": threshold,
        "labels": [model.labels.names[i] for i in indices],
        "probabilities": [model.labels.names[i] for i in chosen] or None,
        "mirror": mirror,
        "precision": precision,
        "close_tree": close_tree,
        # without mirroring they change no output
        "view": view if mirror else None,
        "unknown_views": "recognized" if mirror else None,
        "views": {outputs[path]: seen for path, seen in known.items()}
        if mirror and known
        else None,
    }
    # the first process opens its manifest, and refuses for all of them, before the others do
    opened: list[Manifest] = []
    from_first(lambda: opened.append(_open_manifest(out, outputs, settings, overwrite)))
    with opened[0] if opened else Manifest(out, rank=rank_and_world()[0]) as manifest:
        pipeline = Pipeline(model, manifest, settings, indices, outputs, known, view)
        return pipeline.run(batch_size)


def size_of_probabilities(out: Path, report: pd.DataFrame) -> str:
    """Return how many files of probabilities a prediction has and what they take; "" if none."""
    if not read_settings(out)["probabilities"]:
        return ""
    outputs = report.loc[report["status"].isin(["ok", "skipped"]), "output"]
    sizes = [(out / probabilities_name(output)).stat().st_size for output in outputs]
    size, mean = sum(sizes), sum(sizes) / max(len(sizes), 1)
    return f"{len(sizes)} files {out}/*{SUFFIX}, {size / 1e6:.1f} MB, {mean / 1e3:.1f} kB a film"


def _plan(
    images: str | os.PathLike | Iterable[str | os.PathLike], out: Path, suffix: str
) -> dict[Path, str]:
    """Return the inputs with the names of their outputs, in order."""
    if isinstance(images, (str, os.PathLike)):
        base, paths = find_inputs(images, out)
    else:
        paths = [Path(name) for name in dict.fromkeys(os.fspath(path) for path in images)]
        if not paths:
            raise ValueError("no images to predict: the list is empty")
        base = common_folder(paths)
    names = [os.path.relpath(os.path.abspath(path), base) for path in paths]
    outputs = output_names(names, suffix, _OURS)
    return dict(zip(paths, outputs, strict=True))


def find_inputs(images: str | os.PathLike, out: str | os.PathLike) -> tuple[str, list[Path]]:
    """Return the folder of an image, or of a tree or list of them, absolute, and what is read.

    Raises FileNotFoundError or ValueError if that is none.
    """
    if not os.fspath(images):
        raise ValueError("images: an empty path; name a file or a folder, or . for this one")
    paths = find_images(images)
    base = os.path.abspath(images) if os.path.isdir(images) else common_folder(paths)
    if Path(os.path.abspath(out)).is_relative_to(base):
        # in the folder of the images, outputs of an earlier run may look like images
        folders = (Path(out), Path(out, OVERLAYS))
        made = {os.path.abspath(f / output) for f in folders for output in read_manifest(f)}
        paths = [path for path in paths if os.path.abspath(path) not in made]
    return base, paths


def common_folder(paths: Iterable[str | os.PathLike]) -> str:
    """Return the folder, absolute, with all these files in or below it."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def output_names(names: Sequence[str], suffix: str, reserved: Collection[str] = ()) -> list[str]:
    """Return a distinct output name per input: its suffix replaced, or kept where names clash.

    Names that differ only in the case of letters clash, as they do on some file systems, and so do
    inputs with `reserved` names. Raises ValueError if two inputs have one name.

    >>> output_names(["a/s.png", "a/t.png", "a/S.jpg"], ".pxm")
    ['a/s.png.pxm', 'a/t.pxm', 'a/S.jpg.pxm']
    """
    paths = [PurePath(name) for name in names]
    full = [path.as_posix() + suffix for path in paths]
    # only the suffix of an image: the end of a UID, as DICOM files have for a name, is no suffix
    outputs = [
        path.with_suffix("").as_posix() + suffix if path.suffix.lower() in IMAGE_SUFFIXES else name
        for path, name in zip(paths, full, strict=True)
    ]
    changed = True
    while changed:  # a name that is kept may clash with another, or with the folder of one
        counts = Counter(output.casefold() for output in outputs) + Counter(reserved)
        counts.update({folder.casefold() for folder in _folders(outputs)})
        changed = False
        for i, output in enumerate(outputs):
            if counts[output.casefold()] > 1 and output != full[i]:
                outputs[i], changed = full[i], True
    # a.png and a.PNG are left where the file system tells them apart
    counts = Counter(outputs) + Counter(reserved)
    folders = _folders(outputs)
    clashes = [name for name, output in zip(names, outputs, strict=True) if counts[output] > 1]
    clashes += sorted(folders & counts.keys())
    if clashes:
        raise ValueError(
            f"no distinct outputs for {clashes[:3]}; is an input listed twice, or a folder named "
            "like an output? rename one"
        )
    return outputs


def _folders(outputs: Iterable[str]) -> set[str]:
    return {str(folder) for output in outputs for folder in PurePath(output).parents}


def _open_manifest(
    out: Path, outputs: dict[Path, str], settings: dict[str, Any], overwrite: bool
) -> Manifest:
    """Return the manifest of a folder in which only outputs of these settings count as done.

    Nothing that was not predicted from these inputs is written over, unless `overwrite`.
    """
    with ExitStack() as stack:
        manifest = stack.enter_context(Manifest(out))
        if overwrite:
            manifest.forget()
        elif os.path.lexists(out / SETTINGS):
            _check_settings(out, settings)
        files = {file: path for path in outputs for file in files_of(outputs[path], settings)}
        for file, path in files.items():
            if not (overwrite or manifest.may_write(file, path)):
                raise ValueError(
                    f"{out / file}: is there already and was not predicted from {path}; "
                    "use another folder, or overwrite"
                )
        manifest.clean([*files, *_OURS])
        write_text(out / SETTINGS, json.dumps(settings, indent=1))
        stack.pop_all()  # it stays open
        return manifest


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    # folders of before they were recorded have none but these
    old = {"outlines": AS_PUBLISHED, **read_settings(out)}
    changed = [name for name, value in settings.items() if old.get(name) != value]
    if changed:
        raise ValueError(
            f"{out}: holds predictions with other {', '.join(changed)}; "
            "use another folder, or overwrite"
        )


def read_settings(out: Path) -> dict[str, Any]:
    """Return the settings that the predictions in a folder were made with.

    Raises FileNotFoundError or ValueError if there are none.
    """
    path, remedy = out / SETTINGS, "use another folder, or overwrite"
    try:
        settings = parse_json(read_bytes(path), path)
    except ValueError as error:
        raise ValueError(f"{error}; {remedy}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: not the settings of a prediction but {type(settings)}; {remedy}")
    return settings
