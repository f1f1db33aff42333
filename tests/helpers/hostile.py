r"""Hostile inputs and events, one line each: what is made, which command meets it, how that ends.

    @cases(
        ("an empty PNG", lambda here: (here / "x.png").touch(),
         "predict --images {here}/x.png --out {here}/out --weights {weights}", 1, r"x\.png.*empty"),
    )
    def test_images(case, hostile):
        hostile(case)

A command runs in this process through the entry point. Whatever the case, it may not end by a fault
of the program (70) unless that is what the case expects, and steers no terminal.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paxray_lib.cli import app


@dataclass(frozen=True)
class Case:
    """One hostile case.

    Attributes
    ----------
    name : what is hostile about it
    make : writes the input below the folder that it is given
    command : arguments, with {here} (that folder), {data} (a copy of the tiny data set in it),
        {weights} (a checkpoint of a tiny network for all 166 labels, on the CPU)
    code : the exit code
    words : a regular expression that the output must match; `.` matches line ends too
    """

    name: str
    make: Callable[[Path], object]
    command: str
    code: int
    words: str


def cases(*rows: tuple):
    """Parametrize a test by `case`, from tuples in the order of `Case`."""
    return pytest.mark.parametrize("case", [pytest.param(Case(*row), id=row[0]) for row in rows])


def run_case(case: Case, **places: Path) -> str:
    """Make the input, run the command, check code and words; return the output."""
    case.make(places["here"])
    arguments = [part.format(**places) for part in shlex.split(case.command)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == case.code, result.output
    assert re.search(case.words, result.output, re.DOTALL), result.output
    steering = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.output)
    assert not steering, f"reaches the terminal raw: {result.output!r}"
    return result.output
