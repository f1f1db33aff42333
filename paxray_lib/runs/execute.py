"""Execute one notebook by papermill, in a kernel that can be stopped from outside with all its
children.
"""

import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import papermill_io

from paxray_lib.runs import provenance

_GRACE_S = 5.0  # from asking a cell to stop to killing its kernel
_SOURCE_LINES = 3
_KERNEL = ".kernel"  # in a run's folder, while a notebook runs: which process it is

# The outcome says what went wrong in one message; nbclient's log of the same would only repeat it.
_quiet = logging.getLogger(__name__)
_quiet.addHandler(logging.NullHandler())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a notebook ended.

    Attributes
    ----------
    state : "done", "failed" or "interrupted"
    error : what happened, in one line
    cell_index : position of the failing cell in the notebook as written, from 0
    cell_number : its number in the executed copy, as in `In [5]`
    source : its first lines
    """

    state: str
    error: str | None = None
    cell_index: int | None = None
    cell_number: int | None = None
    source: str | None = None

    def details(self) -> dict[str, Any]:
        """Return what is known beside the state."""
        return {
            key: value
            for key, value in dataclasses.asdict(self).items()
            if key != "state" and value is not None
        }


class Stop:
    """A wish to end, raised by a signal or a clock while a notebook runs.

    The running cell is interrupted first, so that its notebook shows where it stood and training
    can save; after a few seconds the kernel and its children are killed. A wish is final: nothing
    runs after it."""

    def __init__(self):
        self.reason: str | None = None
        self.state = "interrupted"
        self._client: PapermillNotebookClient | None = None
        self._group: int | None = None
        self._killer = threading.Timer(_GRACE_S, self._signal, [signal.SIGKILL])
        self._killer.daemon = True
        self._parts: list[Stop] = []

    def part(self) -> "Stop":
        """Return a Stop for a part of the work: it ends with the whole, the whole does not end with
        it.
        """
        part = Stop()
        self._parts.append(part)
        if self.reason is not None:  # asked after the append, so that no wish falls between
            part.request(self.reason, self.state)
        return part

    def request(self, reason: str, state: str = "interrupted") -> None:
        """Ask the notebook to end; only the first wish counts."""
        if self.reason is None:
            self.reason, self.state = reason, state
            if self._client is not None:
                # once the cell has ended, there is nothing to wait for
                self._client.shutdown_kernel = "immediate"
            self._signal(signal.SIGINT)
            self._killer.start()
            for part in self._parts:
                part.request(reason, state)

    def attach(self, client: PapermillNotebookClient) -> None:
        """Take charge of the kernel that `client` starts."""
        self._client = client

    def detach(self) -> None:
        """End what is left of the kernel's process group, such as workers of a killed kernel."""
        self._signal(signal.SIGKILL)
        self._client = self._group = None

    def note_group(self) -> None:
        """Remember the kernel's process group, of which nbclient forgets the number when the kernel
        ends.
        """
        manager = getattr(self._client, "km", None)
        group = getattr(getattr(manager, "provisioner", None), "pgid", None)
        # a group shared with this process would mean to end ourselves
        if group is not None and group != os.getpgid(0):
            self._group = group

    def describe_kernel(self) -> str | None:
        """Return what `end_orphan` knows the running kernel by: its process group and its
        connection file.
        """
        self.note_group()
        return None if self._group is None else f"{self._group} {self._client.km.connection_file}"

    def _signal(self, number: int) -> None:
        self.note_group()
        if self._group is not None:
            # macOS: a group of zombies is not permitted
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)


class _Stopped(Exception):
    """A stop was asked for between two cells."""


class _Engine(NBClientEngine):
    """papermill's engine, with the client in the hands of a Stop and of a watch over the cells."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, stop, watch, stderr_file, start_timeout, **_
    ):
        client = PapermillNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            timeout=None,
            startup_timeout=start_timeout,
            stderr_file=stderr_file,
            coalesce_streams=True,
            extra_arguments=["--log-level=40"],
            on_cell_execute=watch.enter,
            log=_quiet,
        )
        watch.cells = client.nb.cells
        stop.attach(client)
        client.execute()


class _NotebookFile:
    """Takes what papermill saves: each notebook in one piece, as papermill itself does not, and on
    a full disk too.
    """

    scheme = "paxray:"

    @classmethod
    def write(cls, text: str, path: str) -> None:
        """Write RUN/notebooks/NAME.ipynb."""
        output = Path(path.removeprefix(cls.scheme))
        provenance.write_record(output.parent.parent, f"{output.parent.name}/{output.name}", text)

    @classmethod
    def pretty_path(cls, path: str) -> str:
        """Return the path as papermill's log names it."""
        return path.removeprefix(cls.scheme)


papermill_io.register(_NotebookFile.scheme, _NotebookFile)
papermill_engines.register("paxray", _Engine)


