"""Run the ordered notebooks without a browser, by papermill: `paxray run`.

The notebooks run one after another in the project's root; each gets those settings of the profile that its cell tagged
`parameters` names, and `run_dir`, the run's folder. What happened is read from exceptions, never from the notebooks'
metadata, and kept in status.json (see runfolder.py).
"""

import ast
import contextlib
import dataclasses
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paxray_lib import report, runfolder
from paxray_lib.profiles import check_key, field_types, read_profile

DONE, STOPPED = 0, 3

# Settings of the runner itself. time_limit: seconds that one notebook may take, null for no limit;
# notebooks: the names of those to run, in place of all.
RUNNER_TYPES = {"run_dir": str, "time_limit": float | None, "notebooks": list}


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
        Start at the first notebook that is not done; a notebook that knows a parameter `resume` gets it as True.
    notebooks_dir : folder of the notebooks, optional
        By default `notebooks` in the project's root, which is searched upward from the working directory.
    config_types : names and type hints of more settings, optional
        By default TrainConfig's fields. Those that no notebook names itself reach a notebook's parameter `options`,
        a dict, where there is one.

    Returns
    -------
    int
        0: all done. 3: stopped before the end; one message on stderr says where and why.

    Raises
    ------
    ValueError, OSError
        Nothing was started: a wrong profile, a folder in use, other settings than those of the run to be resumed.
    """
    notebooks = find_notebooks(notebooks_dir)
    parameters = {path.stem: parameter_types(path) for path in notebooks}
    settings = read_settings(profile, overrides, parameters, config_types)
    notebooks = _chosen(notebooks, settings.get("notebooks"), profile)
    parameters = {path.stem: parameters[path.stem] for path in notebooks}
    run_dir = Path(out or settings.get("run_dir") or _default_folder(profile)).resolve()
    root = notebooks[0].parent.parent
    settings["run_dir"] = os.path.relpath(run_dir, root) if run_dir.is_relative_to(root) else str(run_dir)
    with runfolder.lock(run_dir):
        earlier = _check_folder(run_dir, settings, resume)
        runfolder.write_settings(run_dir, settings)
        status = runfolder.Status(run_dir, parameters, earlier)
        return _Run(run_dir, root, notebooks, parameters, settings, status, resumed=earlier is not None).run_all()


def project_root() -> Path:
    """Return the folder that holds `notebooks` and pyproject.toml, searched upward from the working directory.

    Raises
    ------
    FileNotFoundError
        No such folder.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise FileNotFoundError(f"{here}: neither here nor above is a folder with pyproject.toml and notebooks/")


def enter_project_root() -> None:
    """Make the project's root the working directory, so that a notebook's relative paths mean the same everywhere."""
    os.chdir(project_root())


def find_notebooks(notebooks_dir: str | os.PathLike | None = None) -> list[Path]:
    """Return the ordered notebooks, NN_*.ipynb, as absolute paths."""
    folder = Path(notebooks_dir).resolve() if notebooks_dir else project_root() / "notebooks"
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(f"{folder}: no notebooks named like 01_explore.ipynb")
    return notebooks


def _chosen(notebooks: list[Path], names: list[str] | None, profile: str | os.PathLike) -> list[Path]:
    known = [path.stem for path in notebooks]
    for name in names or ():
        check_key(name, known, f"{profile}: notebooks")
    return [path for path in notebooks if not names or path.stem in names]


