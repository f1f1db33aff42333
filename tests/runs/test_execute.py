"""Notebooks that are ended from outside: by signals, a clock, a kill, a full disk."""

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers.notebooks import is_alive, run, states, status_of, wait_for, write_notebook

from paxray_lib.runs import provenance

RUNNER = """
import sys
from paxray_lib.runs import run
sys.exit(run.run(*sys.argv[1:4:2], out=sys.argv[2], notebooks_dir=sys.argv[4], config_types={}))
"""
LONG_CELL = """
import os, subprocess, sys, time
child = subprocess.Popen(['sleep', '300'])
print('before the stop')
open('part', 'w').write(f'{os.getpid()} {child.pid}')
os.rename('part', 'pids')
"""
FILL = """
print('before the end')
with open(run_dir + '/filler', 'wb', buffering=0) as file:
    while True: file.write(bytes(65536))
"""


def test_a_killed_kernel_fails_at_once_and_leaves_no_children(project, capfd):
    child = (
        "import os, subprocess\nchild = subprocess.Popen(['sleep', '300'])\n"
        "open('pid', 'w').write(str(child.pid))"
    )
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("number", "wait"),
    [
        pytest.param(signal.SIGTERM, "time.sleep(300)", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "time.sleep(300)", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "subprocess.run(['sleep', '300'])", marks=pytest.mark.slow),
    ],
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


@pytest.mark.slow
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


@pytest.mark.slow
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
