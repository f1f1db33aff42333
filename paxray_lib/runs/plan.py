"""What a run executes, checked before it starts: the ordered notebooks, the settings that each
takes, the folder.
"""

import ast
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paxray_lib.runs.profiles import check_key, read_profile
from paxray_lib.utils.settings import field_types

# Settings of the runner itself. time_limit: seconds that one notebook may take, null for no limit;
# notebooks: the names of those to run, in place of all.
RUNNER_TYPES = {"run_dir": str, "time_limit": float | None, "notebooks": list[str]}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one run executes, checked, before anything happens.

    Attributes
    ----------
    run_dir, root : absolute paths of the run's folder and of the project
    notebooks : absolute paths, in order
    parameters : for each notebook's name, names and types of its parameters
    config : names of the training configuration's fields
    settings : plain values, as in config.yaml
    """

    run_dir: Path
    root: Path
    notebooks: list[Path]
    parameters: Mapping[str, Mapping[str, Any]]
    config: frozenset[str]
    settings: Mapping[str, Any]


def make_plan(
    profile: str | os.PathLike,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> Plan:
    """Check a profile and what belongs to it, as for `run`, and return what is to be executed;
    nothing is written.
    """
    notebooks = find_notebooks(notebooks_dir)
    parameters = {path.stem: parameter_types(path) for path in notebooks}
    config_types = train_config_types() if config_types is None else config_types
    settings = read_settings(profile, overrides, parameters, config_types)
    notebooks = _chosen(notebooks, settings.get("notebooks"), profile)
    parameters = {path.stem: parameters[path.stem] for path in notebooks}
    run_dir = Path(out or settings.get("run_dir") or default_folder(profile)).resolve()
    root = notebooks[0].parent.parent
    settings["run_dir"] = (
        os.path.relpath(run_dir, root) if run_dir.is_relative_to(root) else str(run_dir)
    )
    return Plan(run_dir, root, notebooks, parameters, frozenset(config_types), settings)


def project_root() -> Path:
    """Return the folder that holds `notebooks` and pyproject.toml, searched upward from the working
    directory.

    Raises
    ------
    FileNotFoundError
        No such folder.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise FileNotFoundError(
        f"{here}: neither here nor above is a folder with pyproject.toml and notebooks/"
    )


def find_notebooks(notebooks_dir: str | os.PathLike | None = None) -> list[Path]:
    """Return the ordered notebooks, NN_*.ipynb, as absolute paths."""
    folder = Path(notebooks_dir).resolve() if notebooks_dir else project_root() / "notebooks"
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(f"{folder}: no notebooks named like 01_explore.ipynb")
    return notebooks


def parameter_types(notebook: Path) -> dict[str, Any]:
    """Return the names that a notebook's parameters cell sets, with the types of their literals
    (None: any).
    """
    from papermill import inspect_notebook

    try:
        found = inspect_notebook(notebook)
    except ValueError as error:  # such as a notebook that names no kernel
        raise ValueError(f"{notebook}: {error}") from error
    return {name: _literal_type(entry["default"]) for name, entry in found.items()}


def read_settings(
    profile: str | os.PathLike,
    overrides: Iterable[str],
    parameters: Mapping[str, Mapping[str, Any]],
    config_types: Mapping[str, Any],
) -> dict[str, Any]:
    """Read a profile whose keys some notebook, the training configuration or the runner knows.

    TrainConfig's types win over those seen in notebooks, whose literals may be None.
    """
    known = {name: hint for types in parameters.values() for name, hint in types.items()}
    return read_profile(profile, overrides, {**known, **config_types, **RUNNER_TYPES})


def select_parameters(plan: Plan, name: str) -> dict[str, Any]:
    """Return the settings that the notebook `name` takes.

    Fields of the training configuration that it does not name itself go into its dict `options`, if
    it has one; what other notebooks name makes no difference."""
    types = plan.parameters[name]
    own = {key: value for key, value in plan.settings.items() if key in types}
    others = plan.config - types.keys() - RUNNER_TYPES.keys()
    options = {key: value for key, value in plan.settings.items() if key in others}
    return {**own, "options": options} if options and "options" in types else own


def code_hash(notebook: Path) -> str:
    """Return the SHA-256 of a notebook's code cells; text and outputs do not count."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def default_folder(profile: str | os.PathLike) -> Path:
    """Return where a run of this profile goes if nobody says otherwise."""
    return Path("runs") / Path(profile).stem


def train_config_types() -> dict[str, Any]:
    """Return the fields of TrainConfig with their type hints."""
    from paxray_lib.training.config import TrainConfig

    return field_types(TrainConfig)


def _chosen(
    notebooks: list[Path], names: list[str] | None, profile: str | os.PathLike
) -> list[Path]:
    known = [path.stem for path in notebooks]
    for name in names or ():
        check_key(name, known, f"{profile}: notebooks")
    return [path for path in notebooks if not names or path.stem in names]


def _literal_type(source: str) -> Any:
    try:
        value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return None
    return None if value is None else type(value)
