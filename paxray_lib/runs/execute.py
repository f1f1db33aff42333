"""Execute one notebook by papermill, in a kernel that can be ended with all its children."""

import contextlib
import logging
import os
import signal
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

from paxray_lib.runs.in_kernel import FIRST_LINE
from paxray_lib.runs.plan import read_notebook
from paxray_lib.runs.provenance import write_record
from paxray_lib.utils.echo import Echo
from paxray_lib.utils.errors import first_line

_GRACE_S = 5.0  # from asking a cell to stop to killing its kernel; chosen by eye
# The outcome says what went wrong in one message; nbclient's log of the same would only repeat it.
_quiet = logging.getLogger(__name__)
_quiet.addHandler(logging.NullHandler())


class Stop:
    """A wish to end all work, raised by a signal. It is final: nothing starts after it."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._kernel: _Kernel | None = None  # the one at work

    def request(self, reason: str) -> None:
        """Ask the notebook at work to end; only the first wish counts."""
        if self.reason is None:
            self.reason = reason
            if self._kernel is not None:
                self._kernel.stop("interrupted", reason)

    @contextlib.contextmanager
    def in_charge_of(self, kernel: "_Kernel") -> Iterator[None]:
        """While inside, end the kernel when a stop is requested; in the end, all that is left."""
        self._kernel = kernel
        kernel.clock.start()
        if self.reason is not None:  # requested just before
            kernel.stop("interrupted", self.reason)
        try:
            yield
        finally:
            self._kernel = None
            kernel.close()

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """While inside, let signals request a stop instead of tearing this process down.

        They are Ctrl-C, SIGTERM and SIGHUP; one that is ignored, as under nohup, stays so. In a
        thread other than the main one, where Python knows no signals, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _: object) -> None:
            self.request(signal.Signals(number).name)

        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        numbers = [getattr(signal, name) for name in names]
        numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _KernelStopped(Exception):
    """A stop was asked for between two cells."""


class _Kernel:
    """The kernel of one notebook: which cell it runs, and how to end it from outside.

    To stop it, the running cell is interrupted first, so that its notebook shows where it stood and
    training can save. After a few seconds the kernel and its children are killed. When `time_limit`
    seconds are over, it is stopped as failed.
    """

    def __init__(self, time_limit: float | None) -> None:
        self.stopped: tuple[str, str] | None = None  # state and reason
        self.cell: dict[str, Any] = {}  # the one entered last, in the outcome's terms
        self.client: PapermillNotebookClient | None = None
        self._group: int | None = None
        limit = threading.TIMEOUT_MAX if time_limit is None else time_limit
        why = ["failed", f"time limit of {limit:g} s reached"]
        self.clock = threading.Timer(limit, self.stop, why)
        self._killer = threading.Timer(_GRACE_S, self._signal, ["SIGKILL"])
        self.clock.daemon = self._killer.daemon = True

    def enter(self, cell: Any, cell_index: int) -> None:
        """Note the code cell that begins; refuse it after a stop."""
        self._find_group()
        if self.stopped is not None or self.client is None:
            raise _KernelStopped
        before = self.client.nb.cells[:cell_index]
        injected = sum("injected-parameters" in other.metadata.get("tags", []) for other in before)
        self.cell = {
            "cell_index": cell_index - injected,
            "cell_number": self.cell.get("cell_number", 0) + 1,
            "source": "\n".join(cell.source.strip().splitlines()[:3]),
        }

    def stop(self, state: str, reason: str) -> None:
        """Interrupt the running cell, and kill the kernel if that takes long; once is enough."""
        if self.stopped is None:
            self.stopped = state, reason
            if self.client is not None:  # once the cell has ended, there is nothing to wait for
                self.client.shutdown_kernel = "immediate"
            self._signal("SIGINT")
            self._killer.start()

    def close(self) -> None:
        """End what is left of the process group, such as workers of a killed kernel."""
        self.clock.cancel()
        self._killer.cancel()
        self._signal("SIGKILL")

    def _find_group(self) -> None:
        """Remember the process group, of which nbclient forgets the number when the kernel ends."""
        manager = getattr(self.client, "km", None)
        group = getattr(getattr(manager, "provisioner", None), "pgid", None)
        # a group shared with this process would mean to end ourselves
        if group is not None and group != os.getpgid(0):
            self._group = group

    def _signal(self, name: str) -> None:
        self._find_group()
        if self._group is not None:
            # macOS: a group of zombies is not permitted
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, getattr(signal, name))


