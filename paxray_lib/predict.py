"""Masks for X-rays of any size: one image, a list of files, or a folder tree.

Reading and preprocessing run in threads beside the network. Each output is written whole or not at all, and one that is
there already is not made again, so that a run that was stopped goes on where it was. `report.csv` in the output folder
has one row an input: file, status (ok, skipped, failed), reason, output.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paxray_lib.common import atomic_write, map_ahead, progress
from paxray_lib.images import Image, find_images, read_image
from paxray_lib.masks import PackedMasks
from paxray_lib.metrics import pack_decisions
from paxray_lib.outputs import FORMATS, check_format, write_output

REPORT_EVERY_S = 5.0


def predict_image(
    model: torch.nn.Module, image: Image | np.ndarray, threshold: float = 0.5, mirror: bool = False
) -> PackedMasks:
    """Return the masks of one image at its own height and width.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    image : Image, or (H, W) float array in 0..1
    threshold : a pixel has a label where its sigmoid is greater
    mirror : average the logits with those of the mirrored image, sides swapped back; needs an Image with a known view
    """
    pixels, view = (image.pixels, image.view) if isinstance(image, Image) else (image, None)
    bits = segment(model, torch.as_tensor(model.preprocess(image))[None], [view if mirror else None], threshold)
    return PackedMasks(bits[0], model.labels).resize(*pixels.shape)


def segment(
    model: torch.nn.Module, inputs: torch.Tensor, mirror_views: Sequence[str | None], threshold: float = 0.5
) -> np.ndarray:
    """Return the packed decisions of a model, (N, h, w, B) uint8, for its inputs (N, 3, h, w).

    Parameters
    ----------
    mirror_views : for each image the view by which to average with its mirror image, or None for no mirroring
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            inputs = inputs.to(next(model.parameters()).device, non_blocking=True)
            logits = model(inputs)  # (N, L, h, w)
            chosen = [i for i, view in enumerate(mirror_views) if view is not None]
            if chosen:
                logits[chosen] = _mean_with_mirror(model, inputs, logits, chosen, mirror_views)
            return pack_decisions(logits, threshold).cpu().numpy()
    finally:
        model.train(was_training)


def _mean_with_mirror(model, inputs, logits, chosen: list[int], views: Sequence[str | None]) -> torch.Tensor:
    mirrored = model(inputs[chosen].flip(-1)).flip(-1)  # (M, L, h, w)
    swap = torch.as_tensor(model.labels.mirror, device=logits.device)
    for row, i in enumerate(chosen):
        back = mirrored[row][swap] if views[i] == "frontal" else mirrored[row]
        mirrored[row] = (logits[i] + back) / 2
    return mirrored


@dataclass(frozen=True)
class _Job:
    """One input: its path, its output below the output folder."""

    path: Path
    output: str