def train_settings(profile: str | os.PathLike, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a profile for training alone: fields of TrainConfig, and what the runner and the notebooks know besides.

    Without `run_dir` it is runs/ and the profile's name, as for `run`.
    """
    types, parameters = _train_config_types(), {}
    if not read_profile(profile, overrides).keys() <= types.keys():
        with contextlib.suppress(FileNotFoundError):
            parameters = {path.stem: parameter_types(path) for path in find_notebooks()}
    settings = read_settings(profile, overrides, parameters, types)
    return {"run_dir": str(_default_folder(profile)), **settings}


def _default_folder(profile: str | os.PathLike) -> Path:
    return Path("runs") / Path(profile).stem


def parameter_types(notebook: Path) -> dict[str, Any]:
    """Return the names that a notebook's parameters cell sets, with the types of their literals (None: any)."""
    from papermill import inspect_notebook

    found = inspect_notebook(notebook)
    return {name: _literal_type(entry["default"]) for name, entry in found.items()}


def read_settings(
    profile: str | os.PathLike,
    overrides: Iterable[str],
    parameters: Mapping[str, Mapping[str, Any]],
    config_types: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read a profile whose keys some notebook, the training configuration or the runner knows.

    TrainConfig's types win over those seen in notebooks, whose literals may be None.
    """
    known = {name: hint for types in parameters.values() for name, hint in types.items()}
    if config_types is None and not read_profile(profile, overrides).keys() <= known.keys() | RUNNER_TYPES.keys():
        config_types = _train_config_types()
    return read_profile(profile, overrides, {**known, **(config_types or {}), **RUNNER_TYPES})


def select_parameters(
    settings: Mapping[str, Any], name: str, parameters: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the settings that the notebook `name` takes; those no notebook names go into its dict `options`."""
    own = {key: value for key, value in settings.items() if key in parameters[name]}
    named = set().union(*parameters.values(), RUNNER_TYPES)
    options = {key: value for key, value in settings.items() if key not in named}
    return {**own, "options": options} if options and "options" in parameters[name] else own


def _literal_type(source: str) -> Any:
    try:
        value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return None
    return None if value is None else type(value)


def _train_config_types() -> dict[str, Any]:
    from paxray_lib.train import TrainConfig  # brings torch, which takes seconds to import

    return field_types(TrainConfig)


def _check_folder(run_dir: Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    """Return the status of the run to be resumed, or None where a new one starts.

    The lock is held here, so what the status calls running is a run that was cut off.
    """
    held = sorted(path.name for path in run_dir.iterdir() if not path.name.startswith("."))
    if not held:
        return None
    if "status.json" not in held:
        raise ValueError(f"{run_dir}: holds other files ({held[0]}, ...); choose an empty folder with --out")
    if not resume:
        raise ValueError(f"{run_dir}: holds a run already; continue it with --resume, or choose another --out")
    runfolder.check_same_settings(run_dir, settings)
    return runfolder.read_json(run_dir / "status.json")


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run under way: what to execute, with which settings, and the status to keep."""

    run_dir: Path
    root: Path
    notebooks: list[Path]
    parameters: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    status: runfolder.Status
    resumed: bool

    def run_all(self) -> int:
        """Run the steps until one does not end well; return the exit status."""
        from paxray_lib.execute import Stop, signals_stop

        stop = Stop()
        state = "failed"
        with signals_stop(stop):
            try:
                self.write_environment()
                state = self.run_steps(stop)
            except OSError as error:  # such as a full disk
                _say(f"{self.run_dir}: {error}")
            finally:
                self.close(state)
        return DONE if state == "done" else STOPPED

    def run_steps(self, stop: Any) -> str:
        """Run the steps in order; return the state of the first that is not done, or "done"."""
        for number, (notebook, step) in enumerate(zip(self.notebooks, self.status.steps, strict=True), 1):
            label = f"[{number}/{len(self.notebooks)}] {notebook.stem}"
            if step["state"] == "done":
                _say(f"{label} was done before")
                continue
            if stop.reason is not None:
                _say(f"{label} not started: {stop.reason}")
                return stop.state
            state = self.run_step(notebook, step, stop, label)
            if state != "done":
                return state
        return "done"

    def run_step(self, notebook: Path, step: dict[str, Any], stop: Any, label: str) -> str:
        """Execute one notebook, record how it ended and write its page; return its state."""
        from paxray_lib.execute import Outcome, execute, time_limit

        _say(label)
        self.status.start(step)
        start = time.monotonic()
        outcome = Outcome("failed", "the runner itself failed")
        output = self.run_dir / "notebooks" / notebook.name
        try:
            with time_limit(stop, self.settings.get("time_limit")):
                outcome = execute(notebook, output, self.values_for(notebook.stem), self.root, stop)
        finally:
            seconds = time.monotonic() - start
            self.status.end(step, outcome.state, seconds, **outcome.details())
        if output.is_file():
            report.notebook_page(output)
        _say(f"{label} {outcome.state} {'in' if outcome.state == 'done' else 'after'} {report.duration(seconds)}")
        if outcome.state != "done":
            _say(self.complaint(notebook, outcome))
        return outcome.state

    def values_for(self, name: str) -> dict[str, Any]:
        """Return what is injected into a notebook."""
        values = select_parameters(self.settings, name, self.parameters)
        if self.resumed and "resume" in self.parameters[name]:
            values["resume"] = True
        return values

    def complaint(self, notebook: Path, outcome: Any) -> str:
        """Say in one message where and why the run stopped, and how to go on."""
        where = str(notebook.relative_to(self.root))
        if outcome.cell_number is not None:
            first = (outcome.source or "").partition("\n")[0]
            where += f", cell In [{outcome.cell_number}] ({first})"
        return f"{where}: {outcome.error}\nsee {self.run_dir / 'index.html'}; --resume goes on from this notebook"

    def write_environment(self) -> None:
        """Write environment.txt; a resumed run adds to it, since code or packages may have changed meanwhile."""
        settings = self.settings
        text = runfolder.describe_environment(self.root, settings.get("data_root"), settings.get("datafile"))
        path = self.run_dir / "environment.txt"
        if self.resumed and path.is_file():
            text = f"{path.read_text(encoding='utf-8')}\nresumed\n{text}"
        runfolder.write_text(path, text)

    def complete_environment(self) -> None:
        """Add the data's fingerprint to environment.txt if a notebook has only just made the data."""
        path = self.run_dir / "environment.txt"
        missing = runfolder.MISSING_DATA in path.read_text(encoding="utf-8") if path.is_file() else False
        settings = self.settings
        data = runfolder.describe_data(self.root, settings.get("data_root"), settings.get("datafile"))
        if missing and runfolder.MISSING_DATA not in data:
            text = path.read_text(encoding="utf-8")
            runfolder.write_text(
                path, re.sub(f"data: .*{runfolder.MISSING_DATA}", f"data, made by this run: {data}", text)
            )

    def close(self, state: str) -> None:
        """Record the end and write index.html, as far as the disk takes it."""
        try:
            self.complete_environment()
            self.status.close(state)
            page = report.write_index(self.run_dir, runfolder.read_json(self.status.path))
        except OSError as error:
            _say(f"{self.run_dir}: status or index.html could not be written: {error}")
        else:
            _say(f"{state}: {page}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
