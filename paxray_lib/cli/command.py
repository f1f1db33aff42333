"""What all commands share: the app, exit codes, signals, options of the same meaning."""

import contextlib
import errno
import functools
import inspect
import os
import platform
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from paxray_lib.compute.launch import find_launch
from paxray_lib.utils import Stopped, first_line, is_disk_full, log, say
from paxray_lib.utils.extras import missing_extra

# the last is EX_SOFTWARE of sysexits.h
DONE, SOME_FAILED, NOT_STARTED, STOPPED, FAULT = 0, 1, 2, 3, 70
_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")  # the second is not known to Windows
_CLEANUP_S = 10.0  # in which a second signal does not disturb the end of the work; chosen by eye
_LONGEST_MESSAGE = 2000
_OTHER_PLACE = "choose another place, or change its permissions"
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _OTHER_PLACE),
    errno.ENAMETOOLONG: "choose a shorter name",
}

app = typer.Typer(
    name="paxray", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


class _Command(TyperCommand):
    """A command that refuses an empty text, for which a script's unset variable is to blame.

    As a path it would mean the working directory, and as labels all of them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments, as typer does."""
        for arg in args:
            name, _, value = arg.partition("=")
            if not arg or (name.startswith("--") and name != arg and not value):
                where = f"{name}: " if name else ""
                raise typer.BadParameter(f"{where}an empty text; leave it out, or give a value")
        return super().parse_args(ctx, args)


def option(help: str, *names: str, **settings: Any) -> Any:
    """Return typer's option with a help text, and by default the parameter's name."""
    return typer.Option(*names, help=help, **settings)


def argument(help: str) -> Any:
    """Return typer's argument with a help text."""
    return typer.Argument(help=help)


DataRoot = Annotated[Path, option("Folder that the paths in the data file are relative to.")]
DataFile = Annotated[Path, option("Such as paxray.json, in the data root or elsewhere.")]
Profile = Annotated[Path, option("YAML file of settings: notebooks/profiles/demo.yaml.")]
Settings = Annotated[
    list[str], option("Replace a setting; can be repeated.", "--set", metavar="KEY=VALUE")
]
Weights = Annotated[
    Path, option("A checkpoint, a folder of export hub, published weights, open, or cxas.")
]
Labels = Annotated[str, option("Names, groups or patterns, as in heart,ribs,t1?")]
Threshold = Annotated[float, option("A pixel has a label where its probability is greater.")]
Device = Annotated[str, option("auto, cpu, cuda, cuda:1, mps.")]
Mirror = Annotated[bool, option("Average with the mirrored image (known view).", "--mirror")]
Precision = Annotated[str, option("float32, or bfloat16 where the hardware has it: faster.")]
CloseTree = Annotated[bool, option("Add parts to their wholes in the label tree.", "--close-tree")]


def _version(asked: bool) -> None:
    if asked:
        from paxray_lib import __version__

        say(f"paxray {__version__}")
        raise typer.Exit


@app.callback()
def _paxray(
    version: Annotated[
        bool, option("Show the version.", "--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Multi-label anatomy segmentation of chest X-rays: 166 labels, from data to report."""


def command(function: Callable[..., int | None], to: typer.Typer = app) -> Callable[..., None]:
    """Make a function a command that ends in an exit code, and one line if that is not 0.

    Expected errors are ValueError and OSError, too little memory and a full disk; any other one is
    a fault of this library, were it the wish of some other library to exit.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            with _signals_interrupt():
                code = function(*args, **kwargs)
        except typer.Exit:  # of a command that this one ends with
            raise
        except BaseException as error:  # noqa: BLE001 - the last resort
            raise typer.Exit(report(error)) from None
        raise typer.Exit(code or DONE)

    # typer would keep the line ends of all paragraphs but the first
    help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or "")
    return to.command(cls=_Command, help=help)(wrapped)


def _ending(error: BaseException) -> tuple[str, int]:
    """Return what is said of an error that ends a command, and the exit code."""
    # one that comes within a lock of Python's own leaves it as that lock's error
    if isinstance(error, RuntimeError) and isinstance(error.__context__, KeyboardInterrupt):
        error = error.__context__
    if isinstance(error, Stopped | KeyboardInterrupt):
        return str(error) or "interrupted", STOPPED
    if isinstance(error, ValueError | OSError):
        return _say_expected(error)
    if line := missing_extra(error):
        return line, NOT_STARTED
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, perhaps for want of memory; fewer need less", STOPPED
    # torch has two of its own, neither a MemoryError
    if isinstance(error, MemoryError) or re.search("OutOfMemory|t allocate memory", repr(error)):
        reason = first_line(str(error)) or "no more can be had"
        return f"out of memory ({reason}); fewer or smaller images at once need less", STOPPED
    return _report_fault(error), FAULT


def _say_expected(error: ValueError | OSError) -> tuple[str, int]:
    """Return the text of an error with file and remedy, and the exit code."""
    number, text = getattr(error, "errno", None), str(error)
    if number is not None and isinstance(error, OSError):  # not in our own words
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(isinstance(cause, OSError) and is_disk_full(cause) for cause in causes):
        return f"{text}; free some space, and run the same again to go on", STOPPED
    if number is not None:
        text += f"; {_REMEDIES.get(number, 'check the path')}"
    return text, NOT_STARTED


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """While inside, let SIGTERM and SIGHUP end the work in order, as Ctrl-C does.

    Of several within some seconds, such as those of a terminal that is closed, the first one
    counts. A signal that is ignored, as SIGHUP under nohup, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _ENDING_SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    quiet_until = 0.0

    def interrupt(number: int, _: object) -> None:
        nonlocal quiet_until
        if time.monotonic() >= quiet_until:
            quiet_until = time.monotonic() + _CLEANUP_S
            raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _report_fault(error: BaseException) -> str:
    """Keep the full trace; return what says that this library is at fault, and where it is."""
    from paxray_lib import __version__

    trace = "".join(traceback.format_exception(error))
    about = f"paxray {__version__}, Python {platform.python_version()}, {platform.platform()}"
    text = f"{about}\n{' '.join(sys.argv)}\n\n{trace}"
    try:
        handle, name = tempfile.mkstemp(prefix="paxray-fault-", suffix=".txt", text=True)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        place = f"the full trace is in {name}"
    except OSError:
        log(text)
        place = "the full trace stands above"
    # not str(error), which may fail, too
    summary = first_line(traceback.format_exception_only(error)[0])[:300]
    return (
        f"a fault of this program, not yours: {summary}; {place}; please report it with that text"
    )


def report(error: BaseException) -> int:
    """Say in one line on stderr what ended the work, and return the exit code.

    Of several processes, one speaks if all find the same.
    """
    message, code = _ending(error)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    # once they have joined, each may fail for a reason of its own
    notes = getattr(error, "__notes__", ())
    who = next((f"[{note}] " for note in notes if note.startswith("process ")), "")
    try:
        speaks = bool(who) or find_launch().local_rank == 0
    except ValueError:  # which may be the error
        speaks = True
    if speaks:
        log(f"paxray: {who}{message}")
    return code


def split_names(names: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name for name in names.split(",") if name.strip()]
