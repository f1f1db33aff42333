"""The batch runner, on small notebooks: order, parameters, failures, stops, resuming, pages."""

import contextlib
import ctypes
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from helpers.sampledata import ROOT

from paxray_lib.runs import enter_project_root, provenance, report
from paxray_lib.runs import plan as plan_module
from paxray_lib.runs import run as run_module
from paxray_lib.runs import status as status_module
from paxray_lib.utils import files, locks

RUNNER = """
import sys
from paxray_lib.runs import run
sys.exit(run.run(*sys.argv[1:4:2], out=sys.argv[2], notebooks_dir=sys.argv[4], config_types={}))
"""
TYPES = {"weight_decay": float}
DEMO = ROOT / "notebooks/profiles/demo.yaml"


def write_notebook(folder, name, *cells, parameters="run_dir = 'runs/x'"):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {
        "name": "python3",
        "language": "python",
        "display_name": "Python 3",
    }
    head = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# {name} of the test"), head]
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path):
    """A project's root with an empty profile; the notebooks are each test's own."""
    (tmp_path / "p.yaml").write_text("")
    return tmp_path


def run(project, *overrides, **options):
    options = {"out": project / "runs" / "a", "config_types": TYPES, **options}
    return run_module.run(
        project / "p.yaml", overrides, notebooks_dir=project / "notebooks", **options
    )


def status_of(project):
    return status_module.read_status(project / "runs" / "a")


def states(status):
    return [step["state"] for step in status["steps"]]


def is_alive(pid):
    """A zombie whose parent has not waited for it does not count."""
    if not Path("/proc/self/stat").exists():  # macOS
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True
        ).stdout.strip()
        return bool(state) and not state.startswith("Z")
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


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
    assert (
        f"papermill=={__import__('importlib.metadata').metadata.version('papermill')}"
        in environment
    )
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
    mime = "{'text/html': '<b>static picture</b>', 'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}}"
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


def test_a_killed_kernel_fails_at_once_and_leaves_no_children(project, capfd):
    child = "import os, subprocess\nchild = subprocess.Popen(['sleep', '300'])\nopen('pid', 'w').write(str(child.pid))"
    write_notebook(project / "notebooks", "01_a", child, "os.kill(os.getpid(), 9)", "never = 1")
    start = time.monotonic()
    assert run(project) == 3
    assert time.monotonic() - start < 150  # the child sleeps for 300
    step = status_of(project)["steps"][0]
    assert step["state"] == "failed"
    assert "kernel died" in step["error"]
    assert step["source"] == "os.kill(os.getpid(), 9)"
    assert "cell In [4]" in capfd.readouterr().err
    assert not is_alive(int((project / "pid").read_text()))


def test_a_time_limit_ends_the_notebook(project):
    write_notebook(project / "notebooks", "01_a", "import time\ntime.sleep(300)")
    assert run(project, "time_limit=8") == 3
    step = status_of(project)["steps"][0]
    assert step["state"] == "failed"
    assert step["error"] == "time limit of 8 s reached"
    assert "KeyboardInterrupt" in (project / "runs/a/notebooks/01_a.ipynb").read_text()


