"""The way of images through a network: reading, the network and writing side by side."""

import contextlib
import errno
import itertools
import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from paxray_lib.compute.collectives import from_first, gather, is_first, rank_and_world
from paxray_lib.compute.devices import PRECISIONS
from paxray_lib.images.image import MAX_BYTES
from paxray_lib.images.read import decode_image
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, close_tree
from paxray_lib.masks.dicom_seg import write_dicom_seg
from paxray_lib.models import AnatomySegmenter, optimize_for_inference
from paxray_lib.models.inference import NOT_FINITE, Passed, pass_through
from paxray_lib.prediction.doubt import SIGNS, Estimate, Inspector, Signs
from paxray_lib.prediction.recognition import Found, Recognizer
from paxray_lib.utils import Manifest, Stopped, map_ahead, progress, write_table
from paxray_lib.utils.manifest import State, is_unchanged, read_source

REPORT, MEASUREMENTS = "report.csv", "measurements.csv"
# what is written beside them later
DEFINITIONS_FILE, PAGE, OVERLAYS = "measurements.md", "report.html", "overlays"
SHEET = "sheet.pdf"
COLUMNS = ["file", "status", "reason", "output", "view", "view_probability", "flags"]
DOUBT_COLUMNS = ["doubt", *SIGNS]
REPORT_EVERY_S = 5.0
# an image's path, the state of its file, and its (H, W)
_Source = tuple[Path, State, tuple[int, int]]
# the same, what it says of itself, and the network's input (3, h, w)
_Prepared = tuple[_Source, Found, torch.Tensor]
# the same, with what the network made of it, and of it mirrored and smaller
_Seen = tuple[_Prepared, Passed, torch.Tensor]


