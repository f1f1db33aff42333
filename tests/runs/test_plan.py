"""What is checked before a run starts, and which settings reach which notebook."""

from pathlib import Path

import pytest
from helpers.notebooks import run, write_notebook
from helpers.sampledata import ROOT

from paxray_lib.runs import enter_project_root
from paxray_lib.runs import plan as plan_module

DEMO = ROOT / "notebooks/profiles/demo.yaml"


def test_unknown_keys_are_refused_before_anything_runs(project):
    write_notebook(project / "notebooks", "01_a", parameters="run_dir = ''\nepochs = 1")
    with pytest.raises(ValueError, match=r"unknown key 'epoch'; did you mean 'epochs'\?"):
        run(project, "epoch=2")
    with pytest.raises(ValueError, match="did you mean 'weight_decay'"):
        run(project, "weight_decai=2")
    with pytest.raises(ValueError, match="epochs must be a whole number"):
        run(project, "epochs=two")
    assert not (project / "runs").exists()


def test_a_setting_reaches_every_notebook_that_knows_it():
    """`threshold` is a field of TrainConfig too, which notebook 2 does not name: training scores by
    it.
    """
    plan = plan_module.make_plan(
        DEMO, ["threshold=0.3", "close_tree=true"], notebooks_dir=ROOT / "notebooks"
    )
    taken = {name: plan.values_for(name) for name in plan.parameters}
    assert taken["02_train"]["options"]["threshold"] == 0.3
    assert "close_tree" not in taken["02_train"]["options"]
    assert not {"run_dir", "epochs"} & taken["02_train"]["options"].keys()
    for name in ("03_evaluate", "04_predict"):
        assert (taken[name]["threshold"], taken[name]["close_tree"]) == (0.3, True)


def test_external_data_are_a_mapping_or_a_file_and_checked_before_anything_runs(project):
    write_notebook(project / "notebooks", "01_a", parameters="run_dir = ''\nexternal = None")
    with pytest.raises(FileNotFoundError, match="external: d: no such data folder"):
        run(project, "external={root: d}")
    (project / "d").mkdir()
    with pytest.raises(FileNotFoundError, match=r"wingspam.*did you mean 'wingspan'"):
        run(project, "external={root: d, map: wingspam}")
    with pytest.raises(FileNotFoundError, match=r"x\.yaml: no such file"):
        run(project, "external=x.yaml")
    assert not (project / "runs").exists()
    (project / "x.yaml").write_text("root: d\n")
    for setting in ("external={root: d, map: wingspan}", "external=x.yaml"):
        plan = plan_module.make_plan(
            project / "p.yaml", [setting], project / "o", project / "notebooks", {}
        )
        assert plan.values_for("01_a")["external"] in ("x.yaml", {"root": "d", "map": "wingspan"})


def test_notebooks_find_the_project(project, monkeypatch):
    (project / "notebooks/profiles").mkdir(parents=True)
    write_notebook(project / "notebooks", "01_a")
    monkeypatch.chdir(project / "notebooks")
    enter_project_root()
    assert Path.cwd() == project
    assert [path.name for path in plan_module.find_notebooks()] == ["01_a.ipynb"]
    monkeypatch.chdir(project.parent)
    with pytest.raises(FileNotFoundError, match="neither here nor above"):
        plan_module.project_root()


@pytest.mark.parametrize("key", ["weights", "ct"])
def test_missing_inputs_are_refused_before_anything_runs(project, key):
    write_notebook(project / "notebooks", "01_a", parameters=f"run_dir = ''\n{key} = None")
    write_notebook(project / "notebooks", "02_b", parameters="images = None")
    with pytest.raises(FileNotFoundError, match=rf"p\.yaml: {key}: models/a\.pth .*not there"):
        run(project, f"{key}=models/a.pth", "images=images")
    assert not (project / "runs").exists()
    (project / "models").mkdir()
    (project / "models/a.pth").touch()
    chosen = "notebooks=[01_a]"
    for value in ("models/a.pth", "null", "runs/a/checkpoints/best.ckpt"):  # the run makes the last
        plan_module.make_plan(
            project / "p.yaml",
            [f"{key}={value}", "images=images", chosen],
            project / "runs/a",
            project / "notebooks",
            {},
        )


def test_weights_may_be_a_name(project):
    write_notebook(project / "notebooks", "01_a", parameters="weights = None")
    arguments = (["weights=open"], project / "runs/a", project / "notebooks", {})
    assert plan_module.make_plan(project / "p.yaml", *arguments).settings["weights"] == "open"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=1", "{run}/checkpoints/best.ckpt"),
        ("weights=null", "{run}/checkpoints/best.ckpt"),
        ("weights=open", "open"),
    ],
)
def test_a_run_shows_its_own_model_unless_another_is_named(project, setting, expected):
    """By hand the notebooks open with a model that needs no run."""
    write_notebook(project / "notebooks", "01_a", parameters="weights = 'open'\nepochs = 2")
    write_notebook(project / "notebooks", "02_b", parameters="weights = None\nepochs = 2")
    write_notebook(project / "notebooks", "03_c", parameters="epochs = 2")
    run_dir = project / "runs/a"
    plan = plan_module.make_plan(project / "p.yaml", [setting], run_dir, project / "notebooks", {})
    for name in ("01_a", "02_b"):
        given = Path(plan.root, plan.values_for(name)["weights"])
        assert given == Path(plan.root, expected.format(run=run_dir))
    assert "weights" not in plan.values_for("03_c")


def test_parameters_that_are_no_python_name_the_notebook(project):
    write_notebook(project / "notebooks", "01_a", parameters="x = = 1")
    with pytest.raises(ValueError, match=r"01_a\.ipynb.*parameters"):
        run(project)


def test_types_of_parameters_are_those_of_their_literals(project):
    cell = "a, b = 1, 2\nrate = 1e-3\nshown = ['x']\nweights = None\nroot = str(3)\nn: int = 2"
    write_notebook(project / "notebooks", "01_a", parameters=cell)
    types = plan_module.parameter_types(project / "notebooks/01_a.ipynb")
    assert types == {"rate": float, "shown": list, "weights": None, "root": None, "n": int}
