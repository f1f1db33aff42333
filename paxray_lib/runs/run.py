"""Run the ordered notebooks without a browser, by papermill: `paxray run`.

The notebooks run one after another in the project's root; each gets those settings of the profile
that its cell tagged `parameters` names, and `run_dir`, the run's folder. What happened is read from
exceptions, never from the notebooks' metadata, and kept in status.json (see runfolder.py)."""

import contextlib
import dataclasses
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paxray_lib.runs import provenance, status
from paxray_lib.runs.plan import (
    Plan,
    code_hash,
    default_folder,
    find_notebooks,
    make_plan,
    parameter_types,
    read_settings,
    select_parameters,
    train_config_types,
)
from paxray_lib.runs.profiles import read_profile
from paxray_lib.runs.report import notebook_page, write_index
from paxray_lib.utils import files, locks
from paxray_lib.utils.progress import duration

DONE, STOPPED = 0, 3


def run(
    profile: str | os.PathLike,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    resume: bool = False,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> int:
    """Execute the notebooks NN_*.ipynb in order and leave a run's folder with index.html.

    Parameters
    ----------
    profile : path of a YAML profile
    overrides : texts "key=value" that replace the profile's values
    out : folder of the run, optional
        By default the profile's `run_dir`, else runs/ and the profile's name.
    resume : bool
        Start at the first notebook that is not done; a notebook that knows a parameter `resume`
        gets it as True.
    notebooks_dir : folder of the notebooks, optional
        By default `notebooks` in the project's root, which is searched upward from the working
        directory.
    config_types : names and type hints of more settings, optional
        By default TrainConfig's fields. Those that no notebook names itself reach a notebook's
        parameter `options`, a dict, where there is one.

    Returns
    -------
    int
        0: all done. 3: stopped before the end; one message on stderr says where and why.

    Raises
    ------
    ValueError, OSError
        Nothing was started: a wrong profile, a folder in use, other settings or data than those of
        the run to be resumed.
    """
    return run_plan(make_plan(profile, overrides, out, notebooks_dir, config_types), resume)


def run_plan(plan: Plan, resume: bool = False, stop: Any = None) -> int:
    """Execute a plan and return the exit status, as `run` does.

    Parameters
    ----------
    stop : execute.Stop, optional
        Through which someone else ends the run; by default SIGINT and SIGTERM do.
    """
    from paxray_lib.runs.execute import Stop, end_orphan, signals_stop

    if stop is None:
        stop = Stop()
        with signals_stop(stop):
            return run_plan(plan, resume, stop)
    with locks.lock(plan.run_dir):
        earlier = status.earlier_status(plan.run_dir, resume)
        end_orphan(plan.run_dir)
        if earlier:
            check_resumable(plan, earlier)
        provenance.write_settings(plan.run_dir, plan.settings)
        record = status.Status(plan.run_dir, plan.parameters, earlier)
        state = _Run(plan, record, resumed=earlier is not None).run_all(stop)
    return DONE if state == "done" else STOPPED


def check_resumable(plan: Plan, earlier: Mapping[str, Any]) -> None:
    """Raise ValueError if the run of which `earlier` is the status had other settings or data than
    the plan.
    """
    provenance.check_same_settings(plan.run_dir, plan.settings)
    provenance.check_same_data(
        plan.run_dir, earlier, provenance.describe_data(plan.root, plan.settings)
    )


def changed_since(step: Mapping[str, Any], notebook: Path) -> str | None:
    """Say that a notebook is another one than the one that a finished step ran; None if it is the
    same, or unknown.
    """
    if step.get("code") in (None, code_hash(notebook)):
        return None
    return (
        f"{notebook.name} was changed after it ran here: its results are those of the earlier code"
    )


def train_settings(profile: str | os.PathLike, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a profile for training alone: fields of TrainConfig, and what the runner and the
    notebooks know besides.

    Without `run_dir` it is runs/ and the profile's name, as for `run`.
    """
    types, parameters = train_config_types(), {}
    if not read_profile(profile, overrides).keys() <= types.keys():
        with contextlib.suppress(FileNotFoundError):
            parameters = {path.stem: parameter_types(path) for path in find_notebooks()}
    settings = read_settings(profile, overrides, parameters, types)
    return {"run_dir": str(default_folder(profile)), **settings}


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run under way: what to execute, with which settings, and the status to keep.

    Attributes
    ----------
    plan : plans.Plan
    status : status.Status of the plan's folder, which this process has locked
    resumed : whether the folder holds an earlier part of the run
    """

    plan: Plan
    status: status.Status
    resumed: bool

    def run_all(self, stop: Any) -> str:
        """Run the steps until one does not end well; return that one's state, or "done"."""
        state = "failed"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(provenance.reserve(self.plan.run_dir))
                self.write_environment()
                state = self.run_steps(stop)
            except OSError as error:  # such as a full disk
                say(f"{self.plan.run_dir}: {error}")
                self.status.run.update(error=str(error))
            finally:
                closed = self.close(state)
        return state if closed else "failed"

    def run_steps(self, stop: Any) -> str:
        """Run the steps in order; return the state of the first that is not done, or "done"."""
        for number, (notebook, step) in enumerate(
            zip(self.plan.notebooks, self.status.steps, strict=True), 1
        ):
            label = f"[{number}/{len(self.plan.notebooks)}] {notebook.stem}"
            if step["state"] == "done":
                say(f"{label} was done before")
                self.note(step, changed_since(step, notebook))
                continue
            if stop.reason is not None:
                say(f"{label} not started: {stop.reason}")
                return stop.state
            state = self.run_step(notebook, step, stop, label)
            if state != "done":
                return state
        return "done"

    def run_step(self, notebook: Path, step: dict[str, Any], stop: Any, label: str) -> str:
        """Execute one notebook, record how it ended and write its page; return its state."""
        from paxray_lib.runs.execute import Outcome, execute, time_limit

        say(label)
        self.status.start(step)
        code, start = code_hash(notebook), time.monotonic()  # now: it may be edited while it runs
        outcome = Outcome("failed", "the runner itself failed")
        output = self.plan.run_dir / "notebooks" / notebook.name
        try:
            with time_limit(stop, self.plan.settings.get("time_limit")):
                outcome = execute(
                    notebook, output, self.values_for(notebook.stem), self.plan.root, stop
                )
        finally:
            seconds = time.monotonic() - start
            self.status.end(step, outcome.state, seconds, code=code, **outcome.details())
        self.complete_environment()
        if output.is_file():
            notebook_page(output)
        say(
            f"{label} {outcome.state} {'in' if outcome.state == 'done' else 'after'} {duration(seconds)}"
        )
        if outcome.state != "done":
            say(self.complaint(notebook, outcome))
        return outcome.state

    def values_for(self, name: str) -> dict[str, Any]:
        """Return what is injected into a notebook."""
        values = select_parameters(self.plan, name)
        if self.resumed and "resume" in self.plan.parameters[name]:
            values["resume"] = True
        return values

    def complaint(self, notebook: Path, outcome: Any) -> str:
        """Say in one message where and why the run stopped, and how to go on."""
        where = str(notebook.relative_to(self.plan.root))
        if outcome.cell_number is not None:
            first = (outcome.source or "").partition("\n")[0]
            where += f", cell In [{outcome.cell_number}] ({first})"
        return f"{where}: {outcome.error}\nsee {self.plan.run_dir / 'index.html'}; --resume goes on from this notebook"

    def note(self, part: dict[str, Any], text: str | None) -> None:
        """Say on stderr, and in the status for the page, what is doubtful about a step or about the
        run.
        """
        part.pop("note", None)
        if text:
            say(f"note: {text}")
            part["note"] = text

    def write_environment(self) -> None:
        """Write environment.txt; a resumed run adds to it, since code or packages may have changed
        meanwhile.
        """
        git = provenance.git_state(self.plan.root)
        data = provenance.describe_data(self.plan.root, self.plan.settings)
        self.status.note_origin(git, data)
        first, *others = dict.fromkeys(self.status.run["git"])
        changed = f"the code changed between parts of this run: first {first}; then {'; then '.join(others)}"
        self.note(self.status.run, changed if others else None)
        text = provenance.describe_environment(git, data)
        path = self.plan.run_dir / "environment.txt"
        if self.resumed and path.is_file():
            text = f"{path.read_text(encoding='utf-8')}\nresumed\n{text}"
        files.write_text(path, text)

    def complete_environment(self) -> None:
        """Record the data's fingerprint if a notebook has only just made the data."""
        if provenance.MISSING_DATA not in self.status.run.get("data", ""):
            return
        data = provenance.describe_data(self.plan.root, self.plan.settings)
        path = self.plan.run_dir / "environment.txt"
        if provenance.MISSING_DATA not in data:
            self.status.run.update(data=data)
            text = path.read_text(encoding="utf-8")
            made = f"data, made by this run: {data}"
            files.write_text(
                path, re.sub(f"data: .*{provenance.MISSING_DATA}", lambda _: made, text)
            )

    def close(self, state: str) -> bool:
        """Record the end and write index.html; say whether the disk took it."""
        try:
            self.status.close(state)
            page = write_index(self.plan.run_dir, files.read_json(self.status.path))
        except OSError as error:
            say(f"{self.plan.run_dir}: status or index.html could not be written: {error}")
            return False
        say(f"{state}: {page}")
        return True


def say(text: str) -> None:
    """Show a line of progress on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
