"""The runner, on small notebooks: order, parameters, failures, resuming, pages."""

import importlib.metadata
import json
import re

import pytest
import yaml
from helpers.notebooks import run, states, status_of, write_notebook

from paxray_lib.runs import provenance, report
from paxray_lib.utils import files


def test_a_whole_run(project, capfd):
    """Order, parameters, working directory, echo of stderr, and everything that a run's folder must
    hold.
    """
    write_notebook(
        project / "notebooks",
        "01_first",
        "import os, sys, pathlib",
        "pathlib.Path(run_dir, 'seen.txt').write_text(f'{epochs!r} {options} {os.getcwd()}')",
        "sys.stderr.write('half 1/2\\rhalf 2/2\\n')",
        parameters="run_dir = 'runs/x'\nepochs = 1\noptions = {}",
    )
    write_notebook(
        project / "notebooks", "02_second", "assert 'epochs' not in globals()", "import os"
    )
    code = run(project, "epochs='7'", "weight_decay=1e-3")
    folder = project / "runs" / "a"
    assert code == 0
    assert (folder / "seen.txt").read_text() == f"7 {{'weight_decay': 0.001}} {project}"
    status = status_of(project)
    assert [status["state"], *states(status)] == ["done"] * 3
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {
        "epochs": 7,
        "weight_decay": 0.001,
        "run_dir": "runs/a",
    }
    environment = (folder / "environment.txt").read_text()
    assert f"papermill=={importlib.metadata.version('papermill')}" in environment
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "[1/2] 01_first"
    assert "    half 2/2" in lines
    assert any(re.fullmatch(r"\[2/2\] 02_second done in [\d.]+ s", line) for line in lines)
    assert not list(folder.rglob("*.part*"))
    for page in [folder / "index.html", *folder.glob("notebooks/*.html")]:
        text = page.read_text()
        assert not re.search(
            r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:)?//", text
        ), page
    index = (folder / "index.html").read_text()
    for link in re.findall(r'href="([^"]+)"', index):
        assert (folder / link).exists(), link
    assert "01 · 01_first of the test" in index or "01 · " in index


def test_the_index_shows_scores_and_escapes_text(project):
    scores = {"iou_present": 0.5934, "dice_present": None}
    summary = {"split": "<test>", "overall": scores, "groups": {"lungs": {"iou_present": 0.94}}}
    folder = project / "runs"
    files.write_text(folder / "evaluation" / "summary.json", json.dumps(summary))
    provenance.write_settings(folder, {"note": "<b>"})
    status = {
        "state": "running",
        "start": files.now(),
        "steps": [{"name": "01_a", "state": "running"}],
    }
    text = report.write_index(folder, status).read_text()
    assert "<tr><td>groups · lungs</td>" in text
    assert '<td class="number">0.593</td><td class="number">–</td>' in text
    assert "split: &lt;test&gt;" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_data_made_by_the_run_is_fingerprinted(project):
    make = "import os\nos.mkdir(data_root)\nopen(data_root + '/paxray.json', 'w').write('{}')"
    write_notebook(project / "notebooks", "01_a", make, parameters="data_root = ''")
    assert run(project, "data_root=data") == 0
    environment = (project / "runs/a/environment.txt").read_text()
    assert re.search(
        r"^data, made by this run: .*/paxray\.json, 0 files, sha256 [0-9a-f]{64}$",
        environment,
        re.MULTILINE,
    )


def test_widgets_show_their_html_offline(project):
    mime = (
        "{'text/html': '<b>static picture</b>', "
        "'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}}"
    )
    write_notebook(
        project / "notebooks",
        "01_w",
        f"from IPython.display import display\ndisplay({mime}, raw=True)",
    )
    assert run(project) == 0
    text = (project / "runs/a/notebooks/01_w.html").read_text()
    assert "<b>static picture</b>" in text
    assert 'class="jupyter-widgets' not in text
    assert "unpkg.com" not in text


