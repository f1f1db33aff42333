"""What all commands share: the app, exit codes, options of the same meaning."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from paxray_lib.compute.launch import find_launch
from paxray_lib.utils import Stopped, log, say

DONE, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 3

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
    """Make a function a command whose expected errors end in one line and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = function(*args, **kwargs)
        except (Stopped, KeyboardInterrupt) as error:
            fail(str(error) or "interrupted", STOPPED)
        except (ValueError, OSError) as error:
            fail(str(error), NOT_STARTED)
        raise typer.Exit(code or DONE)

    return app.command()(wrapped)


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
