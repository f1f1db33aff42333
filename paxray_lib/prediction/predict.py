"""Masks for X-rays of any size: one image, a list of files, or a folder tree.

Reading, the network and writing run side by side. Each output is written whole or not at all, and
one that is there already is not made again, so that a run that was stopped goes on where it was
(see `utils/manifest.py`). In the output folder

- `report.csv` has one row an input: file, status, reason, output. The status is ok, skipped (done
  before), failed, or pending while the run is at work or where it was stopped. A file whose name is
  not UTF-8 is failed, since no table can name it; its other bytes are written as escapes.
- `settings.json` says with which model and settings all outputs of the folder were made.

Several processes (see `processes`) share the inputs; the first one's report is of its own share
until all are done."""

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paxray_lib.compute.collectives import from_first, gather, is_first, rank_and_world
from paxray_lib.compute.devices import PRECISIONS, check_precision
from paxray_lib.images.files import find_images
from paxray_lib.images.read import read_image
from paxray_lib.images.views import check_view
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.hierarchy import close_tree
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import NOT_FINITE, segment
from paxray_lib.prediction.formats import FORMATS, check_format, output_names, write_output
from paxray_lib.utils.files import atomic_write
from paxray_lib.utils.manifest import NAME as MANIFEST
from paxray_lib.utils.manifest import Manifest, read_manifest
from paxray_lib.utils.progress import map_ahead, progress

REPORT, SETTINGS = "report.csv", "settings.json"
REPORT_EVERY_S = 5.0
# With these nothing more can be written; any other error of the system concerns one file
_NO_MORE_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Stopped(RuntimeError):
    """The run ended before its end; what it has done is recorded, and the same call goes on."""


@dataclass(frozen=True)
class _Item:
    """One input on its way: first its path and output, then what each step adds, or the reason why
    it failed.
    """

    path: Path
    output: str
    reason: str = ""
    size: tuple[int, int] = (0, 0)
    view: str | None = None
    tensor: torch.Tensor | None = None  # (3, h, w)
    bits: np.ndarray | None = None  # (h, w, B)


def predict(
    model: torch.nn.Module,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
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
    `closing.close_tree`
    view : "frontal" or "lateral" for the images that do not say theirs by header or name; only
    `mirror` asks for it

    Returns
    -------
    DataFrame
        The report: file, status, reason, output (relative to `out`); the rows are in the order of
        the inputs.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image, a setting is wrong, or `out` holds predictions made with other
        settings or files that were not made by a prediction.
    Stopped
        If the disk is full or fails; the same call goes on once it does not.
    """
    check_format(format)
    _check_numbers(threshold, batch_size, precision)
    if view is not None:
        check_view(view)
    indices = model.labels.select(labels) if labels else list(range(len(model.labels)))
    out = Path(out)
    items = from_first(lambda: _plan(images, out, FORMATS[format]))
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
    with _open_manifest(out, items, settings, overwrite) as manifest:
        run = _Run(model, out, manifest, settings, indices, items)
        _go_together(run, batch_size or (8 if next(model.parameters()).is_cuda else 1))
        return run.table()


def _open_manifest(out: Path, items: Sequence[_Item], settings: dict, overwrite: bool) -> Manifest:
    """Return this process's manifest, once the first process has prepared the folder."""
    opened: list[Manifest] = []

    def prepare() -> None:
        opened.append(Manifest(out))
        try:
            _prepare(out, opened[0], items, settings, overwrite)
        except (ValueError, OSError):
            opened[0].close()
            raise

    from_first(prepare)
    return opened[0] if opened else Manifest(out, rank=rank_and_world()[0])


def _go_together(run: "_Run", batch_size: int) -> None:
    """Do this process's share, then bring all rows and manifests together; if one had to stop, all
    end as stopped.
    """
    reason = run.go(batch_size)
    if not is_first():
        run.manifest.close()
    for rows, other in gather((run.rows, reason)):
        run.rows |= rows
        reason = reason or other
    if is_first():
        run.finish()
    gather(None)  # the report is complete before any process goes on
    if reason:
        raise Stopped(run.stopped(reason))


def _check_numbers(threshold: float, batch_size: int | None, precision: str) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold {threshold}: must lie between 0 and 1")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be 1 or more")
    check_precision(precision)


