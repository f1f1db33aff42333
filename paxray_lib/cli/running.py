"""Commands on notebooks: run, sweep."""

from pathlib import Path
from typing import Annotated

from paxray_lib.cli import command as shared
from paxray_lib.cli.command import argument, command, option


@command
def run(
    profile: shared.Profile,
    settings: shared.Settings = [],  # noqa: B006
    out: Annotated[
        Path | None, option("By default the profile's run_dir, or runs/ and its name.")
    ] = None,
    resume: Annotated[bool, option("Start at the first notebook not done.", "--resume")] = False,
) -> int:
    """Execute all notebooks in order without a browser, and leave a report in the run's folder."""
    from paxray_lib.runs.run import run as run_notebooks

    return run_notebooks(profile, settings, out, resume)


@command
def sweep(
    profiles: Annotated[list[Path], argument("YAML files; members are named after them.")],
    settings: shared.Settings = [],  # noqa: B006
    out: Annotated[Path, option("With a folder for each member.")] = Path("runs/sweep"),
    resume: Annotated[bool, option("Go on with members that are not done.", "--resume")] = False,
) -> int:
    """Run several profiles one after another and compare them on one page, index.html.

    Exit code 1 if a member failed (the others still run), 3 if the sweep was stopped; --resume goes
    on either way.
    """
    from paxray_lib.runs.sweep import sweep as run_sweep

    return run_sweep(profiles, settings, out, resume)
