"""Run the ordered notebooks without a browser, by papermill: `paxray run`.

The notebooks run one after another in the project's root. Each gets those settings of the profile
that its cell tagged `parameters` names, and `run_dir`, the run's folder. What happened is read from
exceptions, never from the notebooks' metadata, and kept in status.json (see status.py).
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxray_lib.runs import provenance
from paxray_lib.runs.plan import (
    RunPlan,
    code_hash,
    find_notebooks,
    make_plan,
    parameter_types,
    read_settings,
    train_config_types,
)
from paxray_lib.runs.profiles import read_profile
from paxray_lib.runs.status import Status, Step, earlier_status
from paxray_lib.utils import duration, first_line, lock, log, read_json
from paxray_lib.utils.settings import differences

if TYPE_CHECKING:
    from paxray_lib.runs.execute import Stop

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
    out : folder of the run, by default the profile's `run_dir`, else runs/ and the profile's name
    resume : start at the first notebook not done, with its parameter `resume`, if any, as True
    notebooks_dir : by default `notebooks` in the project's root, here or above
    config_types : names and type hints of more settings, optional
        By default TrainConfig's fields. Those that no notebook names itself reach a notebook's
        parameter `options`, a dict, where there is one.

    Returns
    -------
    0: all done. 3: stopped before the end; one message on stderr says where and why.

    Raises
    ------
    ValueError, OSError : nothing was started, for a wrong profile, missing files, a folder in use,
        other settings or data than those of the run to be resumed
    """
    plan = make_plan(profile, overrides, out, notebooks_dir, config_types)
    from paxray_lib.runs.execute import Stop

    stop = Stop()
    with stop.by_signals():
        return run_plan(plan, stop, resume)


def run_plan(plan: RunPlan, stop: "Stop", resume: bool = False) -> int:
    """Execute a plan, until `stop` ends it, and return the exit status, as `run` does."""
    with lock(plan.run_dir):
        earlier = earlier_status(plan.run_dir, resume)
        if earlier:
            check_resumable(plan, earlier)
        provenance.write_settings(plan.run_dir, plan.settings)
        status = Status(plan.run_dir, plan.parameters, earlier)
        state = _Run(plan, status, stop, resumed=earlier is not None).run_all()
    return DONE if state == "done" else STOPPED


def check_resumable(plan: RunPlan, earlier: Mapping[str, Any]) -> None:
    """Raise ValueError if the run whose status is `earlier` had other settings or data."""
    old, new = provenance.saved_settings(plan.run_dir), plan.settings
    if changes := differences(old, new, provenance.FREE_KEYS):
        raise ValueError(
            f"{plan.run_dir}: --resume with other settings: {', '.join(changes)}; "
            "start a new run with --out"
        )
    was, now = earlier.get("data", ""), provenance.describe_data(plan.root, new)
    # without a digest: unknown, or not there yet when the run began
    if "sha256 " in was and was.rpartition("sha256 ")[2] != now.rpartition("sha256 ")[2]:
        raise ValueError(
            f"{plan.run_dir}: --resume with other data: was {was}; is {now}; "
            "put the data back, or start a new run with --out"
        )


def changed_since(step: Mapping[str, Any], notebook: Path) -> str | None:
    """Say that a notebook is not the one that a finished step ran; None if it is, or unknown."""
    if step.get("code") in (None, code_hash(notebook)):
        return None
    name = notebook.name
    return f"{name} was changed after it ran here: its results are those of the earlier code"