def _plan(images, out: Path, suffix: str) -> list[_Item]:
    """Return the inputs with the names of their outputs, in order."""
    if isinstance(images, (str, os.PathLike)):
        base = Path(images) if Path(images).is_dir() else Path(images).parent
        # in the folder of the images, outputs of an earlier run may look like images
        made = {os.path.abspath(out / output) for output in read_manifest(out)}
        paths = [path for path in find_images(images) if os.path.abspath(path) not in made]
    else:
        paths = [Path(path) for path in dict.fromkeys(map(os.fspath, images))]
        if not paths:
            raise ValueError("no images to predict: the list is empty")
        base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    names = [os.path.relpath(path.absolute(), base.absolute()) for path in paths]
    outputs = output_names(names, suffix, (REPORT, SETTINGS, MANIFEST))
    return [
        _Item(path, output, _name_trouble(path))
        for path, output in zip(paths, outputs, strict=True)
    ]


def _name_trouble(path: Path) -> str:
    """Return why a file cannot be worked on for its name, or an empty text."""
    readable = _readable(path)
    return (
        ""
        if readable == str(path)
        else f"{readable}: the name is not UTF-8, so no report can hold it; rename it"
    )


def _readable(path: Path) -> str:
    """Return a path as text that can be written to any file: bytes that are not UTF-8 become
    escapes.
    """
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _digest(model: torch.nn.Module) -> str:
    """Return a fingerprint of the weights."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _prepare(
    out: Path, manifest: Manifest, items: Sequence[_Item], settings: dict, overwrite: bool
) -> None:
    """Make sure that nothing but outputs of these settings is counted as done, and nothing else is
    written over.
    """
    if overwrite:
        manifest.forget()
    else:
        _check_settings(out / SETTINGS, settings)
        foreign = [item for item in items if not manifest.may_write(item.output, item.path)]
        if foreign:
            raise ValueError(
                f"{out / foreign[0].output}: is there already and was not predicted from {foreign[0].path}; "
                "use another folder, or overwrite"
            )
    manifest.clean(item.output for item in items)
    with atomic_write(out / SETTINGS) as temporary:
        temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _check_settings(path: Path, settings: dict) -> None:
    if not path.is_file():
        return
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: not the settings of a prediction ({error}); use another folder, or overwrite"
        ) from error
    # folders from before there were these settings
    old = {"close_tree": False, "view": None, **old}
    changed = [key for key in settings if old.get(key) != settings[key]]
    if changed:
        raise ValueError(
            f"{path.parent}: holds predictions with other {', '.join(changed)}; use another folder, or overwrite"
        )


class _Run:
    """One call of `predict`: what it needs everywhere, and its report as it grows."""

    def __init__(
        self,
        model,
        out: Path,
        manifest: Manifest,
        settings: dict,
        indices: list[int],
        items: list[_Item],
    ):
        self.model, self.out, self.manifest, self.items = model, out, manifest, items
        self.format, self.threshold, self.mirror = (
            settings[key] for key in ("format", "threshold", "mirror")
        )
        self.indices, self.labels, self.all_labels = (
            indices,
            LabelSet(settings["labels"]),
            model.labels,
        )
        self.close_tree, self.view = settings["close_tree"], settings["view"]
        self.dtype = PRECISIONS[settings["precision"]]
        self.rows: dict[Path, tuple[str, str]] = {}
        self.reported = 0.0

    def go(self, batch_size: int) -> str:
        """Do what is not done of this process's share, one batch after the other, while others are
        read and written.

        Returns
        -------
        Why it had to stop before the end, or an empty text.
        """
        rank, world = rank_and_world()
        todo = [item for item in self.items[rank::world] if not self._is_done(item)]
        if todo:  # not for nothing: it takes seconds
            self.model = optimize_for_inference(self.model, self.dtype)
        read = map_ahead(self._read, todo, ahead=2 * batch_size)
        written = map_ahead(self._write, self._segmented(read, batch_size), ahead=2 * batch_size)
        try:
            for item in written if rank else progress(written, "predicting", len(todo)):
                self.rows[item.path] = ("failed", item.reason) if item.reason else ("ok", "")
                self._report(at_once=False)
        except OSError as error:
            return str(error)
        except torch.OutOfMemoryError:
            return "out of memory on the device: use a smaller batch size"
        finally:
            # on a full disk there is no room for it; what is done is in the manifest
            with contextlib.suppress(OSError):
                self._report(at_once=True)
        return ""

    def finish(self) -> None:
        """Write the report of all processes, and keep one manifest: the first process's, at the end."""
        with contextlib.suppress(OSError):
            self.manifest.absorb()
            self._report(at_once=True)

    def _is_done(self, item: _Item) -> bool:
        if (
            item.reason
            or not item.path.is_file()
            or not self.manifest.is_done(item.output, item.path)
        ):
            return False
        self.rows[item.path] = ("skipped", "done before")
        return True

    def _read(self, item: _Item) -> _Item:
        if item.reason:
            return item
        try:
            image = read_image(item.path)
            tensor = torch.as_tensor(self.model.preprocess(image))
        except (ValueError, OSError) as error:
            return replace(item, reason=str(error))
        view = image.view or self.view
        # the pixels are done with
        return replace(item, size=image.pixels.shape, view=view, tensor=tensor)

    def _segmented(self, read: Iterable[_Item], batch_size: int) -> Iterator[_Item]:
        """Yield each item in order, with its bits at the network's size."""
        waiting: list[_Item] = []
        for item in read:
            waiting.append(item)
            if sum(entry.tensor is not None for entry in waiting) == batch_size:
                yield from self._through_network(waiting)
                waiting = []
        yield from self._through_network(waiting)

    def _through_network(self, items: list[_Item]) -> Iterator[_Item]:
        good = [item for item in items if item.tensor is not None]
        bits = iter(())
        if good:
            views = [item.view if self.mirror else None for item in good]
            inputs = torch.stack([item.tensor for item in good])  # (N, 3, h, w)
            # what a whole gains from parts that are not asked for
            indices = None if self.close_tree else self.indices
            bits = iter(segment(self.model, inputs, views, self.threshold, indices))
        for item in items:
            yield item if item.tensor is None else replace(item, tensor=None, bits=next(bits))

    def _write(self, item: _Item) -> _Item:
        if item.reason:
            return item
        if item.bits is None:
            return replace(item, reason=f"{item.path}: {NOT_FINITE}")
        try:
            self.manifest.start(item.output, item.path)
            masks = self._masks(item.bits)
            write_output(
                self.out / item.output, masks, item.size, self.format, item.path, self.model.name
            )
        except ValueError as error:
            return replace(item, bits=None, reason=str(error))
        except OSError as error:
            if error.errno in _NO_MORE_WRITING:
                raise
            return replace(
                item, bits=None, reason=f"{item.path}: its output could not be written ({error})"
            )
        return replace(item, bits=None)

    def _masks(self, bits: np.ndarray) -> PackedMasks:
        if self.close_tree:
            return close_tree(PackedMasks(bits, self.all_labels)).select(self.indices)
        return PackedMasks(bits, self.labels)

    def stopped(self, reason: str) -> str:
        """Return the message of a run that had to stop."""
        done = sum(status in ("ok", "skipped") for status, _ in self.rows.values())
        return f"{self.out}: {reason}; {done} of {len(self.items)} done; when that is mended, the same again goes on"

    def table(self) -> pd.DataFrame:
        """Return the report as it stands."""
        rows = []
        for item in self.items:
            status, reason = self.rows.get(item.path, ("pending", ""))
            rows.append(
                (
                    _readable(item.path),
                    status,
                    reason,
                    item.output if status in ("ok", "skipped") else "",
                )
            )
        return pd.DataFrame(rows, columns=["file", "status", "reason", "output"])

    def _report(self, at_once: bool) -> None:
        if is_first() and (at_once or time.monotonic() - self.reported > REPORT_EVERY_S):
            with atomic_write(self.out / REPORT) as path:
                self.table().to_csv(path, index=False)
            self.reported = time.monotonic()