@pytest.mark.slow
def test_a_failing_cell_is_named_and_resume_goes_on_from_it(project, capfd):
    folder = project / "notebooks"
    write_notebook(folder, "01_a", "open(run_dir + '/count.txt', 'a').write('x')")
    write_notebook(folder, "02_b", "x = 1", "y = 2\nraise ValueError('no <b>luck</b>')")
    write_notebook(
        folder, "03_c", "pass", "print(resume)", parameters="run_dir = ''\nresume = False"
    )
    assert run(project) == 3
    error = capfd.readouterr().err
    assert "notebooks/02_b.ipynb, cell In [4] (y = 2): ValueError: no <b>luck</b>" in error
    assert "Traceback" not in error
    status = status_of(project)
    assert states(status) == ["done", "failed", "pending"]
    failed = status["steps"][1]
    assert failed["cell_index"] == 3  # heading, parameters, x = 1, then this one
    assert failed["source"] == "y = 2\nraise ValueError('no <b>luck</b>')"
    assert "ValueError: no &lt;b&gt;luck" in (project / "runs/a/index.html").read_text()
    assert "no &lt;b&gt;luck" in (project / "runs/a/notebooks/02_b.html").read_text()

    with pytest.raises(ValueError, match="holds a run already"):
        run(project)
    with pytest.raises(ValueError, match=r"other settings: weight_decay .*not set.*0\.5"):
        run(project, "weight_decay=0.5", resume=True)
    write_notebook(folder, "02_b", "x = 1")
    assert run(project, "time_limit=99", resume=True) == 0
    assert states(status_of(project)) == ["done"] * 3
    assert "error" not in status_of(project)
    assert (project / "runs/a/count.txt").read_text() == "x"  # 01 did not run again
    assert "True" in (project / "runs/a/notebooks/03_c.html").read_text()
    assert "\nresumed\n" in (project / "runs/a/environment.txt").read_text()


@pytest.mark.slow
def test_a_notebook_that_changed_since_it_ran_is_named_on_resume(project, capfd):
    folder = project / "notebooks"
    write_notebook(folder, "01_a", "x = 1")
    write_notebook(folder, "02_b", "1/0")
    assert run(project) == 3
    write_notebook(folder, "02_b", "x = 2")
    said = "01_a.ipynb was changed after it ran here"
    assert run(project, resume=True) == 0  # what runs now is no matter of doubt
    assert "was changed" not in capfd.readouterr().err + (project / "runs/a/index.html").read_text()
    write_notebook(folder, "01_a", "x = 3")
    assert run(project, resume=True) == 0
    assert said in capfd.readouterr().err
    assert said in (project / "runs/a/index.html").read_text()
    write_notebook(folder, "01_a", "x = 1")
    assert run(project, resume=True) == 0
    assert said not in capfd.readouterr().err + (project / "runs/a/index.html").read_text()


@pytest.mark.slow
def test_code_that_changed_between_parts_of_a_run_is_named(project, monkeypatch, capfd):
    write_notebook(project / "notebooks", "01_a", "1/0")
    for state, said in (("abc, clean", False), ("abc, clean", False), ("<def>, clean", True)):
        monkeypatch.setattr(provenance, "git_state", lambda _, state=state: state)
        assert run(project, resume=True) == 3
        text = capfd.readouterr().err
        assert (
            "the code changed between parts of this run: first abc, clean; then <def>, clean"
            in text
        ) == said
        assert (
            "first abc, clean; then &lt;def&gt;, clean"
            in (project / "runs/a/index.html").read_text()
        ) == said


@pytest.mark.slow
@pytest.mark.parametrize("made", [False, True], ids=["there before", "made by the run"])
def test_a_run_is_not_resumed_with_other_data(project, made):
    datafile = project / "data/paxray.json"
    if not made:
        files.write_text(datafile, "{}")
    make = (
        "import os\nos.makedirs('data', exist_ok=True)\nopen('data/paxray.json', 'w').write('{}')"
    )
    write_notebook(project / "notebooks", "01_a", make, parameters="data_root = ''")
    write_notebook(project / "notebooks", "02_b", "1/0")
    assert run(project, "data_root=data") == 3
    assert run(project, "data_root=data", resume=True) == 3
    datafile.write_text('{"test": []}')
    with pytest.raises(
        ValueError, match=r"other data: was .*sha256 44.* is .*sha256 12.*a new run with --out"
    ):
        run(project, "data_root=data", resume=True)
