"""What all commands share: the app, exit codes, signals, options of the same meaning."""

import contextlib
import functools
import os
import platform
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from paxray_lib.compute.launch import find_launch
from paxray_lib.utils import Stopped, first_line, is_disk_full, log, say

# the last is EX_SOFTWARE of sysexits.h
DONE, SOME_FAILED, NOT_STARTED, STOPPED, FAULT = 0, 1, 2, 3, 70
_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")  # the second is not known to Windows

app = typer.Typer(
    name="paxray", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


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
Weights = Annotated[Path, option("A checkpoint of a training run, or published weights.")]
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


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a function a command that ends in an exit code, and one line if that is not 0.

    Expected errors are ValueError and OSError; any other one is a fault of this library.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            with _signals_interrupt():
                code = function(*args, **kwargs)
        except (Stopped, KeyboardInterrupt) as error:
            fail(str(error) or "interrupted", STOPPED)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                fail(f"{error}; free some space, and run the same again to go on", STOPPED)
            fail(str(error), NOT_STARTED)
        except MemoryError as error:
            reason = first_line(str(error)) or "no more can be had"
            fail(f"out of memory ({reason}); fewer or smaller images at once need less", STOPPED)
        except Exception as error:  # noqa: BLE001 - the last resort
            raise typer.Exit(_report_fault(error)) from None
        raise typer.Exit(code or DONE)

    return app.command(cls=_Command)(wrapped)


class _Command(TyperCommand):
    """A command that takes no empty text for a path: it would mean the folder at hand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.params:
            value = given.get(str(parameter.name))
            is_empty = "" in value if isinstance(value, list | tuple) else value == ""
            if is_empty and parameter.default != "":
                ctx.fail(f"{parameter.opts[-1]}: an empty text, but a value is needed")
        return super().parse_args(ctx, args)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """While inside, let SIGTERM and SIGHUP end the work in order, as Ctrl-C does: the first one.

    A signal that is ignored, as SIGHUP under nohup, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _ENDING_SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def interrupt(number: int, _: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _report_fault(error: Exception) -> int:
    """Say that this library is at fault and where the full trace is; return the exit code."""
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
    log(
        f"paxray: a fault of this program, not yours: {type(error).__name__}: "
        f"{first_line(str(error))}; {place}; please report it with that text"
    )
    return FAULT


def fail(message: str, code: int) -> NoReturn:
    """End the command with one line on stderr; of several processes, once."""
    launch, who = find_launch(), ""
    if launch.world > 1:
        from paxray_lib.compute.collectives import rank_and_world

        if rank_and_world()[1] > 1:  # once they have joined, each may fail for a reason of its own
            who = f"[process {launch.rank}] "
    if who or launch.local_rank == 0:  # before that they all find the same
        log(f"paxray: {who}{message}")
    raise typer.Exit(code) from None


def split_names(names: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name for name in names.split(",") if name.strip()]
