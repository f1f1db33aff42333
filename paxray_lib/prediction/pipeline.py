"""One call of `predict`: films through a network, written beside it, and the report."""

import contextlib
import errno
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from paxray_lib.compute.collectives import from_first, gather, is_first, rank_and_world
from paxray_lib.masks.probabilities import probabilities_name
from paxray_lib.models.inference import Segmenter
from paxray_lib.prediction.doubt import SIGNS, Signs
from paxray_lib.prediction.films import Film, Films, readable
from paxray_lib.prediction.recognition import Found
from paxray_lib.utils import Manifest, Pace, Stopped, progress, write_table
from paxray_lib.utils.manifest import is_unchanged

REPORT, MEASUREMENTS = "report.csv", "measurements.csv"
# what is written beside them later
DEFINITIONS_FILE, PAGE, OVERLAYS = "measurements.md", "report.html", "overlays"
SHEET = "sheet.pdf"
COLUMNS = ["file", "status", "reason", "output"]
ABOUT = ["height", "width", "view", "view_probability", "flags"]
DOUBT_COLUMNS = ["doubt", *SIGNS]


class Pipeline:
    """One call of `predict`: what its steps need, and its report as it grows.

    Parameters
    ----------
    model : Segmenter
    manifest : open, of the folder of the outputs
    settings : as `settings.json` has them
    indices : the labels to write
    outputs : the name of its output for each input, in order
    views : those that are known better than by header or name
    view : of those that nothing tells
    """

    def __init__(
        self,
        model: Segmenter,
        manifest: Manifest,
        settings: dict[str, Any],
        indices: list[int],
        outputs: dict[Path, str],
        views: Mapping[Path, str],
        view: str | None,
    ):
        self.manifest, self.out = manifest, manifest.folder
        self.settings, self.outputs = settings, outputs
        self.films = Films(model, settings, indices, views, view)
        files = {file: path for path in outputs for file in files_of(outputs[path], settings)}
        self._outdated = manifest.outdated(files)
        self.rows: dict[Path, tuple[str, str]] = {}  # status and reason
        self._found: dict[Path, Found] = {}
        self._pace = Pace()

    def run(self, batch_size: int | None) -> pd.DataFrame:
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

    def _run_share(self, batch_size: int | None) -> str:
        """Do what is not done; return why it had to stop before the end, or an empty text."""
        try:
            written = self.films.each(self._write, self._todo(), batch_size)
            # what is being written is finished before the last report
            with contextlib.closing(written):
                for _ in written:
                    self._pace.call(self._report)
        except OSError as error:
            return str(error)
        except MemoryError as error:
            reason = str(error) or "no more can be had"
            return f"out of memory ({reason}): a smaller batch size needs less"
        finally:
            # on a full disk there is no room for it; what is done is in the manifest
            with contextlib.suppress(OSError):
                self._report()
        return ""

    def _todo(self) -> Iterator[Path]:
        """Yield this process's images that are not done; the others are skipped."""
        rank, world = rank_and_world()
        share = list(self.outputs)[rank::world]
        done = {path for path in share if self._is_done(path)}
        for path in done:
            found = Found.from_dict(self.manifest.about(self.outputs[path]))
            self._found[path] = found
            self.rows[path] = ("skipped", "; ".join(filter(None, ("done before", found.note))))
        todo = [path for path in share if path not in done]
        yield from todo if rank else progress(todo, "predicting")

    def _is_done(self, path: Path) -> bool:
        files = files_of(self.outputs[path], self.settings)
        return all(self.manifest.is_done(file, path) for file in files)

    def _table(self) -> pd.DataFrame:
        rows = [
            (readable(path), *self.rows.get(path, ("pending", "")), output, *self._about(path))
            for path, output in self.outputs.items()
        ]
        table = pd.DataFrame(rows, columns=[*COLUMNS, *ABOUT, *DOUBT_COLUMNS])
        missing = table["status"].isin(["pending", "failed"])
        table.loc[missing, ["output", "view", "flags"]] = ""
        numbers = ["height", "width", "view_probability", *DOUBT_COLUMNS]
        table.loc[missing, numbers] = math.nan
        counts = [name for name in SIGNS if Signs.__annotations__[name] is int]
        # whole numbers, or empty
        return table.astype(dict.fromkeys(["height", "width", *counts], "Int64"))

    def _about(self, path: Path) -> tuple[Any, ...]:
        """Return a row's size, view, its probability if recognized, flags, doubt and its signs."""
        found = self._found.get(path, Found())
        view, probability = self.films.view(path, found)
        flags = " ".join(self.films.flags(found, view))
        signs = [math.nan] * len(DOUBT_COLUMNS)
        if found.signs:
            doubt = self.films.doubt(found, view)
            signs = [doubt, *(getattr(found.signs, name) for name in SIGNS)]
        height, width = (pixels or math.nan for pixels in found.size)
        rounded = (round(x, 3) for x in signs)
        return height, width, view or "", round(probability, 3), flags, *rounded

    def _report(self) -> None:
        if is_first():
            write_table(self.out / REPORT, self._table())

    def _write(self, film: Film) -> None:
        """Write the masks of a film, beside the network, which has the next ones by then."""
        path, output = film.path, self.outputs[film.path]
        if film.masks is None:
            self.rows[path] = ("failed", film.problem)
            return
        try:
            self._found[path] = film.found
            if film.probabilities:
                name = probabilities_name(output).as_posix()
                self.manifest.start(name, path, film.state)
                film.probabilities.write(self.out / name)
            self.manifest.start(output, path, film.state, film.found.to_dict())
            if self.settings["format"] == "dicom-seg":
                from paxray_lib.masks.dicom_seg import write_dicom_seg  # pydicom takes a while

                masks, model = film.masks, self.settings["model"]
                write_dicom_seg(self.out / output, masks, film.found.size, path, model)
            else:
                film.masks.write(self.out / output, film.found.size)
            if not is_unchanged(path, film.state):
                for file in files_of(output, self.settings):
                    (self.out / file).unlink(missing_ok=True)
                raise ValueError(f"{path}: changed while it was predicted; run the same again")
            for old in self._outdated.get(path, ()):
                old.unlink(missing_ok=True)
            self.rows[path] = ("ok", film.found.note)
        except ValueError as error:
            self.rows[path] = ("failed", str(error))
        except OSError as error:
            # with these nothing more can be written; any other error concerns one file
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise
            remedy = "rename the image, or choose another folder"
            self.rows[path] = ("failed", f"{path}: no output can be written ({error}); {remedy}")


def files_of(output: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the files that are written with an output: itself, and its probabilities."""
    return [output, *([probabilities_name(output).as_posix()] * bool(settings["probabilities"]))]
