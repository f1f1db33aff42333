"""The notebooks: their form by the rules of the project; that all run, headless and in nbval."""

import ast
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from helpers.sampledata import write_tiny
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.datafile import SPLITS
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import save_model
from paxray_lib.phantoms.sample_dataset import generate_sample
from paxray_lib.runs import execute

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
FROM_TRAINING_TO_MASKS = NAMES[1:4]
TRAINED_AND_PREDICTED = {
    "metrics.csv",
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
    "evaluation/per_label.csv",
    "evaluation/summary.json",
    "evaluation/counts.npz",
    "evaluation/external/per_label.csv",
    "predictions/report.csv",
}


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def committed(path):
    """Return a notebook as git has it: who runs it by hand, and saves it, changes the file."""
    command = ["git", "show", f":{path.relative_to(ROOT).as_posix()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    return path.read_text(encoding="utf-8") if done.returncode else done.stdout


def source(cell):
    return "".join(cell["source"])


def imported(path):
    """Return the modules that a notebook imports, by their dotted names."""
    statements = [node for cell in cells(path) for node in ast.walk(ast.parse(source(cell)))]
    names = [node.module for node in statements if isinstance(node, ast.ImportFrom)]
    imports = [node for node in statements if isinstance(node, ast.Import)]
    return names + [alias.name for node in imports for alias in node.names]


def test_there_is_one_for_each_step_in_order():
    assert NAMES == [
        "01_explore_dataset",
        "02_train",
        "03_evaluate",
        "04_predict",
        "05_visualize_labels",
        "06_project_ct",
        "07_review_and_correct",
        "08_diagnose",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
class TestForm:
    def test_cells_are_short_and_define_nothing(self, path):
        for cell in cells(path):
            lines = source(cell).splitlines()
            assert len(lines) <= 15
            assert not [line for line in lines if line.startswith(("def ", "class "))]

    def test_parameters_are_plain_literals(self, path):
        (cell,) = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
        for statement in ast.parse(source(cell)).body:
            assert isinstance(statement, ast.Assign)
            ast.literal_eval(statement.value)

    def test_imports_are_in_one_cell_from_few_rooms_and_exist(self, path):
        importing = [
            cell
            for cell in cells(path)
            if re.search(r"^(import|from) ", source(cell), re.MULTILINE)
        ]
        assert len(importing) == 1
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("paxray_lib.")}
        assert len(rooms) <= 6
        exec(compile(source(importing[0]), path.name, "exec"), {})

    def test_what_is_synthetic_is_said_at_the_top(self, path):
        assert "synthetic" in source(cells(path, "markdown")[0])

    def test_the_reader_is_invited_to_try_two_or_three_changes(self, path):
        (prompts,) = [
            text for text in map(source, cells(path, "markdown")) if text.startswith("## Try it")
        ]
        assert prompts.count("\n- ") in (2, 3)

    def test_what_is_checked_stands_in_the_last_cell(self, path):
        *lesson, checks = [source(cell) for cell in cells(path)]
        assert "assert " in checks
        assert not [text for text in lesson if "assert " in text]

    def test_every_widget_has_a_figure_beside_it(self, path):
        sources = [source(cell) for cell in cells(path)]
        widgets = set(
            re.findall(r"^(\w+) = (?:LabelViewer|pick_labels)\b", "\n".join(sources), re.M)
        )
        for text, following in itertools.pairwise(sources):
            if (shown := text.splitlines()[-1]) in widgets:
                assert following in (f"{shown}.figure()", f"{shown}.picture()")
                widgets.remove(shown)
        assert widgets == set()

    def test_committed_outputs_have_no_counts_paths_or_errors(self, path):
        text = committed(path)
        assert len(text) < 1_500_000
        assert str(ROOT) not in text
        code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        assert any(cell["outputs"] for cell in code)
        for cell in code:
            assert cell["execution_count"] is None
            assert not [output for output in cell["outputs"] if output["output_type"] == "error"]
            assert all(output.get("execution_count") is None for output in cell["outputs"])


def test_the_evaluation_is_short():
    assert len(json.loads((ROOT / "notebooks/03_evaluate.ipynb").read_text())["cells"]) <= 20


def copy_notebooks(project):
    """Copy what of a clone the notebooks need: themselves, and the example films."""
    for name in ("notebooks", "data/examples"):
        shutil.copytree(ROOT / name, project / name)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Folder of a project with the notebooks and a small sample data set."""
    project = tmp_path_factory.mktemp("project")
    copy_notebooks(project)
    generate_sample(project / "data/sample", cases=8, size=64)
    return project


def in_this_process(path, **parameters):
    """Run the cells of a notebook here, with those of the parameters that it has; return what they
    show, as one text.

    A kernel of its own costs a start and all imports, and is tried by the other tests.
    """
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        with capture_output() as shown:
            for cell in cells(path):
                shell.run_cell(source(cell)).raise_error()
                if "parameters" in cell["metadata"].get("tags", []):
                    shell.push({k: v for k, v in parameters.items() if k in shell.user_ns})
    finally:
        InteractiveShell.clear_instance()
    return shown.stdout + "".join(str(output.data) for output in shown.outputs)


def without_a_kernel(notebook, output, values, **_):
    """Do what `runs.execute.execute` does but for what the kernel says."""
    in_this_process(notebook, **values)
    output.parent.mkdir(exist_ok=True)
    shutil.copy(notebook, output)
    return {"state": "done"}


@pytest.fixture(scope="module")
def small_run(request, project):
    """Folder of notebooks executed by `paxray run` with the profile of the tests: where slow tests
    are chosen of all, in kernels; else of those from training to masks, in this process.
    """
    command = ["run", "--profile", "notebooks/profiles/test.yaml", "--set", "data_root=data/sample"]
    command += ["--set", "external={root: data/sample, split: val}", "--out", "runs/first"]
    if any(item.get_closest_marker("slow") for item in request.session.items):
        done = python(project, "paxray_lib", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return project / "runs/first"
    command += ["--set", f"notebooks=[{', '.join(FROM_TRAINING_TO_MASKS)}]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setattr(execute, "execute", without_a_kernel)
        done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return project / "runs/first"


def python(folder, *arguments):
    """Run a module in a process of its own, with this copy of the library."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=900,
    )