def start_runner(project):
    command = [
        sys.executable,
        "-c",
        RUNNER,
        project / "p.yaml",
        project / "runs/a",
        "",
        project / "notebooks",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for((project / "pids").is_file)
    return process, [int(pid) for pid in (project / "pids").read_text().split()]


LONG_CELL = """
import os, subprocess, sys, time
child = subprocess.Popen(['sleep', '300'])
print('before the stop')
open('part', 'w').write(f'{os.getpid()} {child.pid}')
os.rename('part', 'pids')
"""


@pytest.mark.parametrize(
    ("number", "wait"),
    [(signal.SIGTERM, "time.sleep(300)"), (signal.SIGINT, "subprocess.run(['sleep', '300'])")],
)
def test_signals_interrupt_the_run(project, number, wait):
    write_notebook(project / "notebooks", "01_a", LONG_CELL + wait)
    write_notebook(project / "notebooks", "02_b", "pass")
    process, pids = start_runner(project)
    with pytest.raises(ValueError, match="another process is working in this folder"):
        run(project, resume=True)
    process.send_signal(number)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 3
    assert "Traceback" not in message
    assert states(status_of(project)) == ["interrupted", "pending"]
    assert json.loads((project / "runs/a/status.json").read_text())["state"] == "interrupted"
    assert "before the stop" in (project / "runs/a/notebooks/01_a.ipynb").read_text()
    wait_for(lambda: not any(map(is_alive, pids)))


def test_a_deaf_cell_is_killed(project):
    deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    write_notebook(project / "notebooks", "01_a", deaf + LONG_CELL + "while True: time.sleep(1)")
    process, pids = start_runner(project)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 3
    assert states(status_of(project)) == ["interrupted"]
    wait_for(lambda: not any(map(is_alive, pids)))


@pytest.fixture
def adopting():
    """Make this process adopt orphans, as the manager of a session does in place of process 1."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets a process adopt orphans")
    adopt = ctypes.CDLL(None).prctl
    adopt(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    yield
    adopt(36, 0, 0, 0, 0)


def test_after_the_runner_was_killed_the_status_is_true_and_the_kernel_ends(project, adopting):
    write_notebook(project / "notebooks", "01_a", LONG_CELL + "time.sleep(300)")
    process, pids = start_runner(project)
    assert states(status_of(project)) == ["running"]
    process.kill()
    process.wait(timeout=120)
    process.stderr.close()
    status = status_of(project)
    assert [status["state"], *states(status)] == ["interrupted"] * 2
    wait_for(lambda: not any(map(is_alive, pids)))
    write_notebook(project / "notebooks", "01_a", "pass")
    assert run(project, resume=True) == 0


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


def test_a_folder_with_other_files_is_left_alone(project):
    write_notebook(project / "notebooks", "01_a")
    with pytest.raises(ValueError, match=r"holds other files \(notebooks, \.\.\.\)"):
        run(project, out=project)
    assert not (project / "status.json").exists()


def test_a_full_disk_ends_in_a_true_status(project, monkeypatch, capfd):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    write_notebook(project / "notebooks", "01_a")
    with monkeypatch.context() as patch:
        patch.setattr("papermill.execute_notebook", full)
        assert run(project) == 3
    assert "No space left on device" in status_of(project)["steps"][0]["error"]
    assert "No space left on device" in capfd.readouterr().err

    def fill(*_, **__):
        monkeypatch.setattr("os.replace", full)

    monkeypatch.setattr("papermill.execute_notebook", fill)
    assert run(project, resume=True) == 3
    assert "index.html could not be written" in capfd.readouterr().err
    assert states(status_of(project)) == ["interrupted"]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 12 MB; for those who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if not mount or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FILL = """
print('before the end')
with open(run_dir + '/filler', 'wb', buffering=0) as file:
    while True: file.write(bytes(65536))
"""


@pytest.mark.parametrize("room", [0, 9_000_000], ids=["none left", "enough left"])
def test_a_disk_that_is_full_indeed(project, small_disk, room, capfd):
    """The run's reserve is spent on saying what happened; where there is not even room for that,
    nothing starts.
    """
    write_notebook(project / "notebooks", "01_a", FILL)
    (small_disk / "other").write_bytes(bytes(0 if room else 10_000_000))
    folder = small_disk / "a"
    assert run(project, out=folder) == 3
    assert "No space left on device" in capfd.readouterr().err
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "No space left on device" in status["error"]
    assert "failed" in (folder / "index.html").read_text()
    assert not (folder / provenance.RESERVE).exists()
    if room:
        assert states(status) == ["failed"]
        notebook = (folder / "notebooks/01_a.ipynb").read_text()
        assert "before the end" in notebook
        assert "No space left on device" in notebook
        (folder / "filler").unlink()
        write_notebook(project / "notebooks", "01_a", "pass")
        assert run(project, out=folder, resume=True) == 0


def test_notebooks_find_the_project(project, monkeypatch):
    (project / "pyproject.toml").touch()
    write_notebook(project / "notebooks", "01_a")
    monkeypatch.chdir(project / "notebooks")
    enter_project_root()
    assert Path.cwd() == project
    assert [path.name for path in plan_module.find_notebooks()] == ["01_a.ipynb"]
    monkeypatch.chdir(project.parent)
    with pytest.raises(FileNotFoundError, match="neither here nor above"):
        plan_module.project_root()


def test_the_fingerprint_follows_the_data(tmp_path):
    (tmp_path / "x.png").write_bytes(b"123")
    (tmp_path / "d.json").write_text(
        json.dumps({"label_dict": {}, "train": [{"image": "x.png", "target": None}]})
    )
    first = provenance.data_fingerprint(tmp_path, "d.json")
    assert "1 files" in first
    assert provenance.data_fingerprint(tmp_path, "d.json") == first
    (tmp_path / "x.png").write_bytes(b"1234")
    assert provenance.data_fingerprint(tmp_path, "d.json") != first
    (tmp_path / "d.json").write_text("{")
    assert "not readable as JSON" in provenance.data_fingerprint(tmp_path, "d.json")
    assert "is not there yet" in provenance.data_fingerprint(tmp_path, "e.json")


def test_git_state_is_a_commit_or_a_reason(tmp_path):
    assert provenance.git_state(tmp_path).startswith("unknown (")


def test_git_state_follows_what_is_in_changed_files(tmp_path):
    (tmp_path / "f").write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "f"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    states = [provenance.git_state(tmp_path)]
    assert states[0].endswith(", clean")
    for text in "23":
        (tmp_path / "f").write_text(text)
        states.append(provenance.git_state(tmp_path))
        assert ", 1 files changed or not tracked, diff " in states[-1]
    assert len(set(states)) == 3


def test_a_run_that_ends_while_its_status_is_read_was_not_cut_off(tmp_path, monkeypatch):
    original = status_module.read_json
    with contextlib.ExitStack() as work:
        work.enter_context(locks.lock(tmp_path))
        status = status_module.Status(tmp_path, ["01_a"])
        result = work.enter_context(status.running(status.steps[0]))

        def read_and_end(path):
            found = original(path)
            result["state"] = "done"
            work.close()
            return found

        monkeypatch.setattr(status_module, "read_json", read_and_end)
        assert states(status_module.read_status(tmp_path)) == ["running"]
        monkeypatch.setattr(status_module, "read_json", original)
        assert states(status_module.read_status(tmp_path)) == ["done"]