def predict(
    model: torch.nn.Module,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    format: str = "packed",
    threshold: float = 0.5,
    labels: str | Iterable[str] | None = None,
    batch_size: int = 4,
    mirror: bool = False,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Write masks for images, each at its own height and width.

    Parameters
    ----------
    model : module from `build_model` or `load_model`
    images : a file, a folder (read with everything below it), or several files
    out : folder for the outputs, which repeat the folders of the inputs, and `report.csv`
    format : "packed" (.pxm), "npy" ((L, H, W) bool, as published), "coco" (RLE JSON) or "dicom-seg"
    threshold : a pixel has a label where its sigmoid is greater
    labels : names, groups and patterns of the labels to write; all by default
    batch_size : images that pass through the network together
    mirror : average each image of known view with its mirror image, sides swapped back
    overwrite : make outputs again that are there already

    Returns
    -------
    DataFrame
        The report: file, status, reason, output (relative to `out`).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image, a setting is wrong, or `out` holds predictions made with other settings.
    """
    check_format(format)
    indices = model.labels.select(labels) if labels else list(range(len(model.labels)))
    out = Path(out)
    jobs = _plan(images, FORMATS[format])
    settings = _settings(model, format, threshold, indices, mirror)
    _check_settings(out, settings, overwrite)
    run = _Run(model, out, format, threshold, indices, mirror, jobs)
    run.go(batch_size, overwrite)
    return run.table()


def _plan(images, suffix: str) -> list[_Job]:
    if isinstance(images, (str, os.PathLike)):
        base = Path(images) if Path(images).is_dir() else Path(images).parent
        paths = find_images(images)
    else:
        paths = [Path(path) for path in dict.fromkeys(map(os.fspath, images))]
        if not paths:
            raise ValueError("no images to predict: the list is empty")
        base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    names = [os.path.relpath(path.absolute(), base.absolute()) for path in paths]
    return [_Job(path, output) for path, output in zip(paths, output_names(names, suffix), strict=True)]


def output_names(names: Sequence[str], suffix: str) -> list[str]:
    """Return a distinct output name for each input name: its suffix replaced, or kept where two would be the same.

    >>> output_names(["a/s.png", "a/t.png", "a/s.jpg"], ".pxm")
    ['a/s.png.pxm', 'a/t.pxm', 'a/s.jpg.pxm']
    """
    outputs = [Path(name).with_suffix(suffix).as_posix() for name in names]
    while len(set(outputs)) < len(outputs):
        full = [Path(name).as_posix() + suffix for name in names]
        again = [full[i] if outputs.count(output) > 1 else output for i, output in enumerate(outputs)]
        if again == outputs:
            raise ValueError(f"inputs are listed twice: {sorted(n for n in names if names.count(n) > 1)[:3]}")
        outputs = again
    return outputs


def _settings(model: torch.nn.Module, format: str, threshold: float, indices: list[int], mirror: bool) -> dict:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "model": model.name,
        "weights": digest.hexdigest(),
        "format": format,
        "threshold": threshold,
        "labels": [model.labels.names[i] for i in indices],
        "mirror": mirror,
    }


def _check_settings(out: Path, settings: dict, overwrite: bool) -> None:
    path = out / "settings.json"
    if path.is_file() and not overwrite:
        old = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in settings if old.get(key) != settings[key]]
        if changed:
            raise ValueError(
                f"{out}: holds predictions with other {', '.join(changed)}; use another folder, or overwrite"
            )
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")


class _Run:
    """One call of `predict`: what it needs everywhere, and its report as it grows."""

    def __init__(self, model, out: Path, format: str, threshold: float, indices: list[int], mirror: bool, jobs: list):
        self.model, self.out, self.format, self.threshold = model, out, format, threshold
        self.indices, self.mirror, self.jobs = indices, mirror, jobs
        self.rows: dict[Path, tuple[str, str]] = {}
        self.reported = 0.0

    def go(self, batch_size: int, overwrite: bool) -> None:
        todo = []
        for job in self.jobs:
            if not overwrite and (self.out / job.output).is_file():
                self.rows[job.path] = ("skipped", "done before")
            else:
                todo.append(job)
        read = map_ahead(self._read, todo, ahead=2 * batch_size)
        try:
            # the writer is one generator further: while it waits for the disk, the network goes on
            for job, reason in progress(
                map_ahead(self._write, self._segmented(read, batch_size)), "predicting", len(todo)
            ):
                self.rows[job.path] = ("failed", reason) if reason else ("ok", "")
                self._report(at_once=False)
        finally:
            self._report(at_once=True)

    def _read(self, job: _Job):
        try:
            image = read_image(job.path)
            return job, image, torch.as_tensor(self.model.preprocess(image))
        except (ValueError, OSError) as error:
            return job, error, None

    def _segmented(self, read: Iterable, batch_size: int):
        """Yield (job, image, bits at the network's size) in order; bits are None where reading failed."""
        waiting: list = []
        for item in read:
            waiting.append(item)
            if sum(entry[2] is not None for entry in waiting) == batch_size:
                yield from self._through_network(waiting)
                waiting = []
        yield from self._through_network(waiting)

    def _through_network(self, items: list):
        good = [(image, tensor) for _, image, tensor in items if tensor is not None]
        bits = iter(())
        if good:
            views = [image.view if self.mirror else None for image, _ in good]
            bits = iter(segment(self.model, torch.stack([tensor for _, tensor in good]), views, self.threshold))
        for job, image, tensor in items:
            yield job, image, None if tensor is None else next(bits)

    def _write(self, item) -> tuple[_Job, str]:
        job, image, bits = item
        if bits is None:
            return job, str(image)
        masks = PackedMasks(bits, self.model.labels)
        if len(self.indices) < len(self.model.labels):
            masks = masks.select(self.indices)
        try:
            write_output(self.out / job.output, masks, image.pixels.shape, self.format, job.path)
        except ValueError as error:
            return job, str(error)
        return job, ""

    def table(self) -> pd.DataFrame:
        rows = []
        for job in self.jobs:
            status, reason = self.rows.get(job.path, ("pending", ""))
            rows.append((str(job.path), status, reason, job.output if status in ("ok", "skipped") else ""))
        return pd.DataFrame(rows, columns=["file", "status", "reason", "output"])

    def _report(self, at_once: bool) -> None:
        if at_once or time.monotonic() - self.reported > REPORT_EVERY_S:
            with atomic_write(self.out / "report.csv") as path:
                self.table().to_csv(path, index=False)
            self.reported = time.monotonic()