def check_run(folder, notebooks, expected):
    """Assert that these notebooks and no others are done and on the run's page, and left files."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {*expected, "config.yaml", "environment.txt", "status.json", "index.html"}
    expected |= {f"notebooks/{name}.{suffix}" for name in notebooks for suffix in ("ipynb", "html")}
    assert expected <= names
    assert any(name.startswith("overlays/") for name in names)
    status = json.loads((folder / "status.json").read_text())
    states = {step["name"]: step["state"] for step in status["steps"]}
    assert {name: states[name] for name in notebooks} == dict.fromkeys(notebooks, "done")
    assert set(states.values()) == {"done"}
    index = (folder / "index.html").read_text()
    for name in notebooks:
        assert f"notebooks/{name}.html" in index


def test_from_training_to_masks_they_run_by_one_command_and_leave_the_run_folder(small_run):
    check_run(small_run, FROM_TRAINING_TO_MASKS, TRAINED_AND_PREDICTED)


@pytest.mark.slow
def test_all_run_by_one_command_and_leave_the_run_folder(small_run):
    reviewed = {"review/corrected/paxray.json", "review/continued/checkpoints/best.ckpt"}
    check_run(small_run, NAMES, TRAINED_AND_PREDICTED | reviewed)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Folder with a data set of three labels of no known name, frontal images alone, and untrained
    weights for it.
    """
    root = tmp_path_factory.mktemp("foreign")
    labels = LabelSet(["tumour", "pacemaker", "tube"])
    write_tiny(root / "data", labels=labels)
    content = json.loads((root / "data/paxray.json").read_text())
    for split in SPLITS:
        content[split] = [entry for entry in content[split] if "frontal" in entry["image"]]
    (root / "data/paxray.json").write_text(json.dumps(content))
    (root / "data/test_only.json").write_text(json.dumps({**content, "train": [], "val": []}))
    torch.manual_seed(0)
    small = Preprocessing("standard", (32, 32))
    save_model(root / "model.ckpt", build_model("unet", labels, "resnet18", preprocessing=small))
    return root


def outputs(path):
    """Return all outputs of an executed notebook as one text."""
    return json.dumps([cell["outputs"] for cell in cells(path)])