def train_settings(profile: str | os.PathLike, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a profile for training alone, which may hold settings of the notebooks and the runner.

    Without `run_dir` it is runs/ and the profile's name, as for `run`.
    """
    types = train_config_types()
    parameters: dict[str, Any] = {}
    if not read_profile(profile, overrides).keys() <= types.keys():
        with contextlib.suppress(FileNotFoundError):
            parameters = {path.stem: parameter_types(path) for path in find_notebooks()}
    settings = read_settings(profile, overrides, parameters, types)
    return {"run_dir": f"runs/{Path(profile).stem}", **settings}


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run under way, in a folder that this process has locked."""

    plan: RunPlan
    status: Status
    stop: "Stop"
    resumed: bool  # whether the folder holds an earlier part of the run

    def run_all(self) -> str | None:
        """Run the steps until one does not end well; return the run's state, see `carry_out`."""
        from paxray_lib.runs.report import write_index

        folder = self.plan.run_dir
        with contextlib.ExitStack() as stack:

            def work() -> str:
                stack.enter_context(provenance.reserve(folder))
                self.write_environment()
                return self.run_steps()

            def write_page() -> Path:
                return write_index(folder, read_json(self.status.path))

            return self.status.carry_out(work, write_page)

    def run_steps(self) -> str:
        """Run the steps in order; return the state of the first that is not done, or "done"."""
        steps = zip(self.plan.notebooks, self.status.steps, strict=True)
        for number, (notebook, step) in enumerate(steps, 1):
            label = f"[{number}/{len(self.plan.notebooks)}] {notebook.stem}"
            if step["state"] == "done":
                log(f"{label} was done before")
                note(step, changed_since(step, notebook))
            elif self.stop.reason is not None:
                log(f"{label} not started: {self.stop.reason}")
                return "interrupted"
            elif (state := self.run_step(notebook, step, label)) != "done":
                return state
        return "done"

    def run_step(self, notebook: Path, step: Step, label: str) -> str:
        """Execute one notebook, record how it ended and write its page; return its state."""
        from paxray_lib.runs.execute import execute
        from paxray_lib.runs.report import notebook_page

        log(label)
        plan, output = self.plan, self.plan.run_dir / "notebooks" / notebook.name
        values = plan.values_for(notebook.stem)
        if self.resumed and "resume" in plan.parameters[notebook.stem]:
            values["resume"] = True
        with self.status.running(step) as result:
            with contextlib.suppress(ValueError, OSError):  # as the outcome will say, too
                step["code"] = code_hash(notebook)  # now: it may be edited while it runs
            limit = plan.settings.get("time_limit")
            outcome = execute(
                notebook, output, values, folder=plan.root, stop=self.stop, time_limit=limit
            )
            result.update(outcome)
        run = self.status.run
        if provenance.MISSING_DATA in run["data"]:  # perhaps this notebook has made the data
            run["data"] = provenance.describe_data(plan.root, plan.settings)
            if provenance.MISSING_DATA not in run["data"]:
                self.append_environment(f"data, made by this run: {run['data']}\n")
        if output.is_file():
            notebook_page(output)
        done = step["state"] == "done"
        log(f"{label} {step['state']} {'in' if done else 'after'} {duration(step['seconds'])}")
        if not done:
            where = str(notebook.relative_to(plan.root))
            if "cell_number" in step:
                where += f", cell In [{step['cell_number']}] ({first_line(step['source'])})"
            page = plan.run_dir / "index.html"
            log(f"{where}: {step['error']}\nsee {page}; --resume goes on from this notebook")
        return step["state"]

    def write_environment(self) -> None:
        """Write environment.txt; a resumed run adds to it what may have changed meanwhile."""
        git = provenance.git_state(self.plan.root)
        data = provenance.describe_data(self.plan.root, self.plan.settings)
        self.status.note_origin(git, data)
        first, *others = dict.fromkeys(self.status.run["git"])
        changes = f"first {first}; then {'; then '.join(others)}"
        changed = f"the code changed between parts of this run: {changes}"
        note(self.status.run, changed if others else None)
        resumed = "\nresumed\n" if self.resumed else ""
        self.append_environment(resumed + provenance.describe_environment(git, data))

    def append_environment(self, text: str) -> None:
        """Add to environment.txt."""
        with open(self.plan.run_dir / "environment.txt", "a", encoding="utf-8") as file:
            file.write(text)


def note(part: dict[str, Any], text: str | None) -> None:
    """Say what is doubtful about a step or a run, and keep it in its status for the page."""
    part.pop("note", None)
    if text:
        log(f"note: {text}")
        part["note"] = text
