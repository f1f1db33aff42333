"""What a run executes, checked before it starts: notebooks, the settings each takes, the folder."""

import ast
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import Field

from paxray_lib.data.union import name_first
from paxray_lib.evaluation.external import read_external
from paxray_lib.runs.latest import project_root
from paxray_lib.runs.profiles import check_key, read_profile
from paxray_lib.utils import naming_errors, parse_json, read_bytes
from paxray_lib.utils.errors import shown
from paxray_lib.utils.settings import cast, field_types

# Settings of the runner itself. time_limit: seconds that one notebook may take, null for no limit;
# notebooks: the names of those to run, in place of all.
RUNNER_TYPES: dict[str, Any] = {
    "run_dir": Annotated[str, Field(min_length=1)],
    "time_limit": Annotated[float, Field(gt=0, le=1e9)] | None,
    "notebooks": list[str],
}

# Parameters of notebooks that name a file or folder, and what to do where it is missing.
INPUTS = {
    "weights": "train, or fetch published weights: paxray fetch weights --which full",
    **dict.fromkeys(("images", "ct", "segmentation", "names"), "correct the path"),
    "compare_with": "run that evaluation first",
}


@dataclasses.dataclass(frozen=True)
class RunPlan:
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

    def values_for(self, name: str) -> dict[str, Any]:
        """Return the settings that the notebook `name` takes.

        Fields of the training configuration that it does not name itself go into its dict
        `options`, if it has one. What other notebooks name makes no difference. `weights` are the
        best of this run where no setting names others.
        """
        types = self.parameters[name]
        own = {key: value for key, value in self.settings.items() if key in types}
        if "weights" in types and own.get("weights") is None:
            own["weights"] = f"{self.settings['run_dir']}/checkpoints/best.ckpt"
        others = self.config - types.keys() - RUNNER_TYPES.keys()
        options = {key: value for key, value in self.settings.items() if key in others}
        return {**own, "options": options} if options and "options" in types else own


def make_plan(
    profile: str | os.PathLike,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> RunPlan:
    """Check a profile and what belongs to it, as for `run`; nothing is written."""
    raw = read_profile(profile, overrides)
    notebooks = find_notebooks(notebooks_dir)
    parameters = {path.stem: parameter_types(path) for path in notebooks}
    runner = {
        key: cast(raw.get(key), hint | None, f"{profile}: {key}")
        for key, hint in RUNNER_TYPES.items()
    }
    names = runner["notebooks"] or parameters.keys()
    for name in names:
        check_key(name, parameters, f"{profile}: notebooks")
    chosen = [path for path in notebooks if path.stem in names]
    run_dir = Path(out or runner["run_dir"] or f"runs/{Path(profile).stem}").resolve()
    root = notebooks[0].parent.parent
    # before the types of TrainConfig, which take seconds to import
    for path in chosen:
        _check_inputs(raw, parameters[path.stem], root, run_dir, profile)
    config_types = train_config_types() if config_types is None else config_types
    settings = read_settings(profile, overrides, parameters, config_types)
    inside = run_dir.is_relative_to(root)
    settings["run_dir"] = os.path.relpath(run_dir, root) if inside else str(run_dir)
    parameters = {path.stem: parameters[path.stem] for path in chosen}
    return RunPlan(run_dir, root, chosen, parameters, frozenset(config_types), settings)


def find_notebooks(notebooks_dir: str | os.PathLike | None = None) -> list[Path]:
    """Return the ordered notebooks, NN_*.ipynb, as absolute paths."""
    folder = Path(notebooks_dir).resolve() if notebooks_dir else project_root() / "notebooks"
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(f"{folder}: no notebooks named like 01_explore.ipynb")
    return notebooks


def parameter_types(notebook: Path) -> dict[str, Any]:
    """Return the names that a notebook's cell tagged `parameters` sets, and their literals' types.

    The type is None, which stands for any, where the value is None or no literal. ValueError if the
    notebook or that cell cannot be read.
    """
    cells = read_notebook(notebook).cells
    tagged = (cell for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    try:
        statements = ast.parse(next((cell.source for cell in tagged), "")).body
    except Exception as error:
        raise ValueError(f"{notebook}: parameters not readable: {shown(error)}") from error
    return {
        target.id: _literal_type(node.value)
        for node in statements
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


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
    settings = read_profile(profile, overrides, {**known, **config_types, **RUNNER_TYPES})
    return name_first(settings, profile)


def read_notebook(notebook: Path) -> Any:
    """Return a notebook in nbformat's form; ValueError, naming it, if it is damaged."""
    import nbformat

    text = read_bytes(notebook)
    parse_json(text, notebook)
    with naming_errors(notebook, "not a notebook"):
        node = nbformat.reads(text.decode(), as_version=4)
        nbformat.validate(node)
    return node


def code_hash(notebook: Path) -> str:
    """Return the SHA-256 of a notebook's code cells; text and outputs do not count."""
    code = [cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def train_config_types() -> dict[str, Any]:
    """Return the fields of TrainConfig with their type hints."""
    from paxray_lib.training.config import TrainConfig

    return field_types(TrainConfig)


def _literal_type(node: ast.expr) -> type | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
    return None if value is None else type(value)


def _check_inputs(
    settings: Mapping[str, Any],
    parameters: Iterable[str],
    root: Path,
    run_dir: Path,
    profile: str | os.PathLike,
) -> None:
    """Raise FileNotFoundError if a file or folder is missing that the run does not make itself."""
    if "external" in parameters and settings.get("external") is not None:
        read_external(settings["external"], root)
    for key in INPUTS.keys() & settings.keys() & set(parameters):
        value = settings[key]
        # weights may also be given by a name, such as "open"
        if value is None or (key == "weights" and PurePath(str(value)).stem == value):
            continue
        path = root / str(value)
        if not path.exists() and not path.resolve().is_relative_to(run_dir):
            raise FileNotFoundError(
                f"{profile}: {key}: {value} is not there; {INPUTS[key]}, or choose another"
            )