@pytest.mark.slow
@pytest.mark.parametrize(
    # of both where the splits that there are make a difference
    ("datafile", "chosen"),
    [("paxray.json", (2, 7)), ("test_only.json", (0, 2, 3, 4, 7))],
)
def test_data_of_other_labels_and_splits_go_through_all_but_the_training(
    foreign, datafile, chosen, tmp_path, monkeypatch
):
    copy_notebooks(tmp_path)
    monkeypatch.chdir(tmp_path)
    out = foreign / datafile.removesuffix(".json")
    parameters = {"data_root": str(foreign / "data"), "datafile": datafile, "run_dir": str(out)}
    parameters |= {"weights": str(foreign / "model.ckpt"), "device": "cpu", "threshold": 0.05}
    shown = {i: in_this_process(NOTEBOOKS[i], **parameters) for i in chosen}
    alone = datafile == "test_only.json"
    assert ("no training images: no mean mask to compare with" in shown[2]) == alone
    assert ("no validation images: not measured" in shown[7]) == alone
    assert json.loads((out / "evaluation/summary.json").read_text())["threshold"] == 0.05
    if alone:
        assert "tumour (0)" in shown[0]
        settings = json.loads((out / "predictions/settings.json").read_text())
        assert settings["threshold"] == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("path", [NOTEBOOKS[i] for i in (2, 6, 7)], ids=lambda path: path.stem)
def test_opened_by_hand_it_takes_the_newest_run_and_says_which(
    path, project, small_run, monkeypatch
):
    monkeypatch.chdir(project / "notebooks")
    assert "runs/first" in in_this_process(path)
    assert [path.name for path in (project / "runs").iterdir()] == ["first"]


@pytest.mark.slow
@pytest.mark.parametrize("path", [NOTEBOOKS[i] for i in (3, 4)], ids=lambda path: path.stem)
def test_opened_by_hand_in_a_fresh_clone_it_shows_a_real_film(path, tmp_path, monkeypatch):
    """Without data, a run or a network: example films and the open model."""
    copy_notebooks(tmp_path)
    monkeypatch.chdir(tmp_path / "notebooks")
    shown = in_this_process(path)
    assert "model open (unet-" in shown
    assert "data/examples" in shown
    assert "LabelViewer('hannover_3b46de94_frontal', 166 labels" in shown
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["open"]


@pytest.mark.slow
def test_a_run_shows_the_films_and_the_test_split_by_its_own_model(small_run):
    predicted = outputs(small_run / "notebooks/04_predict.ipynb")
    assert "model runs/first/checkpoints/best.ckpt (unet-resnet18)" in predicted
    assert "5 images of data/examples, then 4 of the test split" in predicted
    assert "model runs/first/checkpoints/best.ckpt" in outputs(
        small_run / "notebooks/05_visualize_labels.ipynb"
    )


def test_pages_need_no_network(small_run):
    for page in [small_run / "index.html", *small_run.glob("notebooks/*.html")]:
        loaded = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=[\"'](https?:[^\"']+)", page.read_text()
        )
        assert loaded == [], page.name


@pytest.mark.slow
def test_nbval_runs_them_again_with_the_same_tables(project, small_run):
    """nbval compares the marked cells with the first run; no other cell may fail."""
    again = [path for path in NOTEBOOKS if marked(path)]
    assert NOTEBOOKS[0] in again
    executed = [small_run / "notebooks" / path.name for path in again]
    options = ["-q", "--nbval-lax", "--nbval-cell-timeout=300", "-p", "no:cacheprovider"]
    done = python(project, "pytest", *options, *map(str, executed))
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{sum(len(cells(path)) for path in executed)} passed" in done.stdout


def marked(path):
    """Return the cells of a notebook whose outputs nbval compares."""
    return [c for c in cells(path) if "nbval-check-output" in c["metadata"].get("tags", [])]


def test_some_tables_are_marked_for_comparison():
    assert sum(len(marked(path)) for path in NOTEBOOKS) >= 3


def test_plain_nbval_takes_notebooks_without_execution_counts(tmp_path):
    """The notebooks are committed with outputs but without counts, which nbval alone takes for
    never run.
    """
    cell = nbformat.v4.new_code_cell(
        "1 + 1", outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "2"})]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_a.ipynb")
    shutil.copy(ROOT / "notebooks/conftest.py", tmp_path)
    done = python(tmp_path, "pytest", "-q", "--nbval", "-p", "no:cacheprovider", "01_a.ipynb")
    assert done.returncode == 0, done.stdout
