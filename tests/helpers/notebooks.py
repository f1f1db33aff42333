"""Small projects of notebooks, and how their runs are started, awaited and looked at."""

import subprocess
import time
from pathlib import Path

import nbformat

from paxray_lib.runs import run as run_module
from paxray_lib.runs.status import read_status

TYPES = {"weight_decay": float}


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


def run(project, *overrides, **options):
    options = {"out": project / "runs" / "a", "config_types": TYPES, **options}
    return run_module.run(
        project / "p.yaml", overrides, notebooks_dir=project / "notebooks", **options
    )


def status_of(project):
    return read_status(project / "runs" / "a")


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