class _CellWatch:
    """Knows which cell runs, so that a dead kernel can be blamed on it."""

    def __init__(self, stop: Stop, note: Path):
        self.stop, self.note = stop, note
        self.cells: list[Any] = []
        self.number = 0
        self.where: dict[str, Any] = {}  # the cell entered last, in Outcome's terms

    def enter(self, cell: Any, cell_index: int) -> None:
        """Note the cell that begins; refuse it after a stop."""
        kernel = self.stop.describe_kernel()
        if self.stop.reason is not None:
            raise _Stopped
        if self.number == 0 and kernel is not None:
            provenance.write_record(self.note.parent, self.note.name, kernel)
        self.number += 1
        before = self.cells[:cell_index]
        injected = sum("injected-parameters" in other.metadata.get("tags", []) for other in before)
        source = "\n".join(cell.source.strip().splitlines()[:_SOURCE_LINES])
        self.where = {
            "cell_index": cell_index - injected,
            "cell_number": self.number,
            "source": source,
        }


class _Echo:
    """Passes on what a notebook writes to stderr, by whole lines and indented, for papermill's
    stderr_file.
    """

    def __init__(self):
        self.rest = ""

    def write(self, text: str) -> None:
        """Take a piece of text; of a line that was rewritten with carriage returns, the last state
        counts.
        """
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            shown = line.rstrip("\r").rpartition("\r")[2]
            sys.stderr.write(f"    {shown}\n")

    def flush(self) -> None:
        """Bring written lines out."""
        sys.stderr.flush()


def execute(
    notebook: Path, output: Path, parameters: Mapping[str, Any], folder: Path, stop: Stop
) -> Outcome:
    """Execute a notebook with parameters and save it, while it runs, as `output`.

    Parameters
    ----------
    notebook, output : absolute paths; the output lies in a folder of the run's folder
    parameters : names and plain values, all known to the notebook
    folder : working directory of the kernel
    stop : through which the notebook can be ended

    Returns
    -------
    Outcome
        Errors of the notebook, its kernel and its files are outcomes, not exceptions.
    """
    note = output.parent.parent / _KERNEL
    watch = _CellWatch(stop, note)
    error = None
    try:
        _execute(notebook, output, parameters, folder, stop, watch)
    except PapermillExecutionError as caught:
        error = f"{caught.ename}: {_first_line(caught.evalue)}".removesuffix(": ")
    except DeadKernelError:
        error = "the kernel died; it was killed, crashed or ran out of memory"
    except _Stopped:
        error = "stopped"
    except (RuntimeError, OSError, PapermillException, NoSuchKernel) as caught:
        error = f"{type(caught).__name__}: {_first_line(str(caught))}"
    finally:
        stop.detach()
        note.unlink(missing_ok=True)
    if stop.reason is not None:
        return Outcome(stop.state, stop.reason, **watch.where)
    return Outcome("done") if error is None else Outcome("failed", error, **watch.where)


def _execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    folder: Path,
    stop: Stop,
    watch: _CellWatch,
) -> None:
    papermill.execute_notebook(
        notebook,
        f"{_NotebookFile.scheme}{output}",
        dict(parameters),
        engine_name="paxray",
        kernel_name="python3",  # this environment's, whatever the notebook was last saved with
        progress_bar=False,
        autosave_cell_every=5,
        cwd=folder,
        stderr_file=_Echo(),
        stop=stop,
        watch=watch,
    )


def end_orphan(run_dir: Path) -> None:
    """End the kernel of a runner that was killed: the two of them must not write to one folder.

    A kernel ends by itself when its parent is process 1; where a session's manager adopts it, it
    would train on."""
    note = run_dir / _KERNEL
    group, _, connection_file = note.read_text().partition(" ") if note.is_file() else ("", "", "")
    # else the number is another process's by now
    if connection_file and connection_file in _command_of(int(group)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), signal.SIGKILL)
    note.unlink(missing_ok=True)


def _command_of(pid: int) -> str:
    """Return the command line of a process, empty if it is gone or unknown."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    with contextlib.suppress(OSError):  # no /proc, as on macOS
        return subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True
        ).stdout
    return ""


@contextlib.contextmanager
def signals_stop(stop: Stop) -> Iterator[None]:
    """While inside, let Ctrl-C and SIGTERM request a stop instead of tearing this process down.

    In a thread other than the main one, where Python knows no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda got, _: stop.request(signal.Signals(got).name))
        for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def time_limit(stop: Stop, seconds: float | None) -> Iterator[None]:
    """Request a stop, as a failure, if what is inside takes longer than `seconds`."""
    if seconds is None:
        yield
        return
    clock = threading.Timer(
        seconds, stop.request, [f"time limit of {seconds:g} s reached", "failed"]
    )
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