class Pipeline:
    """One call of `predict`: what its steps need, and its report as it grows.

    Parameters
    ----------
    model : AnatomySegmenter
    manifest : open, of the folder of the outputs
    settings : as `settings.json` has them
    indices : the labels to write
    outputs : the name of its output for each input, in order
    views : those that are known better than by header or name
    view : of those that nothing tells
    """

    def __init__(
        self,
        model: AnatomySegmenter,
        manifest: Manifest,
        settings: dict[str, Any],
        indices: list[int],
        outputs: dict[Path, str],
        views: Mapping[Path, str],
        view: str | None,
    ):
        self.model, self.manifest, self.out = model, manifest, manifest.folder
        self.settings, self.indices, self.outputs = settings, indices, outputs
        self.views, self.view = views, view
        self.labels = LabelSet(settings["labels"])
        self.rows: dict[Path, tuple[str, str]] = {}  # status and reason
        self._found: dict[Path, Found] = {}
        self._estimate = Estimate.of(settings["weights"])
        self._reported = 0.0

    def run(self, batch_size: int) -> pd.DataFrame:
        """Do this process's share, then join reports and manifests; return the report.

        If one process had to stop before the end, all raise Stopped.
        """
        stopped = self._run_share(batch_size)
        if not is_first():
            self.manifest.close()
        for rows, found, reason in gather((self.rows, self._found, stopped)):
            self.rows |= rows
            self._found |= found
            stopped = stopped or reason
        # the report is complete before any process goes on
        if stopped := from_first(lambda: self._finish(stopped)):
            done = sum(status in ("ok", "skipped") for status, _ in self.rows.values())
            raise Stopped(
                f"{self.out}: {stopped}; {done} of {len(self.outputs)} done; "
                "when that is mended, the same again goes on"
            )
        return self._table()

    def _finish(self, stopped: str) -> str:
        try:
            self.manifest.absorb()
            self._report()
        except OSError as error:
            return stopped or str(error)
        return stopped

    def _run_share(self, batch_size: int) -> str:
        """Do what is not done; return why it had to stop before the end, or an empty text."""
        try:
            seen = self._seen(self._todo(), batch_size)
            written = map_ahead(self._write, seen, ahead=min(2 * batch_size, 4), patience_s=None)
            # what is being written is finished before the last report
            with _cores_for_writers(), contextlib.closing(seen), contextlib.closing(written):
                for _ in written:
                    if time.monotonic() - self._reported > REPORT_EVERY_S:
                        self._report()
        except OSError as error:
            return str(error)
        except torch.OutOfMemoryError:
            return "out of memory on the device: use a smaller batch size"
        finally:
            # on a full disk there is no room for it; what is done is in the manifest
            with contextlib.suppress(OSError):
                self._report()
        return ""

    def _todo(self) -> Iterator[Path]:
        """Yield this process's images that are not done; the others are skipped."""
        rank, world = rank_and_world()
        share = list(self.outputs)[rank::world]
        done = {path for path in share if self.manifest.is_done(self.outputs[path], path)}
        for path in done:
            found = Found.from_dict(self.manifest.about(self.outputs[path]))
            self._found[path] = found
            self.rows[path] = ("skipped", "; ".join(filter(None, ("done before", found.note))))
        todo = [path for path in share if path not in done]
        if todo:  # not for nothing: it takes seconds
            self.model = optimize_for_inference(self.model, PRECISIONS[self.settings["precision"]])
        yield from todo if rank else progress(todo, "predicting")

    def _table(self) -> pd.DataFrame:
        rows = [
            (readable(path), *self.rows.get(path, ("pending", "")), output, *self._about(path))
            for path, output in self.outputs.items()
        ]
        table = pd.DataFrame(rows, columns=[*COLUMNS, *DOUBT_COLUMNS])
        missing = table["status"].isin(["pending", "failed"])
        table.loc[missing, ["output", "view", "flags"]] = ""
        table.loc[missing, ["view_probability", *DOUBT_COLUMNS]] = math.nan
        counts = [name for name in SIGNS if Signs.__annotations__[name] is int]
        return table.astype(dict.fromkeys(counts, "Int64"))  # whole numbers, or empty

    def _about(self, path: Path) -> tuple[Any, ...]:
        """Return a row's view, its probability if it was recognized, flags, doubt and its signs."""
        found = self._found.get(path, Found())
        view, probability = self._view(path, found)
        # a film from the side has no mirrored heart
        flags = [flag for flag in found.flags if (flag, view) != ("mirrored", "lateral")]
        signs = [math.nan] * len(DOUBT_COLUMNS)
        if found.signs:
            estimate = self._estimate if view != "lateral" else None
            doubt = estimate(found.signs) if estimate else math.nan
            if estimate and "not_a_chest_film" in flags:
                doubt = 1.0  # no mask of it can be right
            signs = [doubt, *(getattr(found.signs, name) for name in SIGNS)]
        return view or "", round(probability, 3), " ".join(flags), *(round(x, 3) for x in signs)

    def _view(self, path: Path, found: Found) -> tuple[str | None, float]:
        """Return a film's view, and its probability if it was recognized."""
        told = self.views.get(path) or found.told or self.view
        return (told, math.nan) if told else found.recognized()

    def _report(self) -> None:
        if is_first():
            write_table(self.out / REPORT, self._table())
            self._reported = time.monotonic()

    def _read(self, path: Path) -> _Prepared | None:
        """Return an image as the network takes it; None, and a row in the report, if it fails."""
        try:
            if readable(path) != str(path):
                raise ValueError(
                    f"{readable(path)}: the name is not UTF-8, so no report can hold it; rename it"
                )
            data, state = read_source(path, MAX_BYTES)
            image = decode_image(data, path)
            tensor = torch.as_tensor(self.model.preprocess(image))
        except (ValueError, OSError) as error:
            self.rows[path] = ("failed", str(error))
            return None
        height, width = image.pixels.shape
        return (path, state, (height, width)), Found(image.view, note=image.doubt), tensor

    def _seen(self, paths: Iterable[Path], batch_size: int) -> Generator[_Seen, None, None]:
        self._recognizer, self._inspector = Recognizer(self.model), Inspector(self.model)
        # what a whole gains from parts that are not asked for
        every = range(len(self.model.labels)) if self.settings["close_tree"] else ()
        self._indices = sorted({*self.indices, *self._recognizer.needed, *every})
        self._decided = LabelSet(self.model.labels.names[i] for i in self._indices)
        self._places = [self._indices.index(i) for i in self.indices]
        prepared = filter(None, map_ahead(self._read, paths, ahead=2 * batch_size))
        while batch := list(itertools.islice(prepared, batch_size)):
            inputs = torch.stack([tensor for *_, tensor in batch])  # (N, 3, h, w)
            passed = pass_through(self.model, inputs, self._mirror_views(batch))
            yield from zip(batch, passed, self._inspector.mirrored(inputs).split(1), strict=True)

    def _mirror_views(self, batch: list[_Prepared]) -> list[str | None]:
        """Return by which view each image is averaged with its mirror image, or None."""
        if not self.settings["mirror"]:
            return [None] * len(batch)
        return [
            self.views.get(path) or said.told or self.view or self._recognizer.view(tensor)
            for (path, _, _), said, tensor in batch
        ]

    def _decide(self, seen: _Seen) -> PackedMasks:
        """Return an image's masks of all labels that are decided on, and note what it is."""
        ((path, _, size), said, tensor), passed, mirrored = seen
        bits = passed.decide(size, self.settings["threshold"], self._indices)
        if bits is None:
            raise ValueError(f"{path}: {NOT_FINITE}")
        masks = PackedMasks(bits, self._decided)
        found = replace(self._recognizer(tensor, masks, said.told), note=said.note)
        view, _ = self._view(path, found)
        signs = self._inspector(passed.coarse, mirrored, view)
        self._found[path] = replace(found, signs=signs)
        return masks

    def _write(self, seen: _Seen) -> None:
        """Decide and write, beside the network, which has the next images by then."""
        path, state, size = seen[0][0]
        output = self.outputs[path]
        try:
            masks = self._decide(seen)
            self.manifest.start(output, path, state, self._found[path].to_dict())
            if self.settings["close_tree"]:
                masks = close_tree(masks)
            if self._places != list(range(len(self._decided))):
                masks = masks.select(self._places)
            if self.settings["format"] == "dicom-seg":
                write_dicom_seg(self.out / output, masks, size, path, self.settings["model"])
            else:
                masks.write(self.out / output, size)
            if not is_unchanged(path, state):
                (self.out / output).unlink(missing_ok=True)
                raise ValueError(f"{path}: changed while it was predicted; run the same again")
            self.rows[path] = ("ok", self._found[path].note)
        except ValueError as error:
            self.rows[path] = ("failed", str(error))
        except OSError as error:
            # with these nothing more can be written; any other error concerns one file
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise
            remedy = "rename the image, or choose another folder"
            self.rows[path] = ("failed", f"{path}: no output can be written ({error}); {remedy}")


@contextlib.contextmanager
def _cores_for_writers() -> Iterator[None]:
    """Leave two cores, if the network has more, to the threads that write beside it."""
    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores - 2))
    try:
        yield
    finally:
        torch.set_num_threads(cores)


def readable(path: Path) -> str:
    """Return a path as text for any file: bytes that are not UTF-8 become escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