class _Engine(NBClientEngine):
    """papermill's engine, with the client in the hands of a `_Kernel`."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, kernel: _Kernel, echo: Echo, **_: Any
    ) -> None:
        kernel.client = PapermillNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            timeout=None,
            startup_timeout=60,
            stdout_file=echo.stdout,
            stderr_file=echo,
            coalesce_streams=True,
            extra_arguments=["--log-level=40", f"--IPKernelApp.exec_lines={FIRST_LINE}"],
            on_cell_execute=kernel.enter,
            log=_quiet,
        )
        kernel.client.execute()


class _NotebookFile:
    """Takes what papermill saves: in one piece, which papermill does not, even on a full disk."""

    scheme = "paxray:"

    @classmethod
    def write(cls, text: str, path: str) -> None:
        """Write RUN/notebooks/NAME.ipynb."""
        output = Path(path.removeprefix(cls.scheme))
        write_record(output.parent.parent, f"{output.parent.name}/{output.name}", text)

    @classmethod
    def pretty_path(cls, path: str) -> str:
        """Return the path as papermill's log names it."""
        return path.removeprefix(cls.scheme)


papermill_io.register(_NotebookFile.scheme, _NotebookFile)
papermill_engines.register("paxray", _Engine)


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    folder: Path,
    stop: Stop,
    time_limit: float | None = None,
) -> dict[str, Any]:
    """Execute a notebook with parameters and save it, while it runs, as `output`.

    Parameters
    ----------
    notebook, output : absolute paths; the output lies in a folder of the run's folder
    parameters : names and plain values, all known to the notebook
    folder : working directory of the kernel
    stop : through which the notebook can be ended
    time_limit : seconds after which the notebook is ended, as failed

    Returns
    -------
    dict
        state: "done", "failed" or "interrupted". If it is not done, error: what happened, in one
        line; and of the cell at fault, if one ran, cell_index: its position in the notebook as
        written, from 0; cell_number: as in `In [5]` of the executed copy; source: its first lines.
        Errors of the notebook, its kernel and its files are outcomes, not exceptions.
    """
    kernel, error = _Kernel(time_limit), None
    try:
        with stop.in_charge_of(kernel), Echo() as echo:
            papermill.execute_notebook(
                read_notebook(notebook),
                # papermill fills in what stands between braces
                f"{_NotebookFile.scheme}{output}".replace("{", "{{").replace("}", "}}"),
                dict(parameters),
                engine_name="paxray",
                kernel_name="python3",  # this environment's, whatever the notebook was saved with
                progress_bar=False,
                autosave_cell_every=5,
                cwd=folder,
                kernel=kernel,
                echo=echo,
            )
    except PapermillExecutionError as caught:
        error = f"{caught.ename}: {first_line(caught.evalue)}".removesuffix(": ")
    except DeadKernelError:
        error = "the kernel died; it was killed, crashed or ran out of memory"
    except ValueError as caught:  # a damaged notebook
        error = str(caught)
    except (_KernelStopped, RuntimeError, OSError, PapermillException, NoSuchKernel) as caught:
        error = f"{type(caught).__name__}: {first_line(str(caught))}"
    if kernel.stopped or error:
        state, error = kernel.stopped or ("failed", error)
        return {"state": state, "error": error, **kernel.cell}
    return {"state": "done"}
